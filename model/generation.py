"""Decoding whole requests: all rows as one batch, each with its own adapter set, parameters and seed, each stopping by
itself. Beam rows decode their beams side by side in a batch of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from model.errors import LogitsNotFinite
from model.sampling import Decoding, Strategy, next_tokens, penalised
from model.stacked import AdapterIndex

FinishReason = Literal["stop", "length"]
OnToken = Callable[[int, int], None]


_Cache = TypeVar("_Cache", bound="Cache")


class Cache(Protocol):
    """What generation asks of a KV cache."""

    def select(self: _Cache, rows: Tensor) -> _Cache:
        """Rows picked, repeated or left out."""
        ...


class StepDecoder(Protocol[_Cache]):
    """What generation asks of a model; ``AdaVAE`` is one."""

    @property
    def eos_token_id(self) -> int: ...

    def prefill(self, z: Tensor, index: AdapterIndex, max_tokens: int) -> tuple[Tensor, _Cache]:
        """First logits, (B, V), and a cache with room for ``max_tokens`` tokens."""
        ...

    def decode_step(self, token_ids: Tensor, kv_cache: _Cache, index: AdapterIndex) -> Tensor:
        """Next logits, (B, V)."""
        ...


@dataclass(frozen=True, slots=True)
class Generated:
    """One decoded row.

    Attributes:
        token_ids: Without end-of-text.
        finish_reason: ``stop`` where the model ended the text, ``length`` where ``max_tokens`` did.
    """

    token_ids: tuple[int, ...]
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    """One text of a beam search."""

    token_ids: tuple[int, ...]
    log_prob: float
    is_finished: bool

    @property
    def score(self) -> float:
        """Log-probability per token, end-of-text counted."""
        return self.log_prob / (len(self.token_ids) + int(self.is_finished))


@torch.inference_mode()
def generate(
    decoder: StepDecoder[_Cache],
    z: Tensor,
    index: AdapterIndex,
    decodings: Sequence[Decoding],
    on_token: OnToken | None = None,
) -> list[Generated]:
    """Decodes every row of ``z``.

    Args:
        decoder: The model.
        z: Latent vectors, (B, Z).
        index: Adapter set of each row.
        decodings: How to choose tokens, one a row; ``max_tokens`` must fit the model's context.
        on_token: Told of every token as it is chosen, row and token id; beam rows report theirs at their end.

    Returns:
        One result a row, in order.

    Raises:
        LogitsNotFinite: The model overflowed on some rows.
    """
    tell = on_token or _tell_nobody
    results: dict[int, Generated] = {}
    plain = [row for row, decoding in enumerate(decodings) if decoding.strategy is not Strategy.BEAM]
    if plain:
        chosen = torch.tensor(plain, device=z.device)
        own = [decodings[row] for row in plain]
        decoded = _generate_plain(decoder, z[chosen], index.select(chosen), own, plain, tell)
        results |= zip(plain, decoded, strict=True)
    for row, decoding in enumerate(decodings):
        if decoding.strategy is Strategy.BEAM:
            alone = torch.tensor([row], device=z.device)
            results[row] = _beam_search(decoder, z[alone], index.select(alone), decoding, row)
            for token_id in results[row].token_ids:
                tell(row, token_id)
    return [results[row] for row in range(len(decodings))]


def _generate_plain(
    decoder: StepDecoder[_Cache],
    z: Tensor,
    index: AdapterIndex,
    decodings: list[Decoding],
    numbers: list[int],
    on_token: OnToken,
) -> list[Generated]:
    """Greedy and sampled rows; a finished row leaves the batch. ``numbers`` are what the caller calls the rows."""
    tokens: list[list[int]] = [[] for _ in decodings]
    reasons: dict[int, FinishReason] = {}
    longest = max(decoding.max_tokens for decoding in decodings)
    logits, kv_cache = decoder.prefill(z, index, longest)
    has_token = _no_tokens_yet(logits, decodings)
    rows = list(range(len(decodings)))  # the rows still in the batch
    for step in range(longest):
        _check_finite(logits, [numbers[row] for row in rows])
        chosen = next_tokens(logits, [decodings[row] for row in rows], has_token, step)
        going_on = []
        for place, (row, token_id) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            if token_id == decoder.eos_token_id:
                reasons[row] = "stop"
                continue
            tokens[row].append(token_id)
            on_token(numbers[row], token_id)
            if len(tokens[row]) == decodings[row].max_tokens:
                reasons[row] = "length"
                continue
            going_on.append(place)
        if not going_on:
            break
        if has_token is not None:
            has_token.scatter_(1, chosen.unsqueeze(1), True)
        if len(going_on) < len(rows):
            kept = torch.tensor(going_on, device=z.device)
            chosen, kv_cache, index = chosen[kept], kv_cache.select(kept), index.select(kept)
            has_token = None if has_token is None else has_token[kept]
            rows = [rows[place] for place in going_on]
        logits = decoder.decode_step(chosen, kv_cache, index)
    return [Generated(tuple(own), reasons[row]) for row, own in enumerate(tokens)]


def _beam_search(
    decoder: StepDecoder[_Cache], z: Tensor, index: AdapterIndex, decoding: Decoding, number: int
) -> Generated:
    """The likeliest text per token that ``num_beams`` beams find, (1, Z) in; its beams are the rows of one batch."""
    logits, kv_cache = decoder.prefill(z, index, decoding.max_tokens)
    penalty = replace(decoding, strategy=Strategy.GREEDY)
    beams = [_Hypothesis((), 0.0, False)]
    finished: list[_Hypothesis] = []
    for _ in range(decoding.max_tokens):
        _check_finite(logits, [number] * len(beams))
        log_probs = penalised(logits.float(), [penalty] * len(beams), _tokens_of(beams, logits)).log_softmax(-1)
        parents, beams = _extended(beams, log_probs, decoding.num_beams, decoder.eos_token_id, finished)
        is_decided = len(finished) >= decoding.num_beams and _best(finished).score >= max(
            (beam.score for beam in beams), default=float("-inf")
        )
        if not beams or is_decided or len(beams[0].token_ids) == decoding.max_tokens:
            break
        rows = torch.tensor(parents, device=z.device)
        kv_cache, index = kv_cache.select(rows), index.select(rows)
        newest = torch.tensor([beam.token_ids[-1] for beam in beams], device=z.device)
        logits = decoder.decode_step(newest, kv_cache, index)
    best = _best([*finished, *beams])
    return Generated(best.token_ids, "stop" if best.is_finished else "length")


def _extended(
    beams: list[_Hypothesis], log_probs: Tensor, num_beams: int, eos_token_id: int, finished: list[_Hypothesis]
) -> tuple[list[int], list[_Hypothesis]]:
    """The ``num_beams`` likeliest one-token extensions that go on, with the beam each comes from.

    Extensions by end-of-text that are among the likeliest go to ``finished``.
    """
    V = log_probs.shape[1]
    totals = log_probs.double() + torch.tensor([[beam.log_prob] for beam in beams], device=log_probs.device).double()
    best, places = totals.flatten().topk(min(2 * num_beams, totals.numel()))
    parents: list[int] = []
    extended: list[_Hypothesis] = []
    for rank, (log_prob, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
        parent, token_id = divmod(place, V)
        if token_id == eos_token_id:
            if rank < num_beams:
                finished.append(_Hypothesis(beams[parent].token_ids, log_prob, True))
        elif len(extended) < num_beams:
            parents.append(parent)
            extended.append(_Hypothesis((*beams[parent].token_ids, token_id), log_prob, False))
    return parents, extended


def _best(hypotheses: Sequence[_Hypothesis]) -> _Hypothesis:
    return max(hypotheses, key=lambda hypothesis: hypothesis.score)


def _check_finite(logits: Tensor, numbers: Sequence[int]) -> None:
    """Raises LogitsNotFinite where a row has a NaN or +inf, or nothing but -inf."""
    is_finite = logits.amax(-1).isfinite().tolist()
    broken = {number for number, is_fine in zip(numbers, is_finite, strict=True) if not is_fine}
    if broken:
        raise LogitsNotFinite(tuple(sorted(broken)))


def _no_tokens_yet(logits: Tensor, decodings: Sequence[Decoding]) -> Tensor | None:
    if all(decoding.repetition_penalty == 1.0 for decoding in decodings):
        return None
    return torch.zeros_like(logits, dtype=torch.bool)


def _tokens_of(beams: Sequence[_Hypothesis], logits: Tensor) -> Tensor:
    has_token = torch.zeros_like(logits, dtype=torch.bool)
    for row, beam in enumerate(beams):
        has_token[row, list(beam.token_ids)] = True
    return has_token


def _tell_nobody(row: int, token_id: int) -> None:
    del row, token_id
