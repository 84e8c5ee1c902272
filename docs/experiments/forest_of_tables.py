"""Draw docs/results/forest.png from the committed table that has both headline columns.

python docs/experiments/forest_of_tables.py
"""

from __future__ import annotations

from pathlib import Path

from reports.figures import forest, style
from reports.tables.render import from_csv

FOLDER = Path(__file__).parents[1] / "results"


def main() -> None:
    figure = forest.figure(from_csv((FOLDER / "two-columns" / "leaderboard.csv").read_text()))
    assert figure is not None
    (FOLDER / "forest.png").write_bytes(style.encode(figure, "png", dpi=160))


if __name__ == "__main__":
    main()
