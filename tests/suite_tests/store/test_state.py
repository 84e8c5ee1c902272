"""What is kept between rounds comes back equal, and what was one object is one again."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
import torch

from suite.generators import Table
from suite.policy import Acceptance, Filtered, Mixture, Tempered
from suite.store.state import decode, encode

PRIOR = Table(torch.tensor([0.1, 0.2, 0.3, 0.4]).log())
OTHER = Table(torch.tensor([0.4, 0.3, 0.2, 0.1]).log())
CODES = torch.arange(4)[:, None]


def again(value: object) -> Any:
    tree, tensors = encode(value, PRIOR)
    return decode(json.loads(json.dumps(tree, allow_nan=False)), tensors, PRIOR)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(10**30), 0.1, 5e-324, math.inf, "text", [1, [2.5, None]], (1, ("a",)), {"a": 1, 2: [3]},
     {(1, 2): 3}, Counter({5: 2, (1, 2): 1}), [], {}, ()],
)  # fmt: skip
def test_plain_values(value: object) -> None:
    assert again(value) == value
    assert type(again(value)) is type(value)


def test_nan() -> None:
    assert math.isnan(again(math.nan))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_tensors(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.rand(shape) * 3).to(dtype)
    found = again(tensor)
    assert found.dtype == dtype
    assert torch.equal(found, tensor)


def test_policies_and_what_they_share() -> None:
    net = OTHER.clone()
    policy, filters, tempered, same = again((net, [(PRIOR, -0.5)], Tempered(net, 0.1), net))
    assert torch.equal(policy.log_prob(CODES), OTHER.log_prob(CODES))
    assert tempered.net is policy is same
    assert tempered.temperature == 0.1
    assert torch.equal(filters[0][0].log_prob(CODES), PRIOR.log_prob(CODES))
    mixture = again(Mixture([net, PRIOR], [0.1, 0.6]))
    assert mixture.weights == Mixture([net, PRIOR], [0.1, 0.6]).weights
    assert torch.equal(mixture.parts[0].log_prob(CODES), OTHER.log_prob(CODES))
    filtered = again(Filtered(net, [(PRIOR, -math.inf)], Acceptance(3, 10)))
    assert filtered.acceptance == Acceptance(3, 10)
    assert filtered.filters[0][1] == -math.inf


def test_equal_objects_that_were_two_stay_two() -> None:
    a, b = again([torch.ones(3), torch.ones(3)])
    a += 1
    assert b.tolist() == [1, 1, 1]
    assert len(encode([torch.ones(3), torch.ones(3)], PRIOR)[1]) == 1  # though their content is stored once


def test_what_is_of_another_kind_is_refused() -> None:
    class Mine(Table):
        pass

    for value in ({1}, Mine(torch.zeros(4)), object(), Acceptance(1, 2)):
        with pytest.raises(TypeError, match="cannot be kept in a checkpoint"):
            encode([value], PRIOR)
