"""Ehrlich functions: motifs in sequences (holo-bench)."""
