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
        SettingsError: The text is no rule.
    """

    def __init__(self, rule: str) -> None:
        self._rule, self._items = rule, _parsed(rule)
        self._limiter = MovingWindowRateLimiter(MemoryStorage()) if self._items else None

    def count(self, client_id: str) -> None:
        """Counts one request of a client.

        Raises:
            ServiceError: 429, it has had as many as it may; this one does not count.
        """
        limiter = self._limiter
        if limiter is None:
            return
        for item in self._items:
            if not limiter.test(item, client_id):
                raise self._exceeded(item, limiter.get_window_stats(item, client_id).reset_time)
        for item in self._items:
            limiter.hit(item, client_id)

    def _exceeded(self, item: RateLimitItem, reset_time_s: float) -> ServiceError:
        wait_s = max(1, math.ceil(reset_time_s - time.time()))
        return ServiceError(
            429,
            "rate_limited",
            f"more requests than {item.amount} per {item.get_expiry()} s (ADAVAE_RATE_LIMIT): try again in {wait_s} s",
            retry_after_s=wait_s,
        )


def _parsed(rule: str) -> list[RateLimitItem]:
    if not rule.strip():
        return []
    try:
        items = parse_many(rule)
    except ValueError as exc:
        raise SettingsError(
            f"ADAVAE_RATE_LIMIT is {rule!r}: write it as '600/minute' or '10/second;600/minute'"
        ) from exc
    if any(item.amount < 1 for item in items):
        raise SettingsError(f"ADAVAE_RATE_LIMIT is {rule!r}: the number must be at least 1; unset it for no limit")
    return items
