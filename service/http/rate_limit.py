"""How many requests a client may make in a moving window; counted in this process."""

import math
import time

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from adavae.service.errors import ServiceError
from adavae.service.settings import SettingsError


class RateLimit:
    """One rule or several, as ``600/minute`` or ``10/second;600/minute``; an empty text is no limit.

    Raises:
        SettingsError: The text is not a rule.
    """

    def __init__(
        self, rule: str, *, setting: str = "ADAVAE_RATE_LIMIT", code: str = "rate_limited", what: str = "requests"
    ) -> None:
        """``setting`` is where ``rule`` comes from, ``code`` and ``what`` name it to a client that is over it."""
        self._setting, self._code, self._what = setting, code, what
        self._items = _parse(rule, setting)
        self._limiter = MovingWindowRateLimiter(MemoryStorage()) if self._items else None

    def count(self, client_id: str) -> None:
        """Counts one request of a client.

        Raises:
            ServiceError: 429, it has had as many as it may; this one does not count.
        """
        self.check(client_id)
        self.hit(client_id)

    def check(self, client_id: str) -> None:
        """Counts nothing; raises as ``count`` does."""
        limiter = self._limiter
        if limiter is None:
            return
        for item in self._items:
            if not limiter.test(item, client_id):
                raise self._exceeded(item, limiter.get_window_stats(item, client_id).reset_time)

    def hit(self, client_id: str) -> None:
        """Counts one, within the limit or not."""
        if self._limiter is not None:
            for item in self._items:
                self._limiter.hit(item, client_id)

    def _exceeded(self, item: RateLimitItem, reset_time_s: float) -> ServiceError:
        allowed = f"{item.amount} per {item.get_expiry()} s ({self._setting})"
        wait_s = max(1, math.ceil(reset_time_s - time.time()))
        return ServiceError(
            429,
            self._code,
            f"more {self._what} than {allowed}: try again in {wait_s} s",
            retry_after_s=wait_s,
        )


def _parse(rule: str, setting: str) -> list[RateLimitItem]:
    if not rule.strip():
        return []
    try:
        items = parse_many(rule)
    except ValueError as exc:
        raise SettingsError(f"{setting} is {rule!r}: write it as '600/minute' or '10/second;600/minute'") from exc
    if any(item.amount < 1 for item in items):
        raise SettingsError(f"{setting} is {rule!r}: the number must be at least 1; unset it for no limit")
    return items
