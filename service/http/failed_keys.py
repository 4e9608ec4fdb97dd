"""Wrong API keys are counted by address: whoever sends many is refused unheard for a while.

Others behind the same address go on: a key that was right from there before is still accepted. That tells a
guesser nothing, for no guess was.
"""

import hashlib

from cachetools import LRUCache

from adavae.service.errors import ServiceError
from adavae.service.http.api_keys import ApiKey, ApiKeys
from adavae.service.http.rate_limit import RateLimit

_REMEMBERED = 10_000  # addresses with a key that was right


class FailedKeys:
    """Stands between requests and the keys; used from one event loop."""

    def __init__(self, keys: ApiKeys, limit: RateLimit) -> None:
        self._keys, self._limit = keys, limit
        self._right_before: LRUCache[tuple[str, bytes], bool] = LRUCache(_REMEMBERED)

    def authenticated(self, sent: bytes | None, address: str) -> ApiKey:
        """The key that a request from ``address`` carries.

        Raises:
            ServiceError: 401, it carries none or an unknown one; 429, too many from there were unknown.
        """
        if sent is None:
            return self._keys.authenticate(None)
        place = (address, hashlib.sha256(sent).digest())
        if place not in self._right_before:
            self._limit.check(address)
        try:
            key = self._keys.authenticate(sent)
        except ServiceError:
            self._right_before.pop(place, None)
            self._limit.hit(address)
            raise
        self._right_before[place] = True
        return key
