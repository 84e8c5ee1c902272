"""The commands of `suite.cli`, one module each, imported when called."""
