"""Draw docs/results/forest.png from the committed tables of docs/results.

python docs/experiments/forest_of_tables.py
"""

from __future__ import annotations

from pathlib import Path

from reports.figures import forest, style
from reports.tables.render import from_csv

FOLDER = Path(__file__).parents[1] / "results"


def main() -> None:
    rows = [row for path in sorted(FOLDER.glob("**/leaderboard.csv")) for row in from_csv(path.read_text())]
    figure = forest.figure(rows)
    assert figure is not None
    (FOLDER / "forest.png").write_bytes(style.encode(figure, "png", dpi=160))


if __name__ == "__main__":
    main()
