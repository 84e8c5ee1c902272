"""The settings of one run, each declared once: its default, its valid values, its help.

:func:`suite.cells.identity.identify`, the runner, the grid, sweeps, the gate's plans and `suite reproduce` take a
:class:`CellSpec`; the options of `suite run` and `suite bench` are made from its fields. What does not change the
result (the results folder, tracking, `force` …) is no part of it. Imports no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from suite import config as configs
from suite.config import FieldSpec, setting
from suite.protocol import DUPLICATES, PROTOCOLS

POINTS = ("all", "final")
"""Which policies are measured (docs/decisions/006): the prior and every round's, or the prior and the last."""


@dataclass(frozen=True)
class CellSpec:
    """One run, as a person asks for it: plain values, checked one by one when it is made.

    Whether they go together, and with this task and this baseline, is checked by `identify`.

    Raises:
        UserError: a value of another type, or one that is not valid (names the nearest valid one).
    """

    task: str
    """An id, `module:Name` or `path/to/file.py:Name`."""
    baseline: str
    seed: int = setting(0, valid=(0, None), help="master seed")
    budget: int = setting(7500, valid=(1, None), help="reward evaluations (NRE)")
    config: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Fields of the baseline's config that differ from their defaults."""
    task_config: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """The same of the task's config."""
    protocol: str = setting(
        "failures-only",
        choices=PROTOCOLS,
        help="what the method may see: its failures and how many are missing, its failures with copies in place of the "
        "missing, or every reward",
    )
    duplicates: str = setting(
        "charge",
        choices=DUPLICATES,
        help="a sample that was evaluated before: charge it again, cache its answer, or reject it",
    )
    heldout: str = setting(
        "auto",
        help="how success rates are measured: exact (by enumeration), N (from N samples), is:N (from N samples, by "
        "importance sampling), off, or auto: exact where the task enumerates its successes, else 10000",
    )
    points: str = setting(
        "all", choices=POINTS, help="measure after every round, or only before the first and after the last"
    )
    device: str = setting("cpu", choices=("auto", "cpu", "cuda"), help="where tensors live; auto: CUDA if there is one")
    threads: int = setting(1, valid=(1, None), help="torch threads")

    def __post_init__(self) -> None:
        for spec in FIELDS:
            given = getattr(self, spec.name)
            value = configs.value_of(spec, heldout_text(given) if spec.name == "heldout" else given)
            object.__setattr__(self, spec.name, value)

    def settings(self) -> dict[str, Any]:
        """The values of :data:`SETTINGS`."""
        return {spec.name: getattr(self, spec.name) for spec in SETTINGS}


def heldout_text(value: object) -> object:
    """`heldout` as text: YAML reads `off` as False, and a number of samples is a number."""
    if value is False:
        return "off"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


FIELDS: tuple[FieldSpec, ...] = tuple(configs.specs(CellSpec))
SETTINGS: tuple[FieldSpec, ...] = tuple(
    spec for spec in FIELDS if spec.name not in ("task", "baseline", "config", "task_config")
)
"""The fields with one plain value each: all but the task, the baseline and the fields of their configs."""
