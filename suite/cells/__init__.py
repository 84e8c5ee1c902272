"""Cells: one method on one task with one seed. Its name, its folder, how it runs, alone or in a grid, and its check."""
