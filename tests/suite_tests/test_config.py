"""Configurations: what is accepted, what is refused and with which words, and that they round-trip."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite import registry
from suite.config import build, setting, specs, to_dict, tunable
from suite.errors import UserError


@dataclasses.dataclass(frozen=True)
class Net:
    width: int = setting(64, valid=(1, None))
    layers: int = setting(2)


@dataclasses.dataclass(frozen=True)
class Config:
    lr: float = tunable(1e-3, 1e-5, 1e-1, log=True, valid=(0, 1), help="learning rate")
    epochs: int = tunable(20, 1, 100, valid=(1, None))
    mode: Literal["fast", "slow"] = setting("fast")
    size: int = tunable(16, choices=(8, 16, 32))
    limit: int | None = setting(None, valid=(1, 10))
    scale: float | None = setting(2.0)
    reset: bool = setting(False)
    name: str = setting("x")
    bins: tuple[int, ...] = setting((1, 2), valid=(0, None))
    pair: tuple[float, str] = setting((0.5, "a"))
    net: Net = setting(Net())
    plain: int = 3


ACCEPTED: list[tuple[str, object, object]] = [
    ("lr", "1e-2", 0.01),
    ("lr", 1, 1.0),
    ("lr", 0.0, 0.0),
    ("epochs", 3.0, 3),
    ("epochs", "3.0", 3),
    ("epochs", "1e3", 1000),
    ("epochs", "12345678901234567890", 12345678901234567890),
    ("mode", "slow", "slow"),
    ("size", "32", 32),
    ("limit", "null", None),
    ("limit", "None", None),
    ("limit", "7", 7),
    ("scale", None, None),
    ("scale", "0.5", 0.5),
    ("reset", "True", True),
    ("reset", "false", False),
    ("reset", "1", True),
    ("name", "", ""),
    ("name", "null", "null"),
    ("bins", "(3, 4)", (3, 4)),
    ("bins", "[3, 4.0]", (3, 4)),
    ("bins", "[]", ()),
    ("bins", [5], (5,)),
    ("pair", [1, "b"], (1.0, "b")),
    ("net", '{"width": 8}', Net(width=8, layers=2)),
    ("net", "{'layers': 5}", Net(width=64, layers=5)),
    ("net", {"width": "8"}, Net(width=8)),
    ("plain", "4", 4),
]


@pytest.mark.parametrize(("name", "given_value", "expected"), ACCEPTED)
def test_accepted(name: str, given_value: object, expected: object) -> None:
    value = getattr(build(Config, {name: given_value}), name)
    assert value == expected
    assert type(value) is type(expected)


REFUSED: list[tuple[str, object, str]] = [
    ("lr", "1.5", r"lr=1.5: must be from 0 to 1; the nearest valid value is 1$"),
    ("lr", -0.1, r"the nearest valid value is 0$"),
    ("lr", "nan", r"lr='nan': expected a number"),
    ("lr", math.inf, r"lr=inf: expected a number"),
    ("lr", True, r"lr=True: expected a number"),
    ("lr", "null", r"lr='null': expected a number"),
    ("epochs", 3.5, r"epochs=3.5: expected a whole number"),
    ("epochs", 0, r"epochs=0: must be at least 1; the nearest valid value is 1$"),
    ("epochs", False, r"expected a whole number"),
    ("epochs", "inf", r"expected a whole number"),
    ("epochs", [1], r"expected a whole number"),
    ("mode", "fats", r"mode='fats': not a choice; did you mean 'fast'\? possible: fast, slow$"),
    ("size", 9, r"size=9: not a choice; possible: 8, 16, 32$"),
    ("limit", 11, r"limit=11: must be from 1 to 10; the nearest valid value is 10$"),
    ("limit", "x", r"limit='x': expected a whole number or null$"),
    ("reset", "maybe", r"reset='maybe': expected True or False$"),
    ("reset", 1, r"expected True or False"),
    ("name", 3, r"name=3: expected text"),
    ("bins", "(3, -1)", r"bins=\(3, -1\): must be at least 0; the nearest valid value is 0$"),
    ("bins", "3", r"expected a list of a whole number"),
    ("pair", [1], r"pair=\[1\]: expected \(a number, text\)"),
    ("net", "[1]", r"net='\[1\]': expected Net"),
    ("net", {"widht": 8}, r"Net has no field 'widht'; did you mean 'width'\? possible: width, layers$"),
    ("net", {"width": 0}, r"width=0: must be at least 1"),
    ("epoch", 3, r"Config has no field 'epoch'; did you mean 'epochs'\? possible: lr, epochs, "),
]


@pytest.mark.parametrize(("name", "given_value", "message"), REFUSED)
def test_refused(name: str, given_value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(Config, {name: given_value})


def test_specs_carry_range_law_and_choices() -> None:
    found = {spec.name: spec for spec in specs(Config)}
    lr = found["lr"]
    assert (lr.type, lr.default, lr.low, lr.high, lr.log, lr.valid, lr.tunable, lr.help) == (
        float, 1e-3, 1e-5, 1e-1, True, (0, 1), True, "learning rate",
    )  # fmt: skip
    assert found["mode"].choices == ("fast", "slow")
    assert found["size"].choices == (8, 16, 32)
    assert [spec.name for spec in specs(Config) if spec.tunable] == ["lr", "epochs", "size"]
    assert found["plain"].default == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"low": 2.0, "high": 1.0},
        {"low": 0.0, "high": 1.0, "log": True},
        {},
        {"low": 1.0, "high": 2.0, "choices": (1.0,)},
        {"low": 0.1, "high": 2.0, "valid": (0, 1)},
        {"choices": (2.0, 3.0)},
    ],
    ids=["empty", "log of 0", "neither", "both", "range outside the law", "default not a choice"],
)
def test_contradictory_fields_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tunable|search range|not a choice"):
        tunable(1.0, **arguments)


def test_what_post_init_says_reaches_the_person() -> None:
    @dataclasses.dataclass(frozen=True)
    class Paired:
        low: int = 1
        high: int = 2

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low must not exceed high")

    with pytest.raises(UserError, match="Paired: low must not exceed high"):
        build(Paired, {"low": 3})


def test_a_class_that_is_not_frozen_is_refused() -> None:
    @dataclasses.dataclass
    class Loose:
        x: int = 1

    with pytest.raises(UserError, match="Loose must be a frozen dataclass"):
        specs(Loose)


def test_equal_configs_have_equal_json() -> None:
    # A float field given an int, in the constructor or through build, is the same configuration.
    assert json.dumps(to_dict(Config(lr=1))) == json.dumps(to_dict(build(Config, {"lr": "1.0"})))
    assert to_dict(Config()) == {
        "lr": 0.001, "epochs": 20, "mode": "fast", "size": 16, "limit": None, "scale": 2.0, "reset": False,
        "name": "x", "bins": [1, 2], "pair": [0.5, "a"], "net": {"width": 64, "layers": 2}, "plain": 3,
    }  # fmt: skip


configs = st.builds(
    Config,
    lr=st.floats(0, 1),
    epochs=st.integers(1, 10**30),
    mode=st.sampled_from(["fast", "slow"]),
    size=st.sampled_from([8, 16, 32]),
    limit=st.none() | st.integers(1, 10),
    scale=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    reset=st.booleans(),
    name=st.text(),
    bins=st.lists(st.integers(0)).map(tuple),
    pair=st.tuples(st.floats(-1, 1), st.text()),
    net=st.builds(Net, width=st.integers(1, 99), layers=st.integers()),
)


@given(configs)
def test_configs_round_trip_through_json_and_through_the_command_line(config: Config) -> None:
    values = json.loads(json.dumps(to_dict(config)))
    assert build(Config, values) == config
    typed = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    assert build(Config, typed) == config
    # W&B agents pass Python's repr instead of JSON.
    assert build(Config, {key: value if isinstance(value, str) else repr(value) for key, value in values.items()}) == (
        config
    )


REGISTERED = [(kind, ref) for kind in ("task", "baseline") for ref in registry.ids(kind)]


@pytest.mark.parametrize(("kind", "ref"), REGISTERED)
def test_registered_configs_round_trip(kind: registry.Kind, ref: str) -> None:
    default = registry.load(kind, ref).config_class()
    values = to_dict(default)
    assert build(type(default), json.loads(json.dumps(values))) == default
    assert build(type(default), {key: str(value) for key, value in values.items()}) == default


@pytest.mark.parametrize(("kind", "ref"), REGISTERED)
def test_registered_fields_explain_themselves(kind: registry.Kind, ref: str) -> None:
    for spec in specs(registry.load(kind, ref).config_class):
        assert spec.help, f"{ref}: the field {spec.name} has no help"
