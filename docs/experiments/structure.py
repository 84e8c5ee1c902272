"""Count modules, import arrows and circles of the four packages, as Markdown.

    python docs/experiments/structure.py

A circle is a set of modules that import one another, directly or not (a strongly connected component of more than one).
Imports inside functions and those for types alone count.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import grimp
import scipy.sparse
from scipy.sparse.csgraph import connected_components

PACKAGES = ("suite", "tasks", "baselines", "reports")


class Structure(NamedTuple):
    """What a package is made of."""

    modules: int
    arrows: int
    circles: list[list[str]]


def structure(*packages: str) -> Structure:
    """Of all modules of these packages together."""
    graph = grimp.build_graph(*packages, cache_dir=None)  # a cache by times of files misses quick edits
    modules = sorted(graph.modules)
    place = {module: i for i, module in enumerate(modules)}
    arrows = [(place[m], place[t]) for m in modules for t in graph.find_modules_directly_imported_by(m)]
    sources, targets = zip(*arrows, strict=True) if arrows else ((), ())
    matrix = scipy.sparse.coo_array(([1] * len(arrows), (sources, targets)), shape=(len(modules), len(modules)))
    number, labels = connected_components(matrix, connection="strong")
    groups = [[module for module in modules if labels[place[module]] == i] for i in range(number)]
    return Structure(len(modules), len(arrows), [group for group in groups if len(group) > 1])


def main() -> None:
    print("| package | modules | import arrows | circles |\n|---|---|---|---|")
    for name in (*PACKAGES, "all"):
        found = structure(*(PACKAGES if name == "all" else [name]))
        print(f"| {name} | {found.modules} | {found.arrows} | {len(found.circles)} |")
        for circle in found.circles:
            print("circle:", *circle, file=sys.stderr)


if __name__ == "__main__":
    main()
