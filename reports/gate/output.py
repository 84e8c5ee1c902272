"""A verdict as people and machines read it: terminal, Markdown for a job summary, JUnit XML, JSON, a figure."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import statistics
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as xml

from tabulate import tabulate

from reports.gate.evidence import LEVEL, Comparison, detectable
from reports.gate.verdict import Verdict
from reports.tables.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

WIDTH = 41
"""Characters of the text figure's axis."""
AXIS_LIMIT = 4.0
"""Standard deviations of the reference to either side that it shows."""
BLUE, RED = "#0072B2", "#D55E00"
"""Fresh seeds, and those of a quantity that got worse (Okabe and Ito's colours)."""


def summary(verdict: Verdict) -> str:
    """One line: what came of it."""
    if not verdict.red:
        return f"gate ({verdict.mode}): green"
    return f"gate ({verdict.mode}): RED, {len(verdict.worse)} worse, {len(verdict.broken)} broken"


def counts(verdict: Verdict) -> str:
    """One line: what was compared."""
    tests, found = len(verdict.comparisons), len(verdict.findings)
    return (
        f"{tests} {'test' if tests == 1 else 'tests'} at a family-wise {LEVEL:.1%}, "
        f"{found} {'invariant' if found == 1 else 'invariants'}, {_changed(verdict)}"
    )


def _changed(verdict: Verdict) -> str:
    looked = [e for e in verdict.equalities if e.sameness != "not compared"]
    if not looked:
        return "equality not compared"
    return f"{sum(e.sameness == 'changed' for e in looked)} of {len(looked)} cells changed"


def row(comparison: Comparison) -> list[str]:
    """Cell, quantity, medians, shift in SDs of the reference, adjusted p, verdict."""
    return [
        comparison.cell,
        f"{comparison.quantity} {'↑' if comparison.better == 'higher' else '↓'}",
        number(statistics.median(comparison.reference)),
        _finite(statistics.median(comparison.fresh)),
        _deviations(comparison.effect),
        number(comparison.p_holm, 2),
        "WORSE" if comparison.red else "ok",
    ]


def _deviations(effect: float | None) -> str:
    """An effect to a tenth; a dash where there is no spread to divide by, or no fresh number."""
    if effect is None or not math.isfinite(effect):
        return "–"
    return f"{round(effect, 1) + 0.0:+.1f}"  # + 0.0: no sign at a zero that was rounded to


HEADER = ["cell", "quantity", "was", "is", "SDs", "p", ""]


def _finite(value: float) -> str:
    return number(value) if math.isfinite(value) else "none"


def ordered(verdict: Verdict) -> list[Comparison]:
    """The comparisons, the strongest evidence first."""
    return sorted(verdict.comparisons, key=lambda c: (not c.red, c.p_holm, c.p))


def to_console(verdict: Verdict) -> Table:
    """All comparisons as a table of at most 80 columns."""
    from rich.table import Table

    table = Table(*HEADER, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for comparison in ordered(verdict):
        table.add_row(*row(comparison), style="bold red" if comparison.red else None)
    return table


def to_broken(verdict: Verdict) -> list[str]:
    """Broken invariants, one line each."""
    return [f"BROKEN {f.cell}, {f.invariant}: {f.detail}" for f in verdict.broken]


def to_lines(verdict: Verdict) -> list[str]:
    """Changed cells and notices, one line each."""
    lines = []
    for equality in verdict.equalities:
        if equality.sameness == "changed":
            count = f"{equality.changed} of {equality.seeds} seeds"
            lines.append(f"changed: {equality.cell}, {count} differ from the reference, so it was tested")
    return lines + [f"note: {line}" for line in verdict.notices]


def power_line(verdict: Verdict) -> str:
    """The smallest worsening that this gate would have found nine times in ten."""
    if not verdict.comparisons:
        return "nothing was tested"
    c = verdict.comparisons[0]
    least = detectable(len(c.fresh), len(c.reference), len(verdict.comparisons))
    seeds = f"{len(c.fresh)} fresh seeds against {len(c.reference)}"
    return f"{seeds}: what is worse by {least:.1f} SDs is red in 9 of 10 cases"


def time_line(verdict: Verdict) -> str:
    """What the runs took in all, and the longest of them."""
    if not verdict.costs:
        return "no times are known"
    longest = max(verdict.costs, key=lambda cost: cost.longest)
    runs, total = sum(cost.runs for cost in verdict.costs), sum(cost.total for cost in verdict.costs)
    return f"{runs} runs took {total:.0f} s, the longest {longest.longest:.1f} s ({longest.cell})"


# -- files ---------------------------------------------------------------------------------------------------------


def to_markdown(verdict: Verdict, most: int = 12) -> str:
    """A job summary: the verdict, a table of the strongest evidence, a figure in text, what else there is to say."""
    shown = ordered(verdict)[:most]
    table = tabulate([row(c) for c in shown], headers=HEADER, tablefmt="github", disable_numparse=True)
    rest = ordered(verdict)[most:]
    red = sum(c.red for c in rest)
    more = f"… and {len(rest)} more, {red or 'none'} of them red; all are in check.json" if rest else ""
    parts = [
        f"### {'❌' if verdict.red else '✅'} {summary(verdict)}",
        counts(verdict),
        "\n".join(f"- **{line}**" for line in to_broken(verdict)),
        table if shown else "",
        more,
        f"```text\n{text_figure(shown)}\n```" if shown else "",
        "\n".join(f"- {line}" for line in to_lines(verdict)),
        f"↑ higher is better, ↓ lower is better; SDs: shift of the median in standard deviations between the "
        f"reference's seeds, + is better; p: adjusted for all tests (Holm). {power_line(verdict)}. "
        f"{time_line(verdict)}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def text_figure(comparisons: list[Comparison]) -> str:
    """Fresh seeds (●) on an axis of the reference's standard deviations, better to the right; │ is its median."""
    labels = [f"{c.cell} {c.quantity}" for c in comparisons]
    wide = max(map(len, labels), default=0)
    axis = f"{'':{wide}} {f'−{AXIS_LIMIT:.0f} SD, worse':<{WIDTH // 2}}0{f'better, +{AXIS_LIMIT:.0f} SD':>{WIDTH // 2}}"
    return "\n".join([axis, *(f"{label:{wide}} {_strip(c)}" for label, c in zip(labels, comparisons, strict=True))])


def _strip(comparison: Comparison) -> str:
    places = [
        round((min(max(z, -AXIS_LIMIT), AXIS_LIMIT) / AXIS_LIMIT + 1) / 2 * (WIDTH - 1))
        for z in standardised(comparison)
    ]
    return "".join("●" if i in places else "│" if i == WIDTH // 2 else "·" for i in range(WIDTH))


def standardised(comparison: Comparison) -> list[float]:
    """The fresh values (seeds,) in standard deviations from the reference's median, better is positive."""
    middle, spread = statistics.median(comparison.reference), statistics.stdev(comparison.reference)
    sign = 1 if comparison.better == "higher" else -1
    return [
        sign * (v - middle) / spread
        if spread
        else 0.0
        if v == middle
        else math.copysign(AXIS_LIMIT, sign * (v - middle))
        for v in comparison.fresh
    ]


def to_figure(verdict: Verdict) -> Figure:
    """Seeds of every quantity in the reference's standard deviations: reference grey, fresh coloured, worse in red."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = ordered(verdict)
    figure = Figure(figsize=(8, 1 + 0.3 * len(rows)), layout="constrained")
    ax = figure.subplots()
    for place, comparison in enumerate(rows):
        own = dataclasses.replace(comparison, fresh=comparison.reference)
        ax.plot(_within_reach(own), [place] * len(own.fresh), "|", color="0.6", markersize=9)
        colour = RED if comparison.red else BLUE
        ax.plot(_within_reach(comparison), [place] * len(comparison.fresh), "o", color=colour, markersize=5)
    ax.set_yticks(range(len(rows)), [f"{c.cell} {c.quantity}" for c in rows])
    ticks = [-AXIS_LIMIT, -AXIS_LIMIT / 2, 0, AXIS_LIMIT / 2, AXIS_LIMIT]
    ax.set_xticks(
        ticks, [f"≤ −{AXIS_LIMIT:g}", *(f"{t:g}".replace("-", "−") for t in ticks[1:-1]), f"≥ {AXIS_LIMIT:g}"]
    )
    ax.set(
        xlim=(-AXIS_LIMIT - 0.3, AXIS_LIMIT + 0.3), xlabel="standard deviations from the reference's median, better →"
    )
    ax.invert_yaxis()
    ax.axvline(0, color="0.5", linewidth=0.8)
    ax.set_title(summary(verdict), loc="left", fontsize="medium")
    marks = [("|", "0.6", "reference"), ("o", BLUE, "fresh"), *([("o", RED, "worse")] if verdict.worse else [])]
    handles = [Line2D([], [], linestyle="", marker=mark, color=colour, label=label) for mark, colour, label in marks]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize="small")
    return figure


def _within_reach(comparison: Comparison) -> list[float]:
    return [min(max(z, -AXIS_LIMIT), AXIS_LIMIT) for z in standardised(comparison)]


def to_json(verdict: Verdict) -> str:
    """All evidence, machine-readable; None where a fresh seed has no such number."""
    content: dict[str, Any] = {
        "schema": 1,
        "mode": verdict.mode,
        "red": verdict.red,
        "level": LEVEL,
        "equality": [e._asdict() for e in verdict.equalities],
        "comparisons": [_comparison(c) for c in ordered(verdict)],
        "invariants": [f._asdict() for f in verdict.findings],
        "notices": verdict.notices,
        "seconds": {cost.cell: cost._asdict() for cost in verdict.costs},
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _comparison(comparison: Comparison) -> dict[str, Any]:
    effect = comparison.effect
    return {
        "cell": comparison.cell,
        "quantity": comparison.quantity,
        "better": comparison.better,
        "reference": comparison.reference,
        "fresh": [value if math.isfinite(value) else None for value in comparison.fresh],
        "effect_sd": effect if effect is not None and math.isfinite(effect) else None,
        "p": comparison.p,
        "p_holm": comparison.p_holm,
        "red": comparison.red,
    }


def to_junit(verdict: Verdict) -> str:
    """One suite with a test case for each comparison and invariant, as pytest writes it and CI servers read it.

    The runs' time stands at the invariant that they finished. The suite's output, where there is any, holds what is
    neither passed nor failed: changed cells and notices.
    """
    seconds = {cost.cell: cost.total for cost in verdict.costs}
    totals = {
        "tests": str(len(verdict.comparisons) + len(verdict.findings)),
        "failures": str(len(verdict.worse) + len(verdict.broken)),
        "errors": "0",
        "skipped": "0",
        "time": f"{sum(seconds.values()):.3f}",
    }
    root = xml.Element("testsuites", {"name": "suite check"} | totals)
    suite = xml.SubElement(root, "testsuite", {"name": f"gate-{verdict.mode}"} | totals)

    def case(cell: str, name: str, time: float, failure: str, kind: str) -> None:
        element = xml.SubElement(suite, "testcase", classname=cell, name=name, time=f"{time:.3f}")
        if failure:
            xml.SubElement(element, "failure", type=kind, message=_printable(failure)).text = _printable(failure)

    for c in verdict.comparisons:
        _, _, was, now, deviations, p, _ = row(c)
        case(c.cell, c.quantity, 0.0, f"was {was}, is {now}: {deviations} SDs, p = {p}" if c.red else "", "worse")
    for f in verdict.findings:
        time = seconds.get(f.cell, 0.0) if f.invariant == "finished" else 0.0
        case(f.cell, f.invariant, time, "" if f.ok else f.detail, "broken")
    if lines := to_lines(verdict):
        xml.SubElement(suite, "system-out").text = _printable("\n".join(lines))
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """The text without the characters that XML 1.0 has no way to write, as colours of a terminal in an error."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
