"""The regression gate: is the code worse than it was when the reference was written?"""
