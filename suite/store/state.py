"""What a method and its run keep between two rounds, as JSON and tensors: no code of anybody is run to read it.

Kept are None, truth values, numbers, text, tensors, lists, tuples, dicts and counters of these, generators of the
prior's class, and `Tempered`, `Mixture` and `Filtered` ones around them. What was one object is one object again.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from suite.policy import Acceptance, Filtered, Generator, Mixture, Tempered

Tree = Any
"""JSON."""


def encode(value: object, prior: Generator) -> tuple[Tree, dict[str, Tensor]]:
    """A value as JSON and its tensors by name, copied.

    Args:
        prior: generators in the value are of its class.

    Raises:
        TypeError: something in it is of another kind.
    """
    encoder = _Encoder(prior)
    return encoder.encode(value), encoder.tensors


def decode(tree: Tree, tensors: dict[str, Tensor], prior: Generator) -> Any:
    """The value again, its generators built from copies of the prior.

    Raises:
        Exception: of whatever kind, where the tree is none of :func:`encode`, or of another prior.
    """
    return _Decoder(tensors, prior).decode(tree)


def fingerprint(tensor: Tensor) -> str:
    """The name of a tensor on the CPU: sha256 of its kind, shape and content, by which damage is found."""
    content = hashlib.sha256(repr((tensor.dtype, tuple(tensor.shape))).encode())
    content.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return content.hexdigest()


class _Encoder:
    def __init__(self, prior: Generator) -> None:
        self._kind: type = type(prior)
        self._met: dict[int, int] = {}
        """The number of each object by its id."""
        self._values: list[object] = []
        """Those objects: an id belongs to one object as long as that lives."""
        self.tensors: dict[str, Tensor] = {}

    def encode(self, value: object) -> Tree:
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return {"float": value.hex()}
        if id(value) in self._met:
            return {"same": self._met[id(value)]}
        tree = self._object(value)
        self._met[id(value)] = len(self._values)
        self._values.append(value)
        return tree

    def _object(self, value: Any) -> Tree:
        if isinstance(value, Tensor):
            return {"tensor": self._stored(value), "device": value.device.type}
        if type(value) in (list, tuple):
            return {type(value).__name__: [self.encode(inner) for inner in value]}
        if type(value) in (dict, OrderedDict, Counter):
            pairs = [[self.encode(key), self.encode(inner)] for key, inner in value.items()]
            return {"counter" if type(value) is Counter else "dict": pairs}
        if isinstance(value, nn.Module) and type(value) is self._kind:
            return {"net": [[name, self._stored(tensor)] for name, tensor in value.state_dict().items()]}
        if type(value) is Tempered:
            return {"tempered": self.encode(value.net), "temperature": self.encode(float(value.temperature))}
        if type(value) is Mixture:
            return {"mixture": self.encode(value.parts), "weights": self.encode(value.weights)}
        if type(value) is Filtered:
            return {"filtered": self.encode(value.prior), "filters": self.encode(value.filters),
                    "acceptance": self.encode(tuple(value.acceptance))}  # fmt: skip
        if getattr(value, "saved_as", None) == "uniform":
            return {"uniform": True}
        raise TypeError(
            f"{type(value).__name__} cannot be kept in a checkpoint; numbers, text, tensors and policies can"
        )

    def _stored(self, tensor: Tensor) -> str:
        """The name of a tensor; of tensors with the same content one is stored."""
        copy = tensor.detach().cpu().contiguous().clone()
        name = fingerprint(copy)
        self.tensors.setdefault(name, copy)
        return name


class _Decoder:
    def __init__(self, tensors: dict[str, Tensor], prior: Generator) -> None:
        damaged = [name for name, tensor in tensors.items() if fingerprint(tensor) != name]
        if damaged:
            raise ValueError(f"{len(damaged)} tensors are not as they were written")
        self._tensors, self._prior = tensors, prior
        self._values: list[Any] = []

    def decode(self, tree: Tree) -> Any:
        if not isinstance(tree, dict):
            return tree
        if "float" in tree:
            return float.fromhex(tree["float"])
        if "same" in tree:
            return self._values[tree["same"]]
        value = self._object(tree)
        self._values.append(value)
        return value

    def _object(self, tree: Tree) -> Any:
        match next(iter(tree)):
            case "tensor":
                return self._tensors[tree["tensor"]].to(tree["device"], copy=True)
            case "list":
                return [self.decode(inner) for inner in tree["list"]]
            case "tuple":
                return tuple(self.decode(inner) for inner in tree["tuple"])
            case "dict":
                return {self.decode(key): self.decode(inner) for key, inner in tree["dict"]}
            case "counter":
                return Counter({self.decode(key): self.decode(inner) for key, inner in tree["counter"]})
            case "net":
                net = self._prior.clone()
                net.load_state_dict({name: self._tensors[stored] for name, stored in tree["net"]})
                return net
            case "tempered":
                return Tempered(self.decode(tree["tempered"]), self.decode(tree["temperature"]))
            case "mixture":
                parts, weights = self.decode(tree["mixture"]), self.decode(tree["weights"])
                mixture = Mixture(parts, weights)
                mixture.weights = weights  # not divided by their sum a second time
                return mixture
            case "filtered":
                prior, filters = self.decode(tree["filtered"]), self.decode(tree["filters"])
                return Filtered(prior, filters, Acceptance(*self.decode(tree["acceptance"])))
            case "uniform":
                return self._prior.uniform()
        raise ValueError(f"no kind {next(iter(tree))!r}")
