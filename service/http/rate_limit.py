"""How many requests a client may make in a moving window; counted in this process, by a clock that nobody sets."""

import math
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from adavae.service.errors import ServiceError
from adavae.service.settings import SettingsError

_RULE = re.compile(r"\s*([0-9]{1,9})\s*(?:/|per)\s*([1-9][0-9]{0,5})?\s*([a-z]+?)s?\s*", re.IGNORECASE)
_SEPARATORS = re.compile(r"[,;|]")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "month": 30 * 86400, "year": 360 * 86400}


@dataclass(frozen=True, slots=True)
class _Rule:
    """At most ``amount`` requests within any ``window_s`` seconds."""

    amount: int
    window_s: int


class _Window:
    """When each client made its last requests; of clients that made none for a whole window nothing is kept."""

    def __init__(self, rule: _Rule, clock: Callable[[], float]) -> None:
        self.rule, self._clock = rule, clock
        self._times = OrderedDict[str, deque[float]]()  # by client, the one whose newest is the oldest first

    def __len__(self) -> int:
        return len(self._times)

    def wait_s(self, client_id: str) -> float:
        """Seconds until the client may make another request; 0 where it may now."""
        times = self._recent(client_id)
        if times is None or len(times) < self.rule.amount:
            return 0.0
        return times[0] + self.rule.window_s - self._clock()

    def add(self, client_id: str) -> None:
        """Counts one request, unless the client has had as many as it may."""
        self._forget()
        times = self._recent(client_id)
        if times is None:
            times = self._times[client_id] = deque()
        if len(times) < self.rule.amount:
            times.append(self._clock())
            self._times.move_to_end(client_id)

    def _recent(self, client_id: str) -> deque[float] | None:
        """A client's requests within the window, the oldest first; None where nothing is known of it."""
        times = self._times.get(client_id)
        if times is not None:
            is_over = self._clock() - self.rule.window_s
            while times and times[0] <= is_over:
                times.popleft()
        return times

    def _forget(self) -> None:
        is_over = self._clock() - self.rule.window_s
        while self._times:
            client_id, times = next(iter(self._times.items()))
            if times and times[-1] > is_over:
                return
            del self._times[client_id]


class RateLimit:
    """One rule or several, as ``600/minute`` or ``10/second;600/minute``; an empty text is no limit.

    Used from one event loop.

    Raises:
        SettingsError: The text is not a rule.
    """

    def __init__(
        self,
        rule: str,
        *,
        setting: str = "ADAVAE_RATE_LIMIT",
        code: str = "rate_limited",
        what: str = "requests",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``setting`` is where ``rule`` comes from, ``code`` and ``what`` name it to a client that is over it."""
        self._setting, self._code, self._what = setting, code, what
        self._windows = [_Window(each, clock) for each in _parse(rule, setting)]

    @property
    def num_clients(self) -> int:
        """Of how many something is remembered."""
        return max(map(len, self._windows), default=0)

    def count(self, client_id: str) -> None:
        """Counts one request of a client.

        Raises:
            ServiceError: 429, it has had as many as it may; this one does not count.
        """
        self.check(client_id)
        self.hit(client_id)

    def check(self, client_id: str) -> None:
        """Counts nothing; raises as ``count`` does."""
        for window in self._windows:
            if (wait_s := window.wait_s(client_id)) > 0:
                raise self._exceeded(window.rule, wait_s)

    def hit(self, client_id: str) -> None:
        """Counts one, as long as that is within the limit."""
        for window in self._windows:
            window.add(client_id)

    def _exceeded(self, rule: _Rule, wait_s: float) -> ServiceError:
        allowed = f"{rule.amount} per {rule.window_s} s ({self._setting})"
        whole_s = max(1, math.ceil(wait_s))
        return ServiceError(
            429,
            self._code,
            f"more {self._what} than {allowed}: try again in {whole_s} s",
            retry_after_s=whole_s,
        )


def _parse(rule: str, setting: str) -> list[_Rule]:
    if not rule.strip():
        return []
    try:
        rules = [_parse_one(part) for part in _SEPARATORS.split(rule)]
    except ValueError as exc:
        raise SettingsError(f"{setting} is {rule!r}: write it as '600/minute' or '10/second;600/minute'") from exc
    if any(each.amount < 1 for each in rules):
        raise SettingsError(f"{setting} is {rule!r}: the number must be at least 1; unset it for no limit")
    return rules


def _parse_one(text: str) -> _Rule:
    """``600/minute``, ``10 per second`` or ``5/2 hours``; raises ValueError for what is none of these."""
    found = _RULE.fullmatch(text)
    if found is None or found[3].lower() not in _SECONDS:
        raise ValueError(text)
    return _Rule(int(found[1]), int(found[2] or 1) * _SECONDS[found[3].lower()])
