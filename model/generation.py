"""Decoding whole requests: all rows as one batch, each with its own adapter set, parameters and seed, each stopping by
itself. Beam rows decode their beams side by side in a batch of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from model.errors import LogitsNotFinite
from model.sampling import Decoding, Strategy, end_held_off, next_tokens, penalised
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
            results[row] = _named(row, BeamSearch(decoder, z[alone], index.select(alone), decoding).run)
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
        check_finite(logits, [numbers[row] for row in rows])
        own = [decodings[row] for row in rows]
        logits = end_held_off(logits, own, [step] * len(rows), decoder.eos_token_id)
        chosen = next_tokens(logits, own, has_token, step)
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


class BeamSearch(Generic[_Cache]):
    """The likeliest text per token that ``num_beams`` beams find; its beams are the rows of one batch.

    ``step`` by step, so that other work can go on in between.
    """

    def __init__(self, decoder: StepDecoder[_Cache], z: Tensor, index: AdapterIndex, decoding: Decoding) -> None:
        """Takes the first step; ``z`` is (1, Z)."""
        self.decoder, self.decoding, self.index = decoder, decoding, index
        self._beams = [_Hypothesis((), 0.0, False)]
        self._finished: list[_Hypothesis] = []
        self._logits, self._kv_cache = decoder.prefill(z, index, decoding.max_tokens)
        self.result: Generated | None = None

    def run(self) -> Generated:
        """Every step to the end."""
        while self.result is None:
            self.step()
        return self.result

    def step(self) -> None:
        """Every beam grows by a token; at the end ``result`` is set.

        Raises:
            LogitsNotFinite: The model overflowed.
        """
        check_finite(self._logits, [0] * len(self._beams))
        parents = self._grow()
        if self._is_decided() or len(self._beams[0].token_ids) == self.decoding.max_tokens:
            best = _best([*self._finished, *self._beams])
            self.result = Generated(best.token_ids, "stop" if best.is_finished else "length")
            return
        rows = torch.tensor(parents, device=self._logits.device)
        self._kv_cache, self.index = self._kv_cache.select(rows), self.index.select(rows)
        newest = torch.tensor([beam.token_ids[-1] for beam in self._beams], device=self._logits.device)
        self._logits = self.decoder.decode_step(newest, self._kv_cache, self.index)

    def _grow(self) -> list[int]:
        """Replaces the beams by their likeliest extensions; returns each one's parent."""
        penalty = replace(self.decoding, strategy=Strategy.GREEDY)
        has_token = _tokens_of(self._beams, self._logits)
        eos_token_id, each = self.decoder.eos_token_id, [penalty] * len(self._beams)
        logits = penalised(self._logits.float(), each, has_token)
        steps = [len(beam.token_ids) for beam in self._beams]
        log_probs = end_held_off(logits, each, steps, eos_token_id).log_softmax(-1)
        parents, self._beams = _extended(self._beams, log_probs, self.decoding.num_beams, eos_token_id, self._finished)
        return parents

    def _is_decided(self) -> bool:
        if not self._beams:
            return True
        is_enough = len(self._finished) >= self.decoding.num_beams
        return is_enough and _best(self._finished).score >= max(beam.score for beam in self._beams)


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


def check_finite(logits: Tensor, numbers: Sequence[int]) -> None:
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


def _named(row: int, search: Callable[[], Generated]) -> Generated:
    """What ``search`` finds; where it fails, its one row is called what the caller calls it."""
    try:
        return search()
    except LogitsNotFinite as exc:
        raise LogitsNotFinite((row,)) from exc


def _tell_nobody(row: int, token_id: int) -> None:
    del row, token_id
