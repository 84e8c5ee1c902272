"""The search space: one field, one W&B parameter, one Optuna distribution."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from wandb.sdk.sweeps.scheduler.optuna import sweep_parameter_to_distribution

from suite import registry
from suite.config import FieldSpec, specs
from suite.errors import UserError
from suite.search.space import distribution, parameters
from suite.search.sweep import NAMES

WHOLE = FieldSpec("epochs", int, 9, 1, 100, log=True, valid=(1, None), tunable=True)
RATE = FieldSpec("lr", float, 1e-3, 1e-4, 1e-2, log=True, valid=(0, None), tunable=True)


def test_banels_parameters_are_its_search_ranges() -> None:
    """Copied by hand from the ranges in baselines/banel.py."""
    assert parameters(registry.load("baseline", "banel").config_class) == {
        "epochs": {"distribution": "q_log_uniform_values", "q": 1, "min": 1, "max": 100},
        "filter_factor": {"distribution": "log_uniform_values", "min": 1.03, "max": 16.0},
        "failure_lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "distil_lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "distil_epochs": {"distribution": "int_uniform", "min": 1, "max": 4},
    }


@pytest.mark.parametrize("baseline", registry.ids("baseline"))
def test_wandbs_own_scheduler_reads_the_same_distributions(baseline: str) -> None:
    """A second implementation: wandb's conversion of a sweep parameter."""
    fields = {spec.name: spec for spec in specs(registry.load("baseline", baseline).config_class)}
    for name, parameter in parameters(registry.load("baseline", baseline).config_class).items():
        assert distribution(fields[name], parameter) == sweep_parameter_to_distribution(parameter)


@pytest.mark.parametrize("baseline", registry.ids("baseline"))
def test_no_field_of_a_baseline_is_called_like_a_setting_of_a_sweep(baseline: str) -> None:
    assert not {spec.name for spec in specs(registry.load("baseline", baseline).config_class)} & set(NAMES)


@pytest.mark.parametrize(
    ("spec", "parameter", "expected"),
    [
        (WHOLE, {"min": 1, "max": 8}, IntDistribution(1, 8)),
        (RATE, {"min": 0.1, "max": 0.5}, FloatDistribution(0.1, 0.5)),
        (FieldSpec("reset", bool, False), {"values": [True, False]}, CategoricalDistribution([True, False])),
        (FieldSpec("top", int | None, None), {"values": [None, 3]}, CategoricalDistribution([None, 3])),
        (RATE, {"value": 0.2}, None),
    ],
)
def test_the_short_forms_of_a_parameter(spec: FieldSpec, parameter: dict[str, Any], expected: object) -> None:
    assert distribution(spec, parameter) == expected


@pytest.mark.parametrize(
    ("spec", "parameter", "message"),
    [
        (WHOLE, {"min": 0, "max": 8}, "its range leaves what the field accepts (valid: at least 1)"),
        (WHOLE, {"min": 1.0, "max": 8.0}, "use int_uniform or q_log_uniform_values, not uniform"),
        (WHOLE, {"values": [1, 0]}, "epochs=0: must be at least 1"),
        (WHOLE, {"value": "many"}, "epochs='many': expected a whole number"),
        (WHOLE, {"values": []}, "must be a list that is not empty"),
        (RATE, {"min": 0.5, "max": 0.1}, "no range from min 0.5 to max 0.1"),
        (RATE, {"distribution": "normal", "min": 0.1, "max": 0.2}, "distribution 'normal' is unknown here; one of"),
        (RATE, {"distribution": "log_uniform_values", "min": 0.0, "max": 1.0}, "must start above 0"),
        (RATE, {"min": "1e-3", "max": 0.1}, "lr: '1e-3' is text in YAML, not a number; write 1.0e-3"),
        (RATE, {"min": 0.001, "max": 0.002, "q": 0.001}, "uniform takes no step q here"),
        (RATE, {"distribution": "unifrom", "values": [0.1]}, "`values` is of the distribution categorical, not 'unif"),
        (RATE, {"mu": 1}, "is none of W&B's forms"),
        (RATE, {"value": 1, "min": 0}, "is none of W&B's forms"),
    ],
)
def test_a_bad_parameter_says_what_is_possible(spec: FieldSpec, parameter: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        distribution(spec, parameter)
    assert message in str(error.value)
