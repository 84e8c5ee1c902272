"""Hypergrid: rare modes in far corners."""
