"""Work on its way: texts that wait to be encoded, latents that wait to be decoded or are being decoded, and calls.

Synchronous; which lane does what next is the scheduler's business.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adavae.model.adavae import AdaVAE, pad
from adavae.model.errors import AdaVAEError
from adavae.model.gpu.kernels import Kernels
from adavae.model.gpu.packed_encoder import can_be_packed, encode_packed
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from adavae.service.engine.decode_batch import DecodeBatch, DecodeRow, Outcome
from adavae.service.engine.fair_queue import FairQueue
from adavae.service.engine.micro_batch import cut, run_bisecting
from adavae.service.engine.ticket import Ticket
from adavae.service.engine.work import Call, Done, EncodedRow, EncodeRow, HouseCall, RequestWork
from adavae.service.metrics import Metrics


class Lane:
    """Queues and a batch, in which turns are taken by client and by request."""

    def __init__(
        self,
        vae: AdaVAE,
        batch: DecodeBatch,
        kernels: Kernels | None,
        metrics: Metrics,
        *,
        encode_batch_tokens: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``kernels`` are those of a GPU, on which a whole micro-batch is a short step; None on a CPU."""
        self.vae, self.batch, self.kernels, self.metrics = vae, batch, kernels, metrics
        self.device = vae.backbone.wte.weight.device
        self.encoding: FairQueue[EncodeRow] = FairQueue(lambda row: len(row.token_ids))
        self.decoding: FairQueue[DecodeRow] = FairQueue(lambda row: row.work)
        self.beaming: FairQueue[DecodeRow] = FairQueue(lambda row: row.work)
        self.calls: FairQueue[Call] = FairQueue(lambda call: call.num_rows)
        self._encode_batch_tokens, self._clock = encode_batch_tokens, clock

    @property
    def _queues(self) -> tuple[FairQueue[EncodeRow], FairQueue[DecodeRow], FairQueue[DecodeRow]]:
        return self.encoding, self.decoding, self.beaming

    @property
    def num_waiting(self) -> int:
        """Rows to be encoded or decoded."""
        return sum(len(queue) for queue in self._queues)

    @property
    def has_work(self) -> bool:
        return bool(self.num_waiting or len(self.batch) or len(self.calls))

    def num_waiting_of(self, client: str) -> int:
        """Rows of one client."""
        return sum(queue.num_of(client) for queue in self._queues)

    @property
    def first_due_of_decoding(self) -> float:
        """When the first request is due of those being decoded or waiting for it; infinite where there is none."""
        running = min((row.ticket.due for row in self.batch.rows), default=math.inf)
        return min(running, self.decoding.first_due, self.beaming.first_due)

    def put(self, work: RequestWork) -> None:
        """Puts a row or a call into the queue that it belongs to."""
        match work:
            case EncodeRow():
                self.encoding.put(work)
            case DecodeRow():
                (self.beaming if work.is_beam else self.decoding).put(work)
            case Call():
                self.calls.put(work)

    def forget(self, ticket: Ticket[Any]) -> None:
        """Takes what is a request's out of the queues."""
        for queue in (*self._queues, self.calls):
            queue.forget(ticket)

    def call(self, max_s: float) -> list[Done]:
        """The next calls, none begun after ``max_s`` seconds; at least one, if any waits."""
        done: list[Done] = []
        ends = self._clock() + max_s
        while (not done or self._clock() < ends) and (call := self.calls.take()) is not None:
            if not call.ticket.is_abandoned:
                done.append(result_of(call))
        return done

    def encode(self, max_tokens: int) -> list[Done]:
        """The next rows that fill ``max_tokens``; what does not fit the lengths beside it goes by itself."""
        rows = self._next_to_encode(max_tokens)
        done: list[Done] = []
        for numbers in self._cut(rows):
            chosen = [rows[number] for number in numbers]
            self._measure(chosen)
            results = run_bisecting(chosen, self._encode_rows)
            done += [(row.ticket, row.number, result) for row, result in zip(chosen, results, strict=True)]
        return done

    def _next_to_encode(self, max_tokens: int) -> list[EncodeRow]:
        rows: list[EncodeRow] = []
        num_tokens, limit = 0, min(max_tokens, self._encode_batch_tokens)
        while (not rows or num_tokens < limit) and (row := self.encoding.take()) is not None:
            if not row.ticket.is_abandoned:
                row.ticket.begin()
                rows.append(row)
                num_tokens += len(row.token_ids)
        return rows

    def _cut(self, rows: Sequence[EncodeRow]) -> Sequence[Sequence[int]]:
        """Row numbers of each micro-batch; texts that are packed need no like lengths beside them."""
        if self.kernels is not None:
            return [range(len(rows))] if rows else []
        return cut([len(row.token_ids) for row in rows], self._encode_batch_tokens)

    def _measure(self, rows: Sequence[EncodeRow]) -> None:
        self.metrics.encode_batch_rows.observe(len(rows))
        self.metrics.encode_batch_tokens.observe(sum(len(row.token_ids) for row in rows))
        now = monotonic()
        for row in rows:
            self.metrics.queue_wait_seconds.observe(now - row.since)

    def _encode_rows(self, rows: Sequence[EncodeRow]) -> list[EncodedRow]:
        posterior = self._posterior([row.token_ids for row in rows], [row.slot for row in rows])
        mu, logvar = _numbers(posterior.mu), _numbers(posterior.logvar)
        sizes = [self.vae.bank.config_of(row.slot).latent_size for row in rows]
        return [EncodedRow(mu[row, :Z].copy(), logvar[row, :Z].copy()) for row, Z in enumerate(sizes)]

    def _posterior(self, rows: Sequence[Sequence[int]], slots: Sequence[int]) -> Posterior:
        if self.kernels is not None and can_be_packed(self.vae.bank, slots):
            return encode_packed(self.vae, self.kernels, rows, slots)
        token_ids, mask = pad(rows, self.vae.eos_token_id, self.device)
        return self.vae.encode(token_ids, mask, AdapterIndex.of(slots, self.device))

    def admit(self, most_of_a_client: int | None) -> list[Done]:
        """Lets rows begin, as many as there are places for and, where that is limited, as one client may have."""
        running = Counter(row.ticket.client for row in self.batch.rows)

        def may(client: str) -> bool:
            return most_of_a_client is None or running[client] < most_of_a_client

        failed = self._join(self.decoding, may, running)
        # A beam row takes its first step at once: one after the other.
        failed += self._join(self.beaming, may, running)
        return [(row.ticket, row.number, error) for row, error in failed]

    def _join(self, queue: FairQueue[DecodeRow], may: Callable[[str], bool], running: Counter[str]) -> list[Outcome]:
        rows: list[DecodeRow] = []
        failed: list[Outcome] = []
        while self.batch.num_free(is_beam=queue is self.beaming) > len(rows) and (row := queue.take(may)) is not None:
            if row.ticket.is_abandoned:
                continue
            row.ticket.begin()
            running[row.ticket.client] += 1
            if row.is_beam:
                failed += self.batch.join([row])
            else:
                rows.append(row)
        return failed + self.batch.join(rows)

    def decode(self) -> list[Done]:
        """One token for every row that is being decoded."""
        num_rows = len(self.batch)
        if num_rows == 0:
            return []
        self.metrics.decode_steps_total.inc()
        self.metrics.decode_tokens_total.inc(num_rows)
        return [(row.ticket, row.number, result) for row, result in self.batch.step()]


def result_of(call: Call | HouseCall) -> Done:
    """What comes of a call, be it an error."""
    try:
        return call.ticket, 0, call.run()
    except Exception as exc:
        return call.ticket, 0, exc


def _numbers(x: Tensor) -> NDArray[np.float32]:
    """(B, Z) as float32 on the host; a row that is not finite is a fault of the model, and said so."""
    if not bool(torch.isfinite(x).all()):
        raise AdaVAEError("the encoder's output is not finite: train the adapter set again")
    values: NDArray[np.float32] = x.float().cpu().numpy()
    return values
