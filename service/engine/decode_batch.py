"""Continuous decoding: rows of many requests and adapter sets, one token each a step, joining and leaving in between.

Synchronous and single-threaded: the device thread drives it. A row's text depends on its own z, adapter set, parameters
and seed alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.decoding.beam_search import BeamSearch
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.sampling import end_held_off, next_tokens
from adavae.model.decoding.step_decoder import Generated
from adavae.model.errors import LogitsNotFinite
from adavae.model.gpu.device_rows import DeviceRows
from adavae.model.gpu.device_sampling import NOT_FINITE
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.row_cache import RowCache
from adavae.service.engine.micro_batch import run_bisecting
from adavae.service.engine.ticket import Ticket

_MAX_BEAM_SEARCHES = 4  # side by side; each is a batch of its own


@dataclass(eq=False, slots=True)
class DecodeRow:
    """One latent vector being decoded.

    Attributes:
        ticket: Whose row it is.
        number: Which of its rows.
        z: (Z,), float32, of its adapter set's own size.
        slot: Of its adapter set in the bank.
        decoding: How to choose its tokens.
        on_token: Called with every token id, on the device thread.
        expected_tokens: How many it will have, as far as is known; 0 for ``max_tokens``.
        token_ids: Chosen so far.
    """

    ticket: Ticket[Generated]
    number: int
    z: Tensor
    slot: int
    decoding: Decoding
    on_token: Callable[[int], None] | None = None
    expected_tokens: float = 0.0
    token_ids: list[int] = field(default_factory=list)

    @property
    def is_beam(self) -> bool:
        return self.decoding.strategy is Strategy.BEAM

    @property
    def work(self) -> float:
        """Tokens of every beam, by which clients take turns."""
        return (self.expected_tokens or self.decoding.max_tokens) * (self.decoding.num_beams if self.is_beam else 1)


Outcome = tuple[DecodeRow, Generated | Exception]


class DecodeBatch:
    """The rows being decoded, with their KV cache.

    ``device_rows`` keeps the rows and computes their steps in place of this file, as it does on a GPU.
    """

    def __init__(self, vae: AdaVAE, *, max_rows: int, max_tokens: int, device_rows: DeviceRows | None = None) -> None:
        self.vae, self.max_rows = vae, max_rows
        weight = vae.backbone.wte.weight
        self.device = weight.device
        self._device_rows = device_rows
        self._cache = RowCache(
            vae.backbone.config,
            num_memory=vae.bank.num_memory_positions,
            max_rows=max_rows if device_rows is None else 0,
            max_tokens=max_tokens,
            like=weight,
        )
        self._rows: list[DecodeRow] = []
        self._beams: list[tuple[DecodeRow, BeamSearch[Any]]] = []
        self._index: AdapterIndex | None = None  # of the rows as they stand; None after a change

    def __len__(self) -> int:
        return len(self._rows) + len(self._beams)

    @property
    def rows(self) -> list[DecodeRow]:
        """Those being decoded, in whatever way."""
        return [*self._rows, *(row for row, _ in self._beams)]

    def num_free(self, *, is_beam: bool) -> int:
        """How many more rows there is room for."""
        if is_beam:
            return min(_MAX_BEAM_SEARCHES - len(self._beams), self.max_rows - len(self))
        return min((self._device_rows or self._cache).num_free, self.max_rows - len(self))

    def prepare(self) -> None:
        """Does ahead of time what would keep the first row waiting."""
        if self._device_rows is not None:
            self._device_rows.capture()

    def join(self, rows: Sequence[DecodeRow]) -> list[Outcome]:
        """Takes rows in, which there must be room for; returns those that cannot even begin."""
        outcomes: list[Outcome] = []
        plain = [row for row in rows if not row.is_beam]
        if plain:
            outcomes += _failures(plain, run_bisecting(plain, self._join_plain))
        searching = [row for row in rows if row.is_beam]
        return outcomes + _failures(searching, [self._join_beam(row) for row in searching])

    def _join_plain(self, rows: Sequence[DecodeRow]) -> list[None]:
        """z becomes each row's first keys and values; end-of-text, its first token, is read by the next step."""
        index = AdapterIndex.of([row.slot for row in rows], self.device)
        memory = self.vae.bank.decoder_memory(self._stack(rows), index)
        if self._device_rows is None:
            self._cache.join(memory)
        else:
            self._device_rows.join(memory, index.slots, [row.decoding for row in rows])
        self._rows += rows
        self._index = None
        return [None] * len(rows)

    def _join_beam(self, row: DecodeRow) -> Exception | None:
        index = AdapterIndex.of([row.slot], self.device)
        try:
            self._beams.append((row, BeamSearch(self.vae, self._stack([row]), index, row.decoding, row.number)))
        except Exception as exc:
            return exc
        return None

    def _stack(self, rows: Sequence[DecodeRow]) -> Tensor:
        """(B, Z) as wide as the bank; a smaller set's last dimensions are zero."""
        return torch.cat([self.vae.widened(row.z.unsqueeze(0)) for row in rows])

    def drop_abandoned(self) -> None:
        """Frees the places of rows that nobody waits for."""
        self._leave([place for place, row in enumerate(self._rows) if row.ticket.is_abandoned])
        self._beams = [beam for beam in self._beams if not beam[0].ticket.is_abandoned]

    def step(self) -> list[Outcome]:
        """One token for every row; returns the rows that are finished or failed, which have left."""
        outcomes = self._step_rows() if self._rows else []
        return outcomes + self._step_beams()

    def _step_rows(self) -> list[Outcome]:
        chosen, outcomes = self._choose() if self._device_rows is None else self._choose_on(self._device_rows)
        failed = {id(row) for row, _ in outcomes}
        for row, token_id in zip(self._rows, chosen, strict=True):
            if id(row) in failed:
                continue
            finished = _grow(row, token_id, self.vae.eos_token_id)
            if finished is not None:
                outcomes.append((row, finished))
        gone = {id(row) for row, _ in outcomes}
        self._leave([place for place, row in enumerate(self._rows) if id(row) in gone])
        return outcomes

    def _choose_on(self, device_rows: DeviceRows) -> tuple[list[int], list[Outcome]]:
        """As ``_choose``, without the logits ever leaving the device."""
        chosen = device_rows.step()
        failed = [row for row, token_id in zip(self._rows, chosen, strict=True) if token_id == NOT_FINITE]
        return chosen, [(row, LogitsNotFinite((row.number,))) for row in failed]

    def _choose(self) -> tuple[list[int], list[Outcome]]:
        """The next token of every row, and the rows that failed."""
        logits, outcomes = self._logits()
        decodings = [row.decoding for row in self._rows]
        steps = [len(row.token_ids) for row in self._rows]
        logits = end_held_off(logits, decodings, steps, self.vae.eos_token_id)
        chosen: list[int] = next_tokens(logits, decodings, self._has_token(logits), steps).tolist()
        return chosen, outcomes

    def _logits(self) -> tuple[Tensor, list[Outcome]]:
        """Next logits of every row, (B, V), zero for the failed ones, and those."""
        eos = self.vae.eos_token_id
        newest = torch.tensor([row.token_ids[-1] if row.token_ids else eos for row in self._rows], device=self.device)
        if self._index is None:
            self._index = AdapterIndex.of([row.slot for row in self._rows], self.device)
        logits, errors = self._bisect(newest, 0, len(self._rows))
        is_finite = logits.amax(-1).isfinite().tolist()
        for place, is_fine in enumerate(is_finite):
            if not is_fine:
                errors[place] = LogitsNotFinite((self._rows[place].number,))
                logits[place] = 0.0
        return logits, [(self._rows[place], error) for place, error in errors.items()]

    def _bisect(self, newest: Tensor, start: int, stop: int) -> tuple[Tensor, dict[int, Exception]]:
        """Logits of places ``start`` to ``stop``; where the step fails, of each half by itself."""
        view = self._cache.view(start, stop)
        before = view.lengths.clone()
        assert self._index is not None  # _logits made it
        is_whole = stop - start == len(self._rows)
        index = self._index if is_whole else AdapterIndex.of(self._index.slots[start:stop], self.device)
        try:
            return self.vae.decode_step(newest[start:stop], view, index), {}
        except Exception as exc:
            self._cache.undo_step(start, stop, before)
            if stop - start == 1:
                V = self.vae.backbone.config.vocab_size
                return torch.zeros(1, V, device=self.device), {start: exc}
        middle = (start + stop) // 2
        left, left_errors = self._bisect(newest, start, middle)
        right, right_errors = self._bisect(newest, middle, stop)
        return torch.cat([left, right]), left_errors | right_errors

    def _has_token(self, logits: Tensor) -> Tensor | None:
        if all(row.decoding.repetition_penalty == 1.0 for row in self._rows):
            return None
        has_token = torch.zeros_like(logits, dtype=torch.bool)
        for place, row in enumerate(self._rows):
            has_token[place, row.token_ids] = True
        return has_token

    def _leave(self, places: list[int]) -> None:
        if not places:
            return
        moves = {to: source for source, to in (self._device_rows or self._cache).leave(places)}
        for place in sorted(places, reverse=True):
            last = self._rows.pop()
            if place in moves:
                self._rows[place] = last
        self._index = None

    def _step_beams(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for row, search in self._beams:
            try:
                search.step()
            except Exception as exc:
                outcomes.append((row, exc))
                continue
            if search.result is not None:
                for token_id in search.result.token_ids:
                    _tell(row, token_id)
                outcomes.append((row, search.result))
        gone = {id(row) for row, _ in outcomes}
        self._beams = [beam for beam in self._beams if id(beam[0]) not in gone]
        return outcomes


def _grow(row: DecodeRow, token_id: int, eos_token_id: int) -> Generated | None:
    """Gives ``row`` its next token; its result where that was the last."""
    if token_id == eos_token_id:
        return Generated(tuple(row.token_ids), "stop")
    row.token_ids.append(token_id)
    _tell(row, token_id)
    if len(row.token_ids) == row.decoding.max_tokens:
        return Generated(tuple(row.token_ids), "length")
    return None


def _tell(row: DecodeRow, token_id: int) -> None:
    if row.on_token is not None:
        row.on_token(token_id)


def _failures(rows: Sequence[DecodeRow], results: Sequence[Exception | None]) -> list[Outcome]:
    return [(row, result) for row, result in zip(rows, results, strict=True) if result is not None]
