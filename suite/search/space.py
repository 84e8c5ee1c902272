"""The search space: a config's tunable fields as W&B sweep parameters, and those as Optuna distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from suite.config import FieldSpec, range_text, specs, value_of
from suite.errors import UserError

Parameter = Mapping[str, Any]
"""One entry of a sweep file's `parameters`: `value`, `values`, or `distribution` with `min` and `max`."""

_KEYS = {
    "value": {"value", "distribution"},
    "values": {"values", "distribution"},
    "min": {"min", "max", "distribution", "q"},
}
_RANGES = ("uniform", "log_uniform_values", "int_uniform", "q_log_uniform_values")


def parameters(config_class: type) -> dict[str, dict[str, Any]]:
    """W&B sweep parameters of the tunable fields of a configuration class, in their order."""
    return {spec.name: parameter(spec) for spec in specs(config_class) if spec.tunable}


def parameter(spec: FieldSpec) -> dict[str, Any]:
    """The W&B sweep parameter of one tunable field."""
    if spec.choices is not None:
        return {"values": list(spec.choices)}
    if spec.type is int:
        if spec.log:
            return {"distribution": "q_log_uniform_values", "q": 1, "min": spec.low, "max": spec.high}
        return {"distribution": "int_uniform", "min": spec.low, "max": spec.high}
    ends = {"min": float(spec.low or 0), "max": float(spec.high or 0)}
    return {"distribution": "log_uniform_values" if spec.log else "uniform"} | ends


def distribution(spec: FieldSpec, given: Parameter) -> BaseDistribution | None:
    """The Optuna distribution of a sweep parameter; None where it is a constant.

    The same mapping as that of W&B's own Optuna scheduler (`sweep_parameter_to_distribution`, wandb 0.31), of what
    :func:`parameter` writes.

    Args:
        spec: the field of the configuration that the parameter sets.

    Raises:
        UserError: a key or a distribution that is not known, a value or an end of a range that the field refuses, or
            a range of fractions for a whole number.
    """
    kind = next((key for key in _KEYS if key in given), None)
    if kind is None or set(given) - _KEYS[kind]:
        wanted = "`value`, `values`, or `min` and `max` with a `distribution`"
        raise UserError(f"parameter {spec.name}: {dict(given)} is none of W&B's forms; give {wanted}")
    if kind == "value":
        value_of(spec, given["value"])
        return None
    if kind == "values":
        return _categorical(spec, given["values"])
    return _range(spec, given)


def _categorical(spec: FieldSpec, values: object) -> CategoricalDistribution:
    if not isinstance(values, list) or not values:
        raise UserError(f"parameter {spec.name}: `values` must be a list that is not empty, got {values!r}")
    for value in values:
        value_of(spec, value)
    return CategoricalDistribution(values)


def _range(spec: FieldSpec, given: Parameter) -> BaseDistribution:
    low, high = given.get("min"), given.get("max")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low > high:
        raise UserError(f"parameter {spec.name}: no range from min {low!r} to max {high!r}")
    whole = isinstance(low, int) and isinstance(high, int)
    name = given.get("distribution", "int_uniform" if whole else "uniform")
    if name not in _RANGES:
        raise UserError(f"parameter {spec.name}: distribution {name!r} is unknown here; one of {', '.join(_RANGES)}")
    for end in (low, high):
        _check_end(spec, end)
    log = name.startswith(("log", "q_log"))
    if log and low <= 0:
        raise UserError(f"parameter {spec.name}: a logarithmic range must start above 0, got min {low!r}")
    if name in ("int_uniform", "q_log_uniform_values"):
        if not whole or given.get("q", 1) != 1:
            raise UserError(f"parameter {spec.name}: {name} needs whole min and max, and q 1 where it is given")
        return IntDistribution(int(low), int(high), log=log)
    if spec.type is int:
        raise UserError(
            f"parameter {spec.name}: a whole number, so use int_uniform or q_log_uniform_values, not {name}"
        )
    return FloatDistribution(float(low), float(high), log=log)


def _check_end(spec: FieldSpec, end: float) -> None:
    """An end of a range must be a value of the field, so the whole range is within the field's law."""
    try:
        value_of(spec, end)
    except UserError as error:
        law = f" (valid: {range_text(spec.valid)})" if spec.valid else ""
        raise UserError(f"parameter {spec.name}: its range leaves what the field accepts{law}: {error}") from error
