"""Tables that sort and filter, through itables' bundle of DataTables, which is put into the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from reports.board.row import Row
from reports.tables import columns
from reports.tables.text import count, measured, plain, rate
from suite.store import records as engine
from suite.store.records import Record

# Cells begin with the number they are sorted by: "8.97 [8.44, 9.52]", "< 3.7e-4", "7,500 (10)"; unknown ones go last.
_BY_NUMBER = """function (data, type) {
    if (type !== 'sort' && type !== 'type') return data;
    const number = parseFloat(String(data).replace(/,/g, '').replace(/^(<|&lt;) /, ''));
    return isNaN(number) ? -1e300 : number;
}"""
_BUTTON = """function (data, type) {
    if (type !== 'display') return data;
    return '<button type="button" class="open" data-run="' + Number(data) + '">details</button>';
}"""
_WORDS = {"emptyTable": "nothing here", "search": "Filter:", "zeroRecords": "nothing matches"}


def library() -> str:
    """The script and style of DataTables, as itables ships them for pages without a network."""
    from itables import options
    from itables.javascript import generate_init_offline_itables_html

    html: str = generate_init_offline_itables_html(options.dt_bundle)
    return html[: html.index("<div")]  # the rest speaks to readers of notebooks


def leaderboard(block: Sequence[Row], name: str) -> str:
    """The rows of one setting, all columns of the Markdown tables."""
    first = columns.headline(block).items()
    lead = {name: show for name, show in first if name.startswith(("method", "rank", "× best"))}
    match = columns.MATCH if columns.has_match(block) else {}
    parts = {**lead, **columns.RATES, **match, **columns.COST, **columns.DEPLOYED}
    shown = {" ".join(name.split()): show for name, show in parts.items()}
    cells = [[plain(show(row)) for show in shown.values()] for row in block]
    return _grid(list(shown), cells, name, paging=len(block) > 50)


def runs(records: Sequence[Record], rows: Sequence[Row]) -> str:
    """One line for each run, with a button that opens what is known of it."""
    names = {cell: row.name for row in rows for cell in row.cells}
    head = [
        "task",
        "method",
        "seed",
        "final",
        "× base",
        "best so far",
        "NRE",
        "successes",
        "first",
        "seconds",
        "state",
        "",
    ]
    cells = [[*_run(record, names.get(record.cell, record.baseline)), i] for i, record in enumerate(records)]
    return _grid(head, cells, "runs-table", paging=True, button=len(head) - 1)


def _run(record: Record, name: str) -> list[Any]:
    result, seconds = record.result, record.meta.seconds
    verdict = {True: "verified", False: "REFUTED", None: "finished"}[engine.verified(record)]
    return [
        plain(record.task),
        plain(name),
        record.seed,
        measured(result.final),
        rate(result.improvement_final),
        measured(result.best),
        count(result.nre),
        count(result.successes),
        count(result.first_success),
        rate(seconds.total if seconds is not None else None),
        verdict if record.status == "finished" else record.status,
    ]


def _grid(
    head: Sequence[str], cells: Sequence[Sequence[Any]], name: str, *, paging: bool, button: int | None = None
) -> str:
    import pandas as pd
    from itables import JavascriptFunction, to_html_datatable

    frame = pd.DataFrame([[str(cell) for cell in line] for line in cells], columns=list(head))
    numeric = [i for i in range(len(head)) if i != button and _is_numeric([line[i] for line in cells])]
    targets: list[dict[str, Any]] = [
        {"targets": "_all", "type": "string"},
        {"targets": numeric, "render": JavascriptFunction(_BY_NUMBER), "type": "num", "className": "dt-right"},
    ]
    if button is not None:
        targets.append({"targets": [button], "render": JavascriptFunction(_BUTTON), "orderable": False})
    html: str = to_html_datatable(
        frame,
        table_id=name,
        connected=False,
        maxBytes=0,
        showIndex=False,
        paging=paging,
        pageLength=25,
        scrollX=True,
        order=[],
        autoWidth=False,
        columnDefs=targets,
        language=_WORDS,
        classes="display compact nowrap",
        style="width:100%",
        layout={"topStart": "pageLength" if paging else None, "topEnd": {"search": {"placeholder": "any words"}}},
        fixedColumns={"start": 1},
        keys=False,
        text_in_header_can_be_selected=False,
    )
    return html


def _is_numeric(values: Sequence[Any]) -> bool:
    """Whether every cell begins with a number, and one at least has any."""
    texts = [str(value) for value in values if str(value) not in ("", "–")]
    return bool(texts) and all(re.match(r"(< )?-?\d", text) for text in texts)
