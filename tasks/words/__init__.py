"""Templated word problems, whose solutions a small transformer writes."""
