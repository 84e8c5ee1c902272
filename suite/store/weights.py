"""Policies on disk: safetensors whose metadata says how to build the policy around the task's prior again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors import torch as safetensors
from torch import Tensor, nn

from suite.policy import Acceptance, Filtered, Generator, Mixture, Policy, Tempered
from suite.store import disk


def describe(policy: Policy) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """How a policy is built (JSON) and its tensors by name; None for a policy of another kind."""
    if isinstance(policy, nn.Module):
        return {"kind": "net"}, {name: t.detach().cpu().contiguous() for name, t in policy.state_dict().items()}
    how: dict[str, Any]
    if isinstance(policy, Tempered):
        parts, how = [policy.net], {"kind": "tempered", "temperature": repr(policy.temperature)}
    elif isinstance(policy, Mixture):
        parts, how = list(policy.parts), {"kind": "mixture", "weights": policy.weights}
    elif isinstance(policy, Filtered):
        parts = [policy.prior, *(model for model, _ in policy.filters)]
        how = {"kind": "filtered", "log_taus": [tau for _, tau in policy.filters], "acceptance": policy.acceptance}
    elif getattr(policy, "saved_as", None) == "uniform":  # what the prior's `uniform()` gives
        return {"kind": "uniform"}, {}
    else:
        return None
    tensors: dict[str, Tensor] = {}
    inner = []
    for i, part in enumerate(parts):
        described = describe(part)
        if described is None:
            return None
        inner.append(described[0])
        tensors |= {f"{i}.{name}": t for name, t in described[1].items()}
    return how | {"parts": inner}, tensors


def fingerprint(policy: Policy) -> str | None:
    """A hash that two policies share exactly where they are the same distribution built the same way."""
    described = describe(policy)
    if described is None:
        return None
    text = hashlib.sha256(json.dumps(described[0], sort_keys=True).encode())
    for name, tensor in sorted(described[1].items()):
        text.update(name.encode() + tensor.numpy().tobytes())
    return text.hexdigest()


def save(policy: Policy, path: Path) -> bool:
    """Write a policy; False where its kind cannot be written, or its generator says that it is not to be."""
    if not getattr(policy, "saved", True):
        return False
    described = describe(policy)
    if described is None:
        return False
    tensors = {name: t.clone() for name, t in described[1].items()}  # parts may share memory, safetensors may not
    disk.write(path, safetensors.save(tensors, metadata={"policy": json.dumps(described[0])}))
    return True


def load(path: Path, prior: Generator) -> Policy:
    """The policy written at `path`, built around copies of the task's prior."""
    with safe_open(path, framework="pt") as file:
        how = json.loads(file.metadata()["policy"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return _build(how, tensors, prior)


def _build(how: dict[str, Any], tensors: dict[str, Tensor], prior: Generator) -> Policy:
    if how["kind"] == "uniform":
        return prior.uniform()
    if how["kind"] == "net":
        net = prior.clone()
        net.load_state_dict(tensors)
        return net
    parts = [
        _build(inner, {k.split(".", 1)[1]: t for k, t in tensors.items() if k.split(".", 1)[0] == str(i)}, prior)
        for i, inner in enumerate(how["parts"])
    ]
    if how["kind"] == "tempered":
        return Tempered(parts[0], float(how["temperature"]))
    if how["kind"] == "mixture":
        return Mixture(parts, how["weights"])
    filters = list(zip(parts[1:], how["log_taus"], strict=True))
    return Filtered(parts[0], filters, Acceptance(*how["acceptance"]))


def to(policy: Any, device: str) -> Any:
    """A generator on a device."""
    return policy.to(torch.device(device)) if isinstance(policy, nn.Module) else policy
