"""The engine's version: written into every record, and the distribution's version."""

__version__ = "0.1.0"
