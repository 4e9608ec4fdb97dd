"""Wrong API keys are counted by address: whoever sends many is told when to come back.

A right key is let in all the same: an ingress is one address for everybody behind it. That helps no guesser, for a key
has at least 16 characters and is compared, as a hash, with every key there is.
"""

from adavae.service.errors import ServiceError
from adavae.service.http.api_keys import ApiKey, ApiKeys
from adavae.service.http.rate_limit import RateLimit


class FailedKeys:
    """Stands between requests and the keys; used from one event loop."""

    def __init__(self, keys: ApiKeys, limit: RateLimit) -> None:
        self._keys, self._limit = keys, limit

    def authenticated(self, sent: bytes | None, address: str) -> ApiKey:
        """The key that a request from ``address`` carries.

        Raises:
            ServiceError: 401, it carries none or an unknown one; 429, it is one of too many from there.
        """
        try:
            return self._keys.authenticate(sent)
        except ServiceError:
            if sent is not None:
                self._limit.count(address)
            raise
