"""Runs one kind after the other, each on a stage of its own, and judges every try by what it does to the service."""

import contextlib
import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.bench.abuse.bystander import Bystander, p99_ms
from tests.bench.abuse.process_use import MIB
from tests.bench.abuse.stage import Stage, Unexpected, key_of, staged
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import first
from tests.integration.redis_server import RedisServer

NUM_QUIET = 120
_MOST_LOG_BYTES = 64 * 1024  # that a try may add


@dataclass(frozen=True, slots=True)
class Broken:
    """A try that did not hold, and why."""

    name: str
    why: str


@dataclass(slots=True, kw_only=True)
class KindOutcome:
    """What came of one kind.

    Attributes:
        quiet_p99_ms: Of the bystander before it began, on the same server; beside_p99_ms: while it went on.
        base_mib: Resident before it began; peak_mib: the most while it went on.
        load: Of the machine, as it began: processes that wanted a core, over the last minute.
    """

    kind: str
    told: str
    seed: int
    tried: int = 0
    broken: list[Broken] = field(default_factory=list)
    seconds: float = 0.0
    base_mib: float = 0.0
    peak_mib: float = 0.0
    most_mib: int
    quiet_p99_ms: float | None = None
    beside_p99_ms: float | None = None
    bystander_requests: int = 0
    bystander_retries: int = 0
    log_bytes: int = 0
    load: float = 0.0

    @property
    def held(self) -> int:
        return self.tried - len([each for each in self.broken if each.name != _THE_END])

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "held": self.held}


_THE_END = "at the end"


def run_kind(kind: Kind, redis: RedisServer, *, seed: int, num_tries: int) -> KindOutcome:
    """All tries of one kind; the server of this one is gone when it returns."""
    began_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="abuse-") as directory,
        staged(Path(directory), redis, **kind.settings) as stage,
    ):
        outcome = tried_on(stage, kind, seed=seed, num_tries=num_tries)
        why = stage.end()
        outcome.broken += [Broken(_THE_END, why)] if why else []
    outcome.seconds = round(time.monotonic() - began_s, 1)
    return outcome


def tried_on(stage: Stage, kind: Kind, *, seed: int, num_tries: int, num_quiet: int = NUM_QUIET) -> KindOutcome:
    """Tries of one kind on a stage that is there."""
    outcome = KindOutcome(kind=kind.name, told=kind.told, seed=seed, most_mib=kind.most_mib, load=os.getloadavg()[0])
    draw = random.Random(f"{kind.name} {seed}")
    with bystander_beside(stage, kind, outcome, num_quiet) as bystander, closing(kind.tries(stage, draw)) as tries:
        judge = Judge(stage, bystander, outcome)
        for each in itertools.islice(tries, num_tries):
            judge.carry_out(each)
    return outcome


class Judge:
    """Carries out tries and says which held."""

    def __init__(self, stage: Stage, bystander: Bystander, outcome: KindOutcome) -> None:
        self._stage, self._bystander, self._outcome = stage, bystander, outcome
        self._base_bytes = stage.use.forget_peak()
        outcome.base_mib = round(self._base_bytes / MIB, 1)
        stage.news_of_log()

    def carry_out(self, each: Try) -> None:
        self._outcome.tried += 1
        num_answered = len(self._bystander.answered)
        why = first(_carried_out(each), self._stage.problem(), self._problem_of_log(), self._problem_of_memory())
        self._bystander.wait_for_an_answer(num_answered)
        for answered in self._bystander.answered[num_answered:]:
            why = why or (f"the bystander: {answered.problem}" if answered.problem else None)
        if why is not None:
            self._outcome.broken.append(Broken(each.name, why))

    def _problem_of_log(self) -> str | None:
        lines = self._stage.news_of_log()
        num_bytes = sum(map(len, lines))
        self._outcome.log_bytes += num_bytes
        traceback = next((line for line in lines if "Traceback" in line), None)
        if traceback is not None:
            return f"in the log: {traceback[-1500:]}"
        return f"{num_bytes} bytes of log in {len(lines)} lines" if num_bytes > _MOST_LOG_BYTES else None

    def _problem_of_memory(self) -> str | None:
        if self._stage.server.process.poll() is not None:
            return None
        peak = self._stage.use.peak_bytes()
        self._outcome.peak_mib = max(self._outcome.peak_mib, round(peak / MIB, 1))
        grown = (peak - self._base_bytes) // MIB
        if grown <= self._outcome.most_mib:
            return None
        self._stage.use.forget_peak()  # the next try is judged by itself
        return f"memory grew by {grown} MiB, the limit is {self._outcome.most_mib}"


def _carried_out(each: Try) -> str | None:
    try:
        return each.act()
    except (httpx2.TransportError, OSError, Unexpected) as exc:
        return f"{type(exc).__name__}: {exc}"


@contextlib.contextmanager
def bystander_beside(stage: Stage, kind: Kind, outcome: KindOutcome, num_quiet: int) -> Iterator[Bystander]:
    """Measured quiet first, then at work until this is left; notes what it found."""
    bystander = Bystander(stage.url, key_of("bystander"))
    try:
        bystander.quiet(num_quiet // 4)  # warms up
        outcome.quiet_p99_ms = p99_ms(bystander.quiet(num_quiet))
        if kind.is_bystander_beside:
            bystander.start()
        yield bystander
    finally:
        bystander.close()
    outcome.beside_p99_ms = p99_ms([answered.seconds for answered in bystander.answered])
    outcome.bystander_requests = len(bystander.answered)
    outcome.bystander_retries = sum(answered.num_retries for answered in bystander.answered)
