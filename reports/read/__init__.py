"""Records in: reading, checking, choosing, and where they came from."""
