"""What the device thread does, step by step: what is short at once, what is long in slices, so that both go on.

Synchronous; owns the model. Threads, futures and admission are the engine's business.

Requests of much work have a lane of their own. While short ones are there, it has a third of the time, a step or a
slice at a time; while there are none, all of it. Encoding, decoding and calls have equal shares, until a short request
of a client that is alone is overdue: then the one goes on that is due first.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Literal

import torch

from adavae.model.adavae import AdaVAE
from adavae.model.gpu.device_kernels import kernels_for
from adavae.model.gpu.device_rows import DeviceRows
from adavae.service.engine.decode_batch import DecodeBatch
from adavae.service.engine.lane import Lane, result_of
from adavae.service.engine.ticket import Ticket
from adavae.service.engine.time_shares import Task, TimeShares
from adavae.service.engine.work import Done, EngineLimits, HouseCall, Work
from adavae.service.metrics import Metrics

SHORT_TOKENS = 512  # to encode: a request that asks for more is a long one
SHORT_ROWS, SHORT_TEXTS_TOKENS = 8, 384  # to decode: likewise, of more rows that are expected to take more tokens
_LONG_SHARE = 0.5  # of the time that short ones take
_SLICE_TOKENS, _ALONE_TOKENS = 256, 1024  # of texts in one step on a CPU, where others could wait for it, or nobody
_CALLS_S = 0.005  # after which no other call is begun in a step
_FILLING_UP = 0.5  # of the rows that may wait
_PRESENT_S = 5.0  # after its last request a client is still taken to be there


Kind = Literal["encode", "decode", "call"]


class Scheduler:
    """What the engine needs for itself, and two lanes of what requests need, of one device thread.

    What is taken from a queue is answered in that step, or runs on; nothing is lost between the two. On a GPU there is
    one lane, for a step takes as long with many rows as with few.
    """

    def __init__(
        self, vae: AdaVAE, limits: EngineLimits, metrics: Metrics, clock: Callable[[], float] = monotonic
    ) -> None:
        self.vae, self.limits, self.metrics, self._clock = vae, limits, metrics, clock
        self.device = vae.backbone.wte.weight.device
        self.kernels = kernels_for(self.device) if self.device.type == "cuda" else None
        self.house_calls: deque[HouseCall] = deque()
        self.long = self._new_lane(limits.decode_rows)
        self.short = self.long if self.kernels is not None else self._new_lane(limits.decode_rows + SHORT_ROWS)
        self._last_seen: dict[str, float] = {}
        self._last_short = -_PRESENT_S
        self._credit_s = self._long_step_s = 0.0
        self._short_shares: TimeShares[Kind] = TimeShares(clock)
        self._long_shares: TimeShares[Kind] = TimeShares(clock)

    def _new_lane(self, max_rows: int) -> Lane:
        batch = self._new_batch(max_rows)
        return Lane(
            self.vae,
            batch,
            self.kernels,
            self.metrics,
            encode_batch_tokens=self.limits.encode_batch_tokens,
            clock=self._clock,
        )

    def _new_batch(self, max_rows: int) -> DecodeBatch:
        max_tokens, device_rows = self.limits.max_tokens, None
        if self.kernels is not None:
            device_rows = DeviceRows(
                self.vae,
                max_rows=max_rows,
                max_tokens=max_tokens,
                kernels=self.kernels,
                has_graphs=self.device.type == "cuda",
            )
        return DecodeBatch(self.vae, max_rows=max_rows, max_tokens=max_tokens, device_rows=device_rows)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return (self.long,) if self.short is self.long else (self.short, self.long)

    @torch.inference_mode()
    def prepare(self) -> None:
        """Does ahead of time what would keep the first requests waiting; on the thread that works."""
        for lane in self.lanes:
            lane.batch.prepare()

    @property
    def num_waiting(self) -> int:
        return sum(lane.num_waiting for lane in self.lanes)

    @property
    def num_decoding(self) -> int:
        return sum(len(lane.batch) for lane in self.lanes)

    def num_waiting_of(self, client: str) -> int:
        """Rows of one client."""
        return sum(lane.num_waiting_of(client) for lane in self.lanes)

    @property
    def has_work(self) -> bool:
        return bool(self.house_calls or any(lane.has_work for lane in self.lanes))

    def accept(self, work: Work) -> None:
        """Puts work into the queue it belongs to."""
        if isinstance(work, HouseCall):
            self.house_calls.append(work)
            return
        now = self._last_seen[work.ticket.client] = self._clock()
        self._last_short = self._last_short if work.ticket.is_long else now
        (self.long if work.ticket.is_long else self.short).put(work)

    def forget(self, ticket: Ticket[Any]) -> None:
        """Takes out what waits of a request that nobody waits for any more."""
        for lane in self.lanes:
            lane.forget(ticket)

    @torch.inference_mode()
    def step(self) -> list[Done]:
        """Encodes a slice of texts, decodes one token a row, runs calls, each where it is due; returns what is done."""
        done = self._run_house_calls()
        for lane in self.lanes:
            lane.batch.drop_abandoned()
        if self.short is self.long:
            done += (
                self.long.call(_CALLS_S)
                + self.long.encode(self.limits.encode_batch_tokens)
                + self._admit(self.long)
                + self.long.decode()
            )
        else:
            done += self._in_two_lanes()
        self.metrics.decode_rows.set(self.num_decoding)
        return done

    def _in_two_lanes(self) -> list[Done]:
        done = self._admit(self.short) + self._admit(self.long)
        tasks = self._tasks(self.short)
        short, took_s = self._short_shares.step(tasks, self._overdue(tasks))
        if not any(task.num_waiting for task in tasks.values()):
            done += self._long_step()
            self._credit_s = 0.0
            return done
        self._credit_s = min(self._credit_s + _LONG_SHARE * took_s, self._long_step_s)
        if self._credit_s >= self._long_step_s:
            short += self._long_step()
        return done + short

    def _tasks(self, lane: Lane) -> dict[Kind, Task]:
        return {
            "encode": Task(len(lane.encoding), self._encode(lane)),
            "decode": Task(len(lane.batch), lane.decode),
            "call": Task(len(lane.calls), partial(lane.call, _CALLS_S)),
        }

    def _overdue(self, tasks: Mapping[Kind, Task]) -> Kind | None:
        """What is due first and overdue, where short requests of several kinds wait and all are one client's.

        Not in a queue that fills up: more are answered, and fewer refused, where short ones keep their share.
        """
        kinds: list[Kind] = [kind for kind, task in tasks.items() if task.num_waiting]
        if len(kinds) < 2 or self._has_others():
            return None
        if self.num_waiting > _FILLING_UP * self.limits.max_queued_rows:
            return None
        due: dict[Kind, float] = {
            "encode": self.short.encoding.first_due,
            "decode": self.short.first_due_of_decoding,
            "call": self.short.calls.first_due,
        }
        first = min(kinds, key=due.__getitem__)
        return first if due[first] <= self._clock() else None

    def _long_step(self) -> list[Done]:
        """The next step of what is long, out of the time that what is short has granted."""
        done, took_s = self._long_shares.step(self._tasks(self.long))
        self._credit_s -= took_s
        if took_s:
            self._long_step_s += 0.3 * (took_s - self._long_step_s)
        return done

    def _encode(self, lane: Lane) -> Callable[[], list[Done]]:
        return partial(lane.encode, _SLICE_TOKENS if self._is_shared() else _ALONE_TOKENS)

    def _is_shared(self) -> bool:
        """Whether somebody is there who would wait for a long step: another client, or one with short requests."""
        return self._has_others() or self._clock() - self._last_short < _PRESENT_S

    def _admit(self, lane: Lane) -> list[Done]:
        if self.house_calls and self.house_calls[0].needs_empty_decode:
            return []
        return lane.admit(SHORT_ROWS if lane is not self.long and self._has_others() else None)

    def _has_others(self) -> bool:
        """Whether more than one client is there."""
        since = self._clock() - _PRESENT_S
        self._last_seen = {client: seen for client, seen in self._last_seen.items() if seen >= since}
        return len(self._last_seen) > 1

    def _run_house_calls(self) -> list[Done]:
        done: list[Done] = []
        while self.house_calls and not (self.house_calls[0].needs_empty_decode and self.num_decoding):
            done.append(result_of(self.house_calls.popleft()))
        return done

    def replace_bank(self, vae: AdaVAE) -> None:
        """Goes on with another bank, while no row is being decoded."""
        self.vae = vae
        for lane in self.lanes:
            lane.vae, lane.batch = vae, self._new_batch(lane.batch.max_rows)
