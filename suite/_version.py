"""The version of the distribution, for users; what decides whether results are comparable is suite/engine.py."""

__version__ = "0.1.0"
