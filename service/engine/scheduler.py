"""What the device thread does, step by step: what is short, the oldest texts to encode, one token for every row.

Synchronous; owns the model. Threads, futures and admission are the engine's business.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adavae.model.adavae import AdaVAE, pad
from adavae.model.errors import AdaVAEError
from adavae.model.gpu.device_kernels import kernels_for
from adavae.model.gpu.device_rows import DeviceRows
from adavae.model.gpu.packed_encoder import encode_packed
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from adavae.service.engine.decode_batch import DecodeBatch, DecodeRow, Outcome
from adavae.service.engine.micro_batch import cut, run_bisecting
from adavae.service.engine.ticket import Ticket
from adavae.service.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Sizes of the engine.

    Attributes:
        encode_batch_tokens: Of one micro-batch, padding included.
        decode_rows: Decoded side by side.
        max_tokens: A decoded text's longest.
        max_queued_rows: That may wait.
        threads: CPU threads that share an operation; None for as many as torch takes.
    """

    encode_batch_tokens: int = 4096
    decode_rows: int = 64
    max_tokens: int = 128
    max_queued_rows: int = 2048
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """Posterior of one row, each (Z,), float32."""

    mu: NDArray[np.float32]
    logvar: NDArray[np.float32]


@dataclass(eq=False, slots=True)
class EncodeRow:
    """One text to be encoded."""

    ticket: Ticket[EncodedRow]
    number: int
    token_ids: Sequence[int]
    slot: int
    since: float = field(default_factory=monotonic)


@dataclass(eq=False, slots=True)
class Call:
    """Something short to be done on the device thread between two steps.

    Attributes:
        needs_empty_decode: It waits until no row is being decoded; none is admitted meanwhile.
    """

    ticket: Ticket[Any]
    run: Callable[[], Any]
    needs_empty_decode: bool = False


Work = EncodeRow | DecodeRow | Call
Done = tuple[Ticket[Any], int, Any]


class Scheduler:
    """Three queues (calls, rows to encode, rows to decode) and the rows that are running, of one device thread.

    What is taken from a queue is answered in that step, or runs on; nothing is lost between the two.
    """

    def __init__(self, vae: AdaVAE, limits: EngineLimits, metrics: Metrics) -> None:
        self.vae, self.limits, self.metrics = vae, limits, metrics
        self.device = vae.backbone.wte.weight.device
        self.encoding: deque[EncodeRow] = deque()
        self.decoding: deque[DecodeRow] = deque()
        self.calls: deque[Call] = deque()
        self.kernels = kernels_for(self.device) if self.device.type == "cuda" else None
        self.batch = self._new_batch()

    def _new_batch(self) -> DecodeBatch:
        max_rows, max_tokens, device_rows = self.limits.decode_rows, self.limits.max_tokens, None
        if self.kernels is not None:
            device_rows = DeviceRows(
                self.vae,
                max_rows=max_rows,
                max_tokens=max_tokens,
                kernels=self.kernels,
                has_graphs=self.device.type == "cuda",
            )
        return DecodeBatch(self.vae, max_rows=max_rows, max_tokens=max_tokens, device_rows=device_rows)

    @torch.inference_mode()
    def prepare(self) -> None:
        """What shall not keep the first requests waiting; on the thread that works."""
        self.batch.prepare()

    @property
    def num_waiting(self) -> int:
        return len(self.encoding) + len(self.decoding)

    @property
    def has_work(self) -> bool:
        return bool(self.encoding or self.decoding or self.calls or len(self.batch))

    def accept(self, work: Work) -> None:
        """Puts work into the queue it belongs to."""
        match work:
            case EncodeRow():
                self.encoding.append(work)
            case DecodeRow():
                self.decoding.append(work)
            case Call():
                self.calls.append(work)

    @torch.inference_mode()
    def step(self) -> list[Done]:
        """Calls, about one micro-batch of texts, one token for every running row; returns what is done."""
        done = self._run_calls()
        done += self._encode()
        self.batch.drop_abandoned()
        done += self._admit()
        done += self._decode()
        return done

    def _run_calls(self) -> list[Done]:
        done: list[Done] = []
        while self.calls and not (self.calls[0].needs_empty_decode and len(self.batch)):
            call = self.calls.popleft()
            try:
                done.append((call.ticket, 0, call.run()))
            except Exception as exc:
                done.append((call.ticket, 0, exc))
        return done

    def replace_bank(self, vae: AdaVAE) -> None:
        """Goes on with another bank; no row may be being decoded."""
        self.vae = vae
        self.batch = self._new_batch()

    def _encode(self) -> list[Done]:
        """The oldest rows that fill one micro-batch; what does not fit the lengths beside it goes in the next."""
        rows = self._oldest()
        if not rows:
            return []
        done: list[Done] = []
        for numbers in self._cut(rows):
            chosen = [rows[number] for number in numbers]
            self._measure(chosen)
            results = run_bisecting(chosen, self._encode_rows)
            done += [(row.ticket, row.number, result) for row, result in zip(chosen, results, strict=True)]
        return done

    def _cut(self, rows: Sequence[EncodeRow]) -> Sequence[Sequence[int]]:
        """Row numbers of each micro-batch; texts that are packed need no like lengths beside them."""
        if self.kernels is not None:
            return [range(len(rows))]
        return cut([len(row.token_ids) for row in rows], self.limits.encode_batch_tokens)

    def _oldest(self) -> list[EncodeRow]:
        rows: list[EncodeRow] = []
        num_tokens = 0
        while self.encoding and (not rows or num_tokens < self.limits.encode_batch_tokens):
            row = self.encoding.popleft()
            if not row.ticket.is_abandoned:
                rows.append(row)
                num_tokens += len(row.token_ids)
        return rows

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
        if self.kernels is not None and not self.vae.bank.has_encoder_prefix(AdapterIndex.of(slots)):
            return encode_packed(self.vae, self.kernels, rows, slots)
        token_ids, mask = pad(rows, self.vae.eos_token_id, self.device)
        return self.vae.encode(token_ids, mask, AdapterIndex.of(slots, self.device))

    def _admit(self) -> list[Done]:
        if self.calls and self.calls[0].needs_empty_decode:
            return []
        rows: list[DecodeRow] = []
        failed: list[Outcome] = []
        while self.decoding and len(self.batch) + len(rows) < self.limits.decode_rows:
            if not self.batch.has_room_for(self.decoding[0]):
                break
            row = self.decoding.popleft()
            if row.ticket.is_abandoned:
                continue
            if row.is_beam:  # takes its first step at once: one after the other
                failed += self.batch.join([row])
            else:
                rows.append(row)
        failed += self.batch.join(rows)
        return [(row.ticket, row.number, error) for row, error in failed]

    def _decode(self) -> list[Done]:
        num_rows = len(self.batch)
        if num_rows == 0:
            return []
        self.metrics.decode_steps_total.inc()
        self.metrics.decode_tokens_total.inc(num_rows)
        self.metrics.decode_rows.set(num_rows)
        outcomes = self.batch.step()
        self.metrics.decode_rows.set(len(self.batch))
        return [(row.ticket, row.number, result) for row, result in outcomes]


def _numbers(x: Tensor) -> NDArray[np.float32]:
    """(B, Z) as float32 on the host; a row that is not finite is a fault of the model, and said so."""
    if not bool(torch.isfinite(x).all()):
        raise AdaVAEError("the encoder's output is not finite: train the adapter set again")
    values: NDArray[np.float32] = x.float().cpu().numpy()
    return values
