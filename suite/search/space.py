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

from suite.config import FieldSpec, json_of, range_text, specs, value_of
from suite.errors import UserError
from suite.store.records import canonical

Parameter = Mapping[str, Any]
"""One entry of a sweep file's `parameters`: `value`, `values`, or `distribution` with `min` and `max`."""

_KEYS = {
    "value": {"value", "distribution"},
    "values": {"values", "distribution"},
    "min": {"min", "max", "distribution", "q"},
}
_NAMED = {"value": "constant", "values": "categorical"}
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
    if kind in _NAMED and given.get("distribution", _NAMED[kind]) != _NAMED[kind]:
        raise UserError(
            f"parameter {spec.name}: `{kind}` is of the distribution {_NAMED[kind]}, not {given['distribution']!r};"
            " leave `distribution` out"
        )
    if kind == "value":
        value_of(spec, given["value"])
        return None
    if kind == "values":
        return _categorical(spec, given["values"])
    return _range(spec, given)


def _categorical(spec: FieldSpec, values: object) -> CategoricalDistribution:
    if not isinstance(values, list) or not values:
        raise UserError(f"parameter {spec.name}: `values` must be a list that is not empty, got {values!r}")
    return CategoricalDistribution([choice(spec, value) for value in values])


def choice(spec: FieldSpec, value: object) -> Any:
    """One of a parameter's `values` as Optuna keeps it: a value of the field's type, a list or an object as JSON text.

    Optuna stores None, bool, int, float and text alone, and compares choices. UserError where the field refuses it.
    """
    plain = json_of(value_of(spec, value))
    return canonical(plain) if isinstance(plain, list | dict) else plain


def _range(spec: FieldSpec, given: Parameter) -> BaseDistribution:
    low, high = given.get("min"), given.get("max")
    for end in (low, high):
        if isinstance(end, str):
            raise UserError(f"parameter {spec.name}: {end!r} is text in YAML, not a number; {_spelt(end)}")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or low > high:
        raise UserError(f"parameter {spec.name}: no range from min {low!r} to max {high!r}")
    whole = isinstance(low, int) and isinstance(high, int)
    name = given.get("distribution", "int_uniform" if whole else "uniform")
    if name not in _RANGES:
        raise UserError(f"parameter {spec.name}: distribution {name!r} is unknown here; one of {', '.join(_RANGES)}")
    if "q" in given and name != "q_log_uniform_values":
        raise UserError(f"parameter {spec.name}: {name} takes no step q here; leave it out, or list the `values`")
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


def _spelt(text: str) -> str:
    """What to write instead of a number that YAML 1.1 reads as text: it wants a point before an exponent."""
    try:
        float(text)
    except ValueError:
        return "write a number"
    mantissa, e, exponent = text.lower().partition("e")
    return f"write {mantissa}.0e{exponent}" if e and "." not in mantissa else f"write {float(text)!r}"


def _check_end(spec: FieldSpec, end: float) -> None:
    """An end of a range must be a value of the field, so the whole range is within the field's valid bounds."""
    try:
        value_of(spec, end)
    except UserError as error:
        bounds = f" (valid: {range_text(spec.valid)})" if spec.valid else ""
        raise UserError(f"parameter {spec.name}: its range leaves what the field accepts{bounds}: {error}") from error
