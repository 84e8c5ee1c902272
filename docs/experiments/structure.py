"""Count modules, import arrows and circles of the four packages, as Markdown.

    python docs/experiments/structure.py

A circle is a set of modules that import one another, directly or not (a strongly connected component of more than one).
"""

from __future__ import annotations

import grimp
import scipy.sparse
from scipy.sparse.csgraph import connected_components

PACKAGES = ("suite", "tasks", "baselines", "reports")


def main() -> None:
    graph = grimp.build_graph(*PACKAGES)
    print("| package | modules | import arrows | circles |\n|---|---|---|---|")
    for package in (*PACKAGES, "all"):
        modules = sorted(m for m in graph.modules if package == "all" or m.split(".")[0] == package)
        place = {module: i for i, module in enumerate(modules)}
        arrows = [
            (place[module], place[target])
            for module in modules
            for target in graph.find_modules_directly_imported_by(module)
            if target in place
        ]
        sources, targets = zip(*arrows, strict=True) if arrows else ((), ())
        matrix = scipy.sparse.coo_array(([1] * len(arrows), (sources, targets)), shape=(len(modules), len(modules)))
        number, labels = connected_components(matrix, connection="strong")
        circles = sum(int((labels == i).sum()) > 1 for i in range(number))
        print(f"| {package} | {len(modules)} | {len(arrows)} | {circles} |")


if __name__ == "__main__":
    main()
