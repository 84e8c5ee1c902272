"""A Hugging Face causal language model that answers one fixed prompt.

`transformers` (extra `hf`) is imported by whoever loads the model; this file needs torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from suite.generators.neural import Neural

ROWS = 64
"""Strings that are put through the model at once without gradients."""


class CausalLM(Neural):
    """Distribution over the T tokens that follow a prompt; int64 (B, T), after the first end filled with `fill`.

    Args:
        model: a `transformers` causal language model.
        prompt: its tokens, int64 (P,), P ≥ 1.
        length: most tokens of an answer, T; longer ones are cut.
        end: the token that ends an answer; also_ends are others that do.
        fill: the token that stands after the end.
        saved: whether a run writes the weights of its policies to disk.
    """

    lr_scale = 0.02

    def __init__(
        self,
        model: Any,
        prompt: Tensor,
        *,
        length: int,
        end: int,
        fill: int,
        saved: bool = False,
        also_ends: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if not len(prompt):
            raise ValueError("a causal language model needs a prompt of at least one token")
        self.model = model
        self.prompt: Tensor
        self.ends: Tensor
        self.register_buffer("prompt", prompt, persistent=False)
        self.register_buffer("ends", torch.tensor([end, *also_ends]), persistent=False)
        self.vocab_size = int(model.config.get_text_config().vocab_size)  # of a multimodal model too
        self.length, self.end, self.fill, self.saved = length, end, fill, saved

    @property
    def flops_per_token(self) -> int:
        """2 x the parameters; the input embedding is counted because the output shares it, or is as large."""
        return 2 * sum(p.numel() for p in self.parameters())

    def trained_tokens(self, x: Tensor) -> int:
        return x.numel() + len(x) * len(self.prompt)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draw n answers, int64 (n, T), with token probabilities softmax(logits / temperature)."""
        self.model.eval()
        parts = [self._sample(min(ROWS, n - start), generator, temperature) for start in range(0, n, ROWS)]
        return torch.cat(parts) if parts else torch.zeros(0, self.length, dtype=torch.long)

    def _sample(self, n: int, generator: torch.Generator, temperature: float) -> Tensor:
        x = self.prompt.new_full((n, self.length), self.fill)
        going = torch.ones(n, dtype=torch.bool, device=x.device)
        tokens, cache = self.prompt.expand(n, -1), None
        for step in range(self.length):
            out = self.model(input_ids=tokens, cache=cache, use_cache=True)
            self.meter(tokens.numel())
            cache = out.cache
            p = torch.softmax(out.logits[:, -1].double() / temperature, dim=-1)  # (n, V)
            drawn = torch.multinomial(p, 1, generator=generator).squeeze(1)
            x[:, step] = torch.where(going, drawn, self.fill)
            going = going & ~torch.isin(drawn, self.ends)
            if not going.any():
                break
            tokens = drawn[:, None]
        return x

    @torch.no_grad()
    def log_prob(self, x: Tensor, temperature: float = 1.0) -> Tensor:
        """log p(x), float64 (B,); -inf where anything but `fill` follows the end."""
        self.model.eval()
        parts = [self._log_p(rows, temperature).double() for rows in torch.split(x, ROWS)]
        self.meter(self.trained_tokens(x))
        log_p = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)
        return torch.where(self._malformed(x), -torch.inf, log_p)

    def log_likelihood(self, x: Tensor) -> Tensor:
        return self._log_p(x, 1.0)

    def _log_p(self, x: Tensor, temperature: float) -> Tensor:
        """log p up to and with the end, float (B,)."""
        inputs = torch.cat([self.prompt.expand(len(x), -1), x[:, :-1]], dim=1)  # (B, P + T - 1)
        logits = self.model(input_ids=inputs, use_cache=False).logits[:, len(self.prompt) - 1 :]  # (B, T, V)
        picked = F.log_softmax(logits.float() / temperature, dim=-1).gather(-1, x[..., None]).squeeze(-1)
        return (picked * ~self._after_end(x)).sum(dim=1)

    def _after_end(self, x: Tensor) -> Tensor:
        """True (B, T) behind the first end."""
        ends = torch.isin(x, self.ends).long()
        return ends.cumsum(dim=1) - ends > 0

    def _malformed(self, x: Tensor) -> Tensor:
        return (self._after_end(x) & (x != self.fill)).any(dim=1)
