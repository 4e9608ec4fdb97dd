"""The seam between the service and its two caches of encodings: the protocol, the keys and the stored bytes.

A cache may forget and may fail, but it never raises and never gives a wrong encoding: a value carries a seal over
itself and over its key, so what was cut, altered or copied to another key reads as a miss. With a secret of the
deployment, so does what somebody else made up. The backends are ``service.encodings.memory_cache`` and
``service.encodings.redis_cache``.
"""

import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import numpy as np

from adavae.service.results import Encoding

KEY_PREFIX = "adavae:enc:1:"
KEY_LENGTH = len(KEY_PREFIX) + 2 * sha256().digest_size

_FORMAT = 2
_MAGIC = b"AVEC"
_HEADER = struct.Struct("<4sBBxxII")  # magic, format, flags, 2 bytes of zeros, Z, num_tokens
_SEAL_BYTES = 16
_FLAG_TRUNCATED = 1
_FLOAT = np.dtype("<f4")


@dataclass(slots=True)
class CacheCounts:
    """What a cache did since it was made; one number a key, ``errors`` one an event.

    Attributes:
        hits: Keys that were answered.
        misses: Keys that were not, for whatever reason: hits + misses is what was looked up.
        errors: Round trips that failed, values that were unreadable, values that were refused.
        stored: Values that were taken.
        skipped: Keys that were not tried: the cache was known to be away, or too many puts were under way.
    """

    hits: int = 0
    misses: int = 0
    errors: int = 0
    stored: int = 0
    skipped: int = 0


class EncodingCache(Protocol):
    """Keeps encodings by ``encoding_key``. No method raises because of the cache's own state."""

    @property
    def counts(self) -> CacheCounts: ...

    @property
    def is_connected(self) -> bool:
        """Whether the last word from the cache's server was a good one; an in-process cache always is."""
        ...

    async def get_many(self, keys: Sequence[str]) -> list[Encoding | None]:
        """One answer a key, in their order; None is a miss. The arrays are read-only."""
        ...

    async def put_many(self, items: Mapping[str, Encoding]) -> None:
        """Offers encodings by key; returns at once, and whether they are kept shows only in ``counts``."""
        ...

    async def close(self) -> None:
        """Lets go of connections and tasks; afterwards every look-up is a miss."""
        ...


class NoCache:
    """Caching turned off (``ADAVAE_CACHE_BYTES=0``): nothing is kept, nothing is counted."""

    def __init__(self) -> None:
        self.counts = CacheCounts()
        self.is_connected = False

    async def get_many(self, keys: Sequence[str]) -> list[Encoding | None]:
        """A miss for each key."""
        return [None] * len(keys)

    async def put_many(self, items: Mapping[str, Encoding]) -> None:
        """Keeps nothing."""

    async def close(self) -> None:
        """There is nothing to close."""


def encoding_key(*, backbone_digest: str, adapter_digest: str, max_tokens: int, is_truncating: bool, text: str) -> str:
    """The key of one text's encoding: equal for equal inputs only, and nothing of the text can be read from it.

    Args:
        backbone_digest: Stands for all of the backbone that the numbers depend on: its weights, and their dtype.
        adapter_digest: The adapter set's content hash, so that a new version starts with an empty cache.
        max_tokens: Tokens a text may have.
        is_truncating: Whether a longer text is cut to ``max_tokens`` rather than refused.
        text: As it is encoded. Lone surrogates are told apart, too.
    """
    truncation = f"{max_tokens},{int(is_truncating)}"
    digest = sha256()
    for part in (str(_FORMAT), backbone_digest, adapter_digest, truncation, text):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))  # with its length before it, no part can run into the next
        digest.update(data)
    return KEY_PREFIX + digest.hexdigest()


def packed_size(latent_size: int) -> int:
    """Bytes that ``pack`` makes of an encoding with Z = ``latent_size``."""
    return _HEADER.size + 2 * latent_size * _FLOAT.itemsize + _SEAL_BYTES


def place_of(key: str, secret: bytes) -> str:
    """Where a value is kept: at its key, or with a secret where nobody without it can tell whether a text was there."""
    return KEY_PREFIX + hmac.digest(secret, key.encode(), "sha256").hex() if secret else key


def pack(key: str, encoding: Encoding, secret: bytes = b"") -> bytes:
    """The bytes to keep for ``key``: header | mu | logvar | seal, numbers little-endian.

    The seal covers the key too, so a value is readable under its own key only; it is a checksum, or with a secret a
    proof that whoever wrote the value knew it.
    """
    flags = _FLAG_TRUNCATED if encoding.is_truncated else 0
    body = b"".join(
        (
            _HEADER.pack(_MAGIC, _FORMAT, flags, len(encoding.mu), encoding.num_tokens),
            encoding.mu.astype(_FLOAT, copy=False).tobytes(),
            encoding.logvar.astype(_FLOAT, copy=False).tobytes(),
        )
    )
    return body + _seal(key, body, secret)


def unpack(key: str, data: bytes, secret: bytes = b"") -> Encoding | None:
    """The encoding that ``pack(key, ..., secret)`` made ``data`` from; None for anything else, whatever it is."""
    if len(data) < packed_size(1):
        return None
    magic, stored_format, flags, latent_size, num_tokens = _HEADER.unpack_from(data)
    is_ours = magic == _MAGIC and stored_format == _FORMAT and flags in (0, _FLAG_TRUNCATED)
    if not is_ours or len(data) != packed_size(latent_size):
        return None
    body = data[:-_SEAL_BYTES]
    if not hmac.compare_digest(data[-_SEAL_BYTES:], _seal(key, body, secret)):
        return None
    numbers = np.frombuffer(body, _FLOAT, offset=_HEADER.size).astype(np.float32)  # (2 Z,)
    numbers.setflags(write=False)
    mu, logvar = numbers[:latent_size], numbers[latent_size:]  # (Z,), (Z,)
    encoding = Encoding(mu, logvar, num_tokens, flags == _FLAG_TRUNCATED)
    return encoding if is_finite(encoding) else None


def is_finite(encoding: Encoding) -> bool:
    """Whether every number is finite: others are never kept, so that a fault does not outlive its cause."""
    return bool(np.isfinite(encoding.mu).all() and np.isfinite(encoding.logvar).all())


def _seal(key: str, body: bytes, secret: bytes) -> bytes:
    sealed = key.encode() + body
    return (hmac.digest(secret, sealed, "sha256") if secret else sha256(sealed).digest())[:_SEAL_BYTES]
