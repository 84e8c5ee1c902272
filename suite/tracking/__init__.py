"""Weights & Biases: a mirror of records; nothing is read back from it while a run goes on."""
