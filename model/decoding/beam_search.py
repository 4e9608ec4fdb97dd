"""Beam search: the text of highest log-probability per token, the beams being the rows of one batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.sampling import end_held_off, penalised
from adavae.model.decoding.step_decoder import CacheType, Generated, StepDecoder, check_finite
from adavae.model.parts.stacked import AdapterIndex


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


class BeamSearch(Generic[CacheType]):
    """Searches with ``num_beams`` beams, which are the rows of one batch.

    Advances ``step`` by step, so other work can be done in between.
    """

    def __init__(
        self, decoder: StepDecoder[CacheType], z: Tensor, index: AdapterIndex, decoding: Decoding, number: int
    ) -> None:
        """Takes the first step; ``z`` is (1, Z), ``number`` what an error calls the row."""
        self.decoder, self.decoding, self.index, self._number = decoder, decoding, index, number
        self._beams = [_Hypothesis((), 0.0, False)]
        self._finished: list[_Hypothesis] = []
        self._logits, self._kv_cache = decoder.prefill(z, index, decoding.max_tokens)
        self.result: Generated | None = None

    def run(self) -> Generated:
        """Takes every remaining step."""
        while self.result is None:
            self.step()
        return self.result

    def step(self) -> None:
        """Extends every beam by one token; sets ``result`` at the end.

        Raises:
            LogitsNotFinite: The model overflowed.
        """
        check_finite(self._logits, [self._number] * len(self._beams))
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
    """The ``num_beams`` likeliest one-token extensions that continue, with the beam each extends.

    Likely extensions by end-of-text are appended to ``finished``.
    """
    V = log_probs.shape[1]
    so_far = torch.tensor([[beam.log_prob] for beam in beams], dtype=torch.float64, device=log_probs.device)
    totals = log_probs.double() + so_far
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


def _tokens_of(beams: Sequence[_Hypothesis], logits: Tensor) -> Tensor:
    has_token = torch.zeros_like(logits, dtype=torch.bool)
    for row, beam in enumerate(beams):
        has_token[row, list(beam.token_ids)] = True
    return has_token
