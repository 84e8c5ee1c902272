"""Configurations: one frozen dataclass per task and per baseline.

A field made with :func:`tunable` is the default, the search range and the valid bounds of its value at once; one made
with :func:`setting` is not searched over. Values arrive as Python values, as JSON or as command-line strings,
and always pass :func:`build`.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, Union

import msgspec

from suite.errors import UserError

T = TypeVar("T")
Bounds = tuple[float | None, float | None]
_KEY = "suite"
_NULLS = ("null", "none", "None")


class FieldSpec(NamedTuple):
    """What a field accepts. `low`/`high` are the search range, `valid` (inclusive, None: open) what is accepted."""

    name: str
    type: Any
    default: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    valid: Bounds | None = None
    choices: tuple[Any, ...] | None = None
    help: str = ""
    tunable: bool = False


def tunable(
    default: T,
    low: float | None = None,
    high: float | None = None,
    *,
    log: bool = False,
    valid: Bounds | None = None,
    choices: Sequence[T] | None = None,
    help: str = "",
) -> T:
    """A field to search over: a number within low..high, on a log scale if `log`, or one of `choices`.

    Args:
        default: the value where none is given.
        low, high: the search range; it does not limit what a person may type.
        log: search on a logarithmic scale; needs low > 0.
        valid: inclusive bounds that every value must keep, (None, 1) for "at most 1".
        choices: the possible values of a categorical field, instead of a range.
        help: one line for the command line.

    Raises:
        ValueError: neither or both of range and choices, an empty range, or a default that is not valid.
    """
    if (choices is None) == (low is None or high is None):
        raise ValueError("tunable: give either low and high, or choices")
    if low is not None and high is not None and (low >= high or (log and low <= 0)):
        raise ValueError(f"tunable: no search range from {low} to {high} (log={log})")
    return _field(default, low, high, log, valid, choices, help, True)


def setting(default: T, *, valid: Bounds | None = None, choices: Sequence[T] | None = None, help: str = "") -> T:
    """A field that is not searched over; arguments as for :func:`tunable`."""
    return _field(default, None, None, False, valid, choices, help, False)


def retuned(parent: type, name: str, default: T) -> T:
    """The field `name` of a parent configuration with another default, for a dataclass that inherits it."""
    spec: FieldSpec = next(field for field in dataclasses.fields(parent) if field.name == name).metadata[_KEY]
    _check_valid(spec, default, "default")
    return dataclasses.field(default=default, metadata={_KEY: spec._replace(default=default)})


def _field(
    default: T,
    low: float | None,
    high: float | None,
    log: bool,
    valid: Bounds | None,
    choices: Sequence[T] | None,
    help: str,
    searched: bool,
) -> T:
    options = None if choices is None else tuple(choices)
    spec = FieldSpec("", None, default, low, high, log, valid, options, help, searched)
    _check_valid(spec, default, "default")
    for end in (low, high):
        if end is not None:
            _check_valid(spec, end, "search range")
    return dataclasses.field(default=default, metadata={_KEY: spec})


def specs(cls: type) -> list[FieldSpec]:
    """The fields of a configuration class, in order; choices of a Literal included.

    Raises:
        UserError: `cls` is no frozen dataclass, or an annotation cannot be resolved.
    """
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise UserError(f"{cls.__name__} must be a frozen dataclass: put @dataclass(frozen=True) above it")
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise UserError(f"{cls.__name__}: cannot resolve an annotation: {error}") from error
    result = []
    for field in dataclasses.fields(cls):
        spec: FieldSpec = field.metadata.get(_KEY, FieldSpec("", None, None))
        hint = hints[field.name]
        default = field.default_factory() if callable(field.default_factory) else field.default
        choices = spec.choices
        if choices is None and typing.get_origin(hint) is Literal:
            choices = typing.get_args(hint)
        result.append(spec._replace(name=field.name, type=hint, default=default, choices=choices))
    return result


def build(cls: type[T], values: Mapping[str, object]) -> T:
    """An instance of the configuration class from `values`: Python values, JSON, or command-line strings.

    Fields that are not given take their defaults. Integers may be written 3.0, null is None, a tuple is
    `(1, 2)` or `[1, 2]`, a nested configuration is JSON and keeps the defaults of what it does not name.

    Raises:
        UserError: an unknown field (names the nearest), a value of another type, or one that is not valid
            (names the nearest valid one).
    """
    fields = {spec.name: spec for spec in specs(cls)}
    for name in values:
        if name not in fields:
            raise UserError(f"{cls.__name__} has no field {name!r}{nearest(name, fields)}")
    made = {name: value_of(spec, values.get(name, spec.default)) for name, spec in fields.items()}
    try:
        return cls(**made)
    except UserError:
        raise
    except ValueError as error:  # what a __post_init__ says about fields that do not go together
        raise UserError(f"{cls.__name__}: {error}") from error


def value_of(spec: FieldSpec, raw: object) -> Any:
    """`raw` as a value of the field's type, checked against its valid bounds; UserError as in :func:`build`."""
    if raw is dataclasses.MISSING:
        raise UserError(f"{spec.name} has no default; give it a value")
    try:
        value = _convert(raw, spec.type, spec.default)
    except (ValueError, SyntaxError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        if spec.choices is not None:
            raise UserError(_not_a_choice(spec.name, raw, spec.choices)) from error
        raise UserError(f"{spec.name}={raw!r}: expected {type_name(spec.type)}") from error
    _check_valid(spec, value, "value")
    return value


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as JSON values, the same for equal configurations; `build` takes it back."""
    return {spec.name: json_of(_convert(getattr(config, spec.name), spec.type, None)) for spec in specs(type(config))}


def closest(word: str, words: typing.Iterable[str]) -> str:
    """` did you mean 'x'?`, or nothing where no word is close."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f" did you mean {close[0]!r}?" if close else ""


def nearest(word: str, words: typing.Iterable[str]) -> str:
    """`; did you mean 'x'? possible: …`, the end of an error message; the guess only where one is close."""
    words = list(words)
    return f";{closest(word, words)} possible: {', '.join(words) or 'none'}"


def type_name(hint: Any) -> str:
    """A type as a person reads it: `int`, `int or null`, `a list of int`."""
    if hint is type(None):
        return "null"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(arg) for arg in args)
    if origin is Literal:
        return ", ".join(str(arg) for arg in args)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"a list of {type_name(args[0])}"
        return "(" + ", ".join(type_name(arg) for arg in args) + ")"
    if origin is Mapping:
        return "an object of fields and values"
    return {int: "a whole number", float: "a number", bool: "True or False", str: "text"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )


def _convert(raw: object, hint: Any, default: object) -> Any:
    """`raw` as a value of type `hint`; ValueError, TypeError or SyntaxError where it is none."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(raw, args, default)
    if origin is Literal:
        for choice in args:
            if (raw == choice and type(raw) is type(choice)) or raw == str(choice):
                return choice
        raise ValueError("not among the choices")
    if origin is tuple:
        return _convert_tuple(raw, args)
    if origin is Mapping:
        return dict(_object(raw))
    if dataclasses.is_dataclass(hint):
        return _convert_nested(raw, typing.cast(type, hint), default)
    if hint not in (bool, int, float, str):
        raise UserError(f"a configuration field cannot be of type {hint}")
    return _plain(raw, hint)


def _plain(raw: object, hint: type[T]) -> T:
    """`raw` as a truth value, a number or text; text is read as what it says, 3.0 is whole, True is no number.

    Raises:
        ValueError: it is none, or not finite.
    """
    if not isinstance(raw, bool | str) and isinstance(raw, typing.SupportsFloat):
        raw = _number(raw)
    value = msgspec.convert(raw, hint, strict=hint is bool and not isinstance(raw, str))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _number(raw: typing.SupportsFloat) -> int | float:
    """A number of another library, as NumPy's, as Python's own."""
    return raw.__index__() if isinstance(raw, typing.SupportsIndex) else float(raw)


def _convert_union(raw: object, args: tuple[Any, ...], default: object) -> Any:
    if type(None) in args and (raw is None or raw in _NULLS):
        return None
    for arg in args:
        if arg is not type(None):
            try:
                return _convert(raw, arg, default)
            except (ValueError, TypeError, SyntaxError):
                continue
    raise ValueError("none of the types")


def _convert_tuple(raw: object, args: tuple[Any, ...]) -> tuple[Any, ...]:
    value = _parse(raw) if isinstance(raw, str) else raw
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    kinds = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
    if len(kinds) != len(value):
        raise ValueError("wrong length")
    return tuple(_convert(item, kind, None) for item, kind in zip(value, kinds, strict=True))


def _convert_nested(raw: object, cls: type, default: object) -> Any:
    if isinstance(raw, cls):
        return raw
    base = to_dict(default) if isinstance(default, cls) else {}
    return build(cls, {**base, **_object(raw)})


def _object(raw: object) -> Mapping[str, object]:
    value = _parse(raw) if isinstance(raw, str) else raw
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return ast.literal_eval(text)


def _check_valid(spec: FieldSpec, value: Any, what: str) -> None:
    """UserError where the value, or an item of a tuple, is outside `valid`, or the value is not a choice."""
    if spec.choices is not None and value is not None and value not in spec.choices:
        raise UserError(_not_a_choice(spec.name or what, value, spec.choices))
    if spec.valid is None:
        return
    low, high = spec.valid
    for item in value if isinstance(value, tuple) else (value,):
        if item is None:
            continue
        bound = low if low is not None and item < low else high if high is not None and item > high else None
        if bound is not None:
            given = f"{spec.name or what}={value!r}"
            raise UserError(f"{given}: must be {range_text(spec.valid)}; the nearest valid value is {bound}")


def _not_a_choice(name: str, value: object, choices: Sequence[object]) -> str:
    return f"{name}={value!r}: not a choice{nearest(str(value), [str(choice) for choice in choices])}"


def range_text(bounds: Bounds) -> str:
    """`from 0 to 1`, `at least 1`, `at most 5`."""
    low, high = bounds
    if low is None:
        return "any number" if high is None else f"at most {high}"
    return f"at least {low}" if high is None else f"from {low} to {high}"


def json_of(value: Any) -> Any:
    """A value of a field as JSON has it."""
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return [json_of(item) for item in value] if isinstance(value, tuple) else value
