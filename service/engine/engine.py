"""The engine: sole owner of the model and of the one thread that touches the device.

    encode, decode, classify  ->  bounded queue  ->  device thread: step after step  ->  the request's future

Nothing here waits for a batch to fill: a step takes what is queued. If the device thread dies, every waiting request
is answered with EngineStopped at once and a new thread starts; a row that cannot be computed fails alone.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from time import monotonic, time_ns
from typing import Any, TypeVar

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from opentelemetry.trace import Tracer

from adavae.model.adavae import AdaVAE
from adavae.model.config import AdapterConfig
from adavae.model.decoding.decoding import Decoding
from adavae.model.decoding.step_decoder import Generated
from adavae.model.likelihood import nats_per_token
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.service.caller import CALLER, SINCE
from adavae.service.engine.bank_loader import DEFAULT_BANK_BYTES, BankLoader
from adavae.service.engine.compute_threads import available_threads, use_threads
from adavae.service.engine.decode_batch import DecodeRow
from adavae.service.engine.micro_batch import cut
from adavae.service.engine.reservation import Reservation
from adavae.service.engine.scheduler import SHORT_ROWS, SHORT_TEXTS_TOKENS, SHORT_TOKENS, Scheduler
from adavae.service.engine.text_lengths import TextLengths
from adavae.service.engine.ticket import Ticket, due_at
from adavae.service.engine.work import Call, Done, EncodedRow, EncodeRow, EngineLimits, HouseCall, Work
from adavae.service.errors import DeadlineExceeded, EngineStopped, Overloaded
from adavae.service.metrics import Metrics
from adavae.service.tracing import record, tracer_of

Result = TypeVar("Result")
OnToken = Callable[[int, int], None]

_RESTART_DELAYS_S = (0.1, 0.5, 1.0, 2.0, 5.0)
_STALLED_S = 60.0
_QUEUES = 4  # clients that may each fill their queue before no more is taken of anybody
_log = structlog.get_logger("adavae.engine")


class EngineState(StrEnum):
    STOPPED = "stopped"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"


class Engine:
    """Encodes, decodes and classifies rows of many requests and adapter sets; used from one event loop."""

    def __init__(
        self,
        pretrained: PretrainedBackbone,
        configs: Iterable[AdapterConfig],
        *,
        num_slots: int,
        limits: EngineLimits,
        metrics: Metrics,
        max_bank_bytes: int = DEFAULT_BANK_BYTES,
        tracer: Tracer | None = None,
    ) -> None:
        """Builds the bank with room for ``configs``, within its bytes; it is rebuilt where others are loaded."""
        self.pretrained, self.limits, self.metrics = pretrained, limits, metrics
        self._tracer = tracer if tracer is not None else tracer_of(None)
        self._lengths = TextLengths()
        self.bank = BankLoader(
            pretrained,
            configs,
            num_slots=num_slots,
            max_bytes=max_bank_bytes,
            between_steps=self.between_steps,
            replace_bank=self._replace_bank,
            on_load=self._lengths.forget,
        )
        self.state = EngineState.STOPPED
        self._scheduler = Scheduler(self.vae, limits, metrics)
        self._inbox: deque[Work] = deque()
        self._given_up: list[Ticket[Any]] = []  # whose rows the device thread is to forget
        self._wake = threading.Condition()
        self._tickets: set[Ticket[Any]] = set()
        self._reservations: set[Reservation] = set()
        self._num_deaths_in_a_row = 0
        self._step_began: float | None = None
        self._rows_per_s = 100.0
        self._thread: threading.Thread | None = None
        self._stopped = asyncio.Event()

    @property
    def vae(self) -> AdaVAE:
        """What computes now: the bank beneath it may be replaced between two steps."""
        return self.bank.vae

    @property
    def num_waiting(self) -> int:
        """Rows that no step has taken up yet."""
        return len(self._inbox) + self._scheduler.num_waiting

    @property
    def not_ready_reason(self) -> str | None:
        """Why nothing can be computed right now, or None."""
        if self.state is not EngineState.RUNNING:
            return f"the engine is {self.state}"
        if self._thread is None or not self._thread.is_alive():
            return "the engine's device thread is dead"
        began = self._step_began
        if began is not None and monotonic() - began > _STALLED_S:
            return f"the engine's device thread has been in one step for more than {_STALLED_S:g} s"
        return None

    async def start(self) -> None:
        """Starts the device thread."""
        self._loop = asyncio.get_running_loop()
        self._start_thread()

    def _start_thread(self) -> None:
        self.state = EngineState.RUNNING
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, args=(self._scheduler,), name="adavae-device", daemon=True)
        self._thread.start()

    async def stop(self, timeout_s: float = 30.0) -> None:
        """Finishes what is queued and running, within ``timeout_s``, and ends the thread."""
        if self.state in (EngineState.STOPPED, EngineState.STOPPING):
            return
        was_running = self.state is EngineState.RUNNING
        with self._wake:
            self.state = EngineState.STOPPING
            self._wake.notify()
        if was_running:
            try:
                await asyncio.wait_for(self._stopped.wait(), timeout_s)
            except TimeoutError:
                _log.warning("rows given up at shutdown", num_rows=len(self._tickets))
        self._fail_all(EngineStopped("the server is shutting down: try another one"))
        self.state = EngineState.STOPPED

    async def encode(
        self,
        rows: Sequence[Sequence[int]],
        slots: Sequence[int],
        *,
        deadline_s: float,
        reservation: Reservation | None = None,
    ) -> list[EncodedRow]:
        """Posterior of each row.

        Args:
            rows: Token ids of each text, none empty.
            slots: Adapter set of each row.
            deadline_s: After which the request is given up.
            reservation: Of a request that was admitted before; None, or more rows than it has open, ask for room now.

        Raises:
            Overloaded: The queue is full; nothing was queued.
            EngineStopped: The device thread is not running, or died on the way.
            DeadlineExceeded: Too late; the rows are freed.
        """
        self._check_part(len(rows), reservation)
        num_tokens = sum(map(len, rows))
        ticket: Ticket[EncodedRow] = self._ticket(len(rows), num_tokens, is_long=num_tokens > SHORT_TOKENS)
        if reservation is not None:
            reservation.encode(ticket)
        work = [EncodeRow(ticket, number, row, slots[number]) for number, row in enumerate(rows)]
        return await self._result(ticket, work, deadline_s, "encode")

    async def decode(
        self,
        z: NDArray[np.float32],
        slot: int,
        decodings: Sequence[Decoding],
        *,
        deadline_s: float,
        on_token: OnToken | None = None,
        reservation: Reservation | None = None,
    ) -> list[Generated]:
        """A text for each row of ``z``, (N, Z); raises as ``encode`` does.

        Args:
            z: Latent vectors, finite, of the adapter set's size.
            slot: Their adapter set.
            decodings: One a row.
            deadline_s: After which the request is given up.
            on_token: Called with row and token id for every token, on the event loop.
            reservation: As for ``encode``; these rows take up as much of it as they are.
        """
        self._check_part(len(z), reservation)
        expected = [self._lengths.expected(slot, decoding) for decoding in decodings]
        num_tokens = sum(expected)
        is_long = len(z) > SHORT_ROWS and num_tokens > SHORT_TEXTS_TOKENS
        ticket: Ticket[Generated] = self._ticket(len(z), num_tokens, is_long=is_long)
        if reservation is not None:
            reservation.decode(ticket, len(z))
        latents = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32))
        work = [
            DecodeRow(ticket, row, latents[row], slot, decodings[row], self._teller(on_token, row), expected[row])
            for row in range(len(z))
        ]
        generated = await self._result(ticket, work, deadline_s, "decode")
        for row in generated:
            self._lengths.learn(slot, len(row.token_ids), is_whole=row.finish_reason == "stop")
        return generated

    async def classify(self, mu: NDArray[np.float32], slot: int, *, deadline_s: float) -> NDArray[np.float32]:
        """Label probabilities, (N, labels), from mu, (N, Z); raises as ``encode`` does."""
        values = torch.from_numpy(np.ascontiguousarray(mu, dtype=np.float32))
        return await self.on_device(lambda: self._label_probabilities(values, slot), deadline_s, num_rows=len(values))

    def _label_probabilities(self, mu: torch.Tensor, slot: int) -> NDArray[np.float32]:
        wide = self.vae.widened(mu)
        logits = self.vae.classify(wide, AdapterIndex.of([slot] * len(mu), wide.device))
        labels = self.vae.bank.config_of(slot).labels
        probabilities: NDArray[np.float32] = logits[:, : len(labels)].float().softmax(-1).cpu().numpy()
        return probabilities

    async def score(self, rows: Sequence[Sequence[int]], *, deadline_s: float) -> NDArray[np.float32]:
        """Nats per token of each text, (N,), by the bare backbone; raises as ``encode`` does.

        Args:
            rows: Token ids of each text, shorter than the context.
            deadline_s: After which a micro-batch is given up; other requests' steps run between two of them.
        """
        nats = np.empty(len(rows), np.float32)
        most = self.limits.encode_batch_tokens
        if self._scheduler.kernels is None:
            most = min(most, SHORT_TOKENS)
        for numbers in cut([len(row) for row in rows], most):
            chosen = [rows[number] for number in numbers]
            scored = partial(nats_per_token, self.pretrained.backbone, chosen)
            nats[numbers] = (await self.on_device(scored, deadline_s, num_rows=len(chosen), is_long=True)).numpy()
        return nats

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        """Puts an adapter set into a slot that no row uses, as ``BankLoader.load`` does."""
        await self.bank.load(slot, adapter_set)

    def _replace_bank(self, vae: AdaVAE) -> None:
        self._scheduler.replace_bank(vae)

    def _teller(self, on_token: OnToken | None, number: int) -> Callable[[int], None] | None:
        if on_token is None:
            return None
        loop = self._loop
        return lambda token_id: _threadsafe(loop, on_token, number, token_id)

    async def on_device(
        self, run: Callable[[], Result], deadline_s: float, *, num_rows: int = 1, is_long: bool = False
    ) -> Result:
        """What ``run`` returns on the device thread, in its client's turn; raises as it does, or as ``encode``.

        Args:
            run: Short, a few milliseconds, or about as long as a step.
            deadline_s: After which it is given up.
            num_rows: It is about.
            is_long: It is part of a request of much work: what is short goes before it.
        """
        ticket: Ticket[Result] = self._ticket(1, SHORT_TOKENS if is_long else 0, is_long=is_long)
        return (await self._result(ticket, [Call(ticket, run, num_rows)], deadline_s))[0]

    async def between_steps(
        self, run: Callable[[], Result], deadline_s: float, *, needs_empty_decode: bool = False
    ) -> Result:
        """What ``run`` returns on the device thread, before its next step, and in the order that these come.

        For the engine's own needs: what is for a request takes its turn (``on_device``). Raises as that does.
        """
        ticket: Ticket[Result] = self._ticket(1)
        return (await self._result(ticket, [HouseCall(ticket, run, needs_empty_decode)], deadline_s))[0]

    @contextmanager
    def reserved(self, num_rows: int, at_once: int = 0) -> Iterator[Reservation]:
        """Admits rows that follow later in a request, so that it is refused before its first part is computed.

        Args:
            num_rows: That are decoded, each once, or encoded.
            at_once: The largest part of any rows that may come besides; no more than the limit is kept for it, and
                what is larger has to be cut (``Reservation.parts``).

        Raises:
            Overloaded: The queue is full.
            EngineStopped: The device thread is not running.
        """
        at_once = min(at_once, self.limits.max_queued_rows)
        self.check_room(max(num_rows, at_once))
        reservation = Reservation(CALLER.get(), num_rows, at_once)
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.discard(reservation)
            reservation.end()

    def _check_part(self, num_rows: int, reservation: Reservation | None) -> None:
        """As ``check_room``, for what of the rows is not promised."""
        num_open = 0 if reservation is None else reservation.num_open
        if num_rows > num_open:
            self.check_room(num_rows - num_open)

    def _ticket(self, num_rows: int, num_tokens: float = 0, *, is_long: bool = False) -> Ticket[Any]:
        self._check_ready()
        came = SINCE.get()
        due = due_at(monotonic() if came is None else came, num_tokens)
        return Ticket(num_rows, client=CALLER.get(), due=due, is_long=is_long)

    def _check_ready(self) -> None:
        reason = self.not_ready_reason
        if reason is not None:
            raise EngineStopped(f"{reason}: try again in a moment")

    def check_room(self, num_rows: int) -> None:
        """Refuses a request of so many rows before anything is done for it.

        Raises:
            Overloaded: The queue is full.
            EngineStopped: The device thread is not running.
        """
        self._check_ready()
        client, limit = CALLER.get(), self.limits.max_queued_rows
        promised = [(each.client, each.num_open) for each in self._reservations]
        of_client = sum(num_open for whose, num_open in promised if whose == client)
        of_all = sum(num_open for _, num_open in promised)
        for waiting, most in (
            (self._num_waiting_of(client) + of_client, limit),
            (self.num_waiting + of_all, _QUEUES * limit),
        ):
            if waiting + num_rows > most:
                raise Overloaded(
                    f"{waiting} rows are waiting and the request has {num_rows}; the queue takes {most} "
                    "(ADAVAE_MAX_QUEUED_ROWS): try again later, or with fewer rows",
                    retry_after_s=min(30, 1 + int(waiting / self._rows_per_s)),
                )

    def _num_waiting_of(self, client: str) -> int:
        with self._wake:
            num_arriving = sum(work.ticket.client == client for work in self._inbox)
        return num_arriving + self._scheduler.num_waiting_of(client)

    async def _result(
        self, ticket: Ticket[Result], work: Sequence[Work], deadline_s: float, traced_as: str = ""
    ) -> list[Result]:
        if not work:
            return []
        queued_ns, is_done = time_ns(), False
        self._tickets.add(ticket)
        with self._wake:
            self._inbox.extend(work)
            self._wake.notify()
        self.metrics.queue_rows.set(self.num_waiting)
        began = monotonic()
        try:
            async with asyncio.timeout(deadline_s):
                results = await ticket.future
            is_done = True
        except TimeoutError:
            raise DeadlineExceeded(deadline_s) from None
        finally:
            self._tickets.discard(ticket)
            self._give_up(ticket, has_rows=not is_done)
            self.metrics.queue_rows.set(self.num_waiting)
            if traced_as:
                self._trace(traced_as, ticket.began_ns, queued_ns, len(work), has_failed=not is_done)
        self._rows_per_s += 0.1 * (len(work) / max(1e-3, monotonic() - began) - self._rows_per_s)
        return results

    def _give_up(self, ticket: Ticket[Any], *, has_rows: bool) -> None:
        """``has_rows`` says whether some of them may still wait."""
        ticket.is_abandoned = True
        if has_rows:
            with self._wake:
                self._given_up.append(ticket)

    def _trace(self, name: str, began_ns: int, queued_ns: int, num_rows: int, *, has_failed: bool) -> None:
        """How long rows waited, and how long they were computed; ``began_ns`` is 0 where they never were."""
        ended_ns, rows = time_ns(), {"adavae.rows": num_rows}
        record(self._tracer, "queue", queued_ns, began_ns or ended_ns, rows, has_failed=not began_ns)
        if began_ns:
            record(self._tracer, name, began_ns, ended_ns, rows, has_failed=has_failed)

    def _run(self, scheduler: Scheduler) -> None:
        """The device thread."""
        use_threads(self.limits.threads or available_threads())
        try:
            scheduler.prepare()
            while self._take_inbox(scheduler):
                self._step_began = monotonic()
                done = scheduler.step()
                self._step_began = None
                self.metrics.queue_rows.set(self.num_waiting)
                if done:
                    _threadsafe(self._loop, self._deliver, done)
        except BaseException as exc:
            _threadsafe(self._loop, self._on_death, exc)
        else:
            _threadsafe(self._loop, self._stopped.set)

    def _take_inbox(self, scheduler: Scheduler) -> bool:
        """Moves what has come in to ``scheduler``, waiting while there is nothing; False at the end."""
        with self._wake:
            while not self._inbox and not scheduler.has_work:
                if self.state is EngineState.STOPPING:
                    return False
                self._wake.wait()
            while self._inbox:
                scheduler.accept(self._inbox.popleft())
            while self._given_up:
                scheduler.forget(self._given_up.pop())
        return True

    def _deliver(self, done: list[Done]) -> None:
        self._num_deaths_in_a_row = 0
        for ticket, number, result in done:
            ticket.put(number, result)

    def _on_death(self, error: BaseException) -> None:
        """On the event loop, right after the device thread died."""
        self._step_began = None
        is_stopping = self.state is EngineState.STOPPING
        self.state = EngineState.STOPPED if is_stopping else EngineState.RESTARTING
        _log.error("device thread died", error=repr(error), exc_info=error)
        with self._wake:
            self._inbox.clear()
            self._given_up.clear()
        for gauge in (self.metrics.queue_rows, self.metrics.decode_rows):
            gauge.set(0)
        self._fail_all(EngineStopped("the engine failed while it worked on this request and starts again: try again"))
        if is_stopping:
            self._stopped.set()
            return
        delay_s = _RESTART_DELAYS_S[min(self._num_deaths_in_a_row, len(_RESTART_DELAYS_S) - 1)]
        self._num_deaths_in_a_row += 1
        self._loop.call_later(delay_s, self._restart)

    def _restart(self) -> None:
        if self.state is not EngineState.RESTARTING:
            return
        self.metrics.engine_restarts_total.inc()
        self._scheduler = Scheduler(self.vae, self.limits, self.metrics)
        self._start_thread()
        _log.info("device thread started again")

    def _fail_all(self, error: EngineStopped) -> None:
        for ticket in list(self._tickets):
            ticket.fail(error)


def _threadsafe(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    """Calls ``function`` on the event loop; a loop that has closed already has nobody left to tell."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
