"""Tables: columns, and rows as Markdown, CSV, LaTeX, JSON and on a terminal."""
