"""Numbers and names as people read them."""

from __future__ import annotations

import re

from suite.errors import FORMULA
from suite.store.schema import Estimate

NONE = "–"


def rate(value: float | None, upper: float | None = None) -> str:
    """A success rate, or "< upper" where no success was seen: `0.0423`, `4.0e-4`, `< 3.7e-4`."""
    if value is None:
        return NONE if upper is None else f"< {number(upper)}"
    return number(value)


def measured(point: Estimate | None) -> str:
    """The success rate of a point, or its upper bound where no success was seen; – without one."""
    if point is None:
        return rate(None)
    return rate(None, point.high) if point.success_rate == 0 and point.high else rate(point.success_rate)


def number(value: float | None, digits: int = 3) -> str:
    """So many digits, but two in powers of ten: `0.0423`, `12.3`, `278`, `4.0e-4`, `1.2e5`."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 9999.5:
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa}e{int(power)}"
    return f"{float(f'{value:.{digits}g}'):.10g}"


def count(value: float | None) -> str:
    """A whole number with thousands apart: `7,500`."""
    return NONE if value is None else f"{value:,.0f}"


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """`2.3 [0.9, 6.1]`; without ends the value alone."""
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def cell_of_csv(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def text_of_csv(cell: str) -> str:
    """The text that :func:`cell_of_csv` wrote."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def plain(text: str) -> str:
    """Text on one line, without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)
