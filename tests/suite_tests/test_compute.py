"""Compute is booked to the innermost phase, and a measurement stays a measurement."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite import compute
from suite.generators import Table


def test_what_is_counted_goes_to_the_phase_around_it() -> None:
    with compute.metered() as meter:
        compute.count(1, 10.0)  # the default phase
        with compute.phase("training"):
            compute.count(2, 20.0)
            with compute.phase("filtering"):
                compute.count(4, 40.0)
            compute.count(8, 80.0)
    assert (meter.tallies["filtering"].tokens, meter.tallies["filtering"].flops) == (1 + 4, 50.0)
    assert (meter.tallies["training"].tokens, meter.tallies["training"].flops) == (2 + 8, 100.0)


@pytest.mark.parametrize("outer", ["heldout", "verifying"])
def test_training_inside_a_measurement_stays_the_measurement(outer: str) -> None:
    with compute.metered() as meter, compute.phase(outer), compute.phase("training"):
        compute.count(3, 30.0)
    assert meter.tallies[outer].tokens == 3
    assert meter.tallies["training"].tokens == 0


def test_nothing_is_counted_where_nobody_meters() -> None:
    with compute.phase("no such phase"):  # not even looked up
        compute.count(5, 5.0)
    with compute.metered() as meter:
        pass
    assert all(tally.tokens == 0 for tally in meter.tallies.values())


def test_an_unknown_phase_is_named() -> None:
    with compute.metered(), pytest.raises(ValueError, match="unknown phase 'sleeping'; one of training, filtering"):  # noqa: SIM117
        with compute.phase("sleeping"):
            pass


def test_a_phase_ends_when_its_block_raises() -> None:
    with compute.metered() as meter:
        with pytest.raises(KeyError), compute.phase("training"):
            raise KeyError
        compute.count(7, 7.0)
    assert meter.tallies["filtering"].tokens == 7


def test_seconds_are_split_without_gap_or_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 4.5, 10.0])  # open, into training, out, into heldout... close
    monkeypatch.setattr(compute.time, "perf_counter", lambda: next(clock))
    with compute.metered() as meter:  # 0.0
        with compute.phase("training"):  # 1.0
            pass  # 4.0
        meter.switch("heldout")  # 4.5
    # closed at 10.0
    seconds = {name: tally.seconds for name, tally in meter.tallies.items()}
    assert seconds == {"filtering": 1.0 + 0.5, "training": 3.0, "heldout": 5.5, "verifying": 0.0}


def test_meters_nest() -> None:
    with compute.metered() as outer:
        with compute.metered() as inner:
            compute.count(1, 1.0)
        compute.count(2, 2.0)
    assert inner.tallies["filtering"].tokens == 1
    assert outer.tallies["filtering"].tokens == 2


@given(n=st.integers(1, 50), epochs=st.integers(1, 4))
def test_flops_are_two_per_parameter_forward_and_six_in_training(n: int, epochs: int) -> None:
    table = Table(torch.zeros(5))
    with compute.metered() as meter:
        x = table.sample(n, torch.Generator().manual_seed(0))
        table.fit(x, generator=torch.Generator(), epochs=epochs)
    assert (meter.tallies["filtering"].tokens, meter.tallies["filtering"].flops) == (n, 2 * 5 * n)
    assert (meter.tallies["training"].tokens, meter.tallies["training"].flops) == (n * epochs, 6 * 5 * n * epochs)


def test_a_networks_flops_per_token_are_two_per_weight_it_multiplies(tiny_net: object) -> None:
    net = tiny_net(width=8)  # type: ignore[operator]
    block = 2 * 8 + 8 * 24 + 8 * 8 + 2 * 8 + (8 * 32 + 32) + (32 * 8 + 8)  # norm, qkv, out, norm, up, down
    assert net.flops_per_token == 2 * (2 * block + 2 * 8 + 8 * 2)  # two blocks, the last norm, the head
