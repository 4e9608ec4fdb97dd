"""Encodings kept in this process, the least recently used leaving first; what serves where no Redis is configured."""

from collections.abc import Mapping, Sequence

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from adavae.service.encodings.cache import KEY_LENGTH, CacheCounts, is_finite, packed_size
from adavae.service.results import Encoding

# What CPython adds to an entry's bytes: two arrays, the key's header, three dictionaries' slots. Measured by a test.
ENTRY_OVERHEAD_BYTES = 700


class MemoryCache:
    """An LRU bounded in bytes, overhead included, so that ``max_bytes`` is what the process really gives.

    Belongs to one event loop's thread, as the routes do.
    """

    def __init__(self, max_bytes: int) -> None:
        self.counts = CacheCounts()
        self.is_connected = True
        self._entries: LRUCache[str, Encoding] = LRUCache(max_bytes, getsizeof=_entry_size)

    @property
    def num_bytes(self) -> int:
        """Bytes in use; never above ``max_bytes``."""
        return int(self._entries.currsize)

    async def get_many(self, keys: Sequence[str]) -> list[Encoding | None]:
        """One answer a key, in their order; a hit becomes the most recently used."""
        found = [self._entries.get(key) for key in keys]
        num_hits = sum(encoding is not None for encoding in found)
        self.counts.hits += num_hits
        self.counts.misses += len(found) - num_hits
        return found

    async def put_many(self, items: Mapping[str, Encoding]) -> None:
        """Keeps copies, so that nothing done to the caller's arrays reaches the cache."""
        for key, encoding in items.items():
            if _entry_size(encoding) > self._entries.maxsize or not is_finite(encoding):
                self.counts.errors += 1
                continue
            self._entries[key] = _frozen(encoding)
            self.counts.stored += 1

    async def close(self) -> None:
        """Empties the cache."""
        self._entries.clear()


def _entry_size(encoding: Encoding) -> int:
    return KEY_LENGTH + packed_size(len(encoding.mu)) + ENTRY_OVERHEAD_BYTES


def _frozen(encoding: Encoding) -> Encoding:
    return Encoding(_read_only(encoding.mu), _read_only(encoding.logvar), encoding.num_tokens, encoding.is_truncated)


def _read_only(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy of its own: a view would keep the whole micro-batch that it was cut from in memory."""
    copy = np.array(values, dtype=np.float32)
    copy.setflags(write=False)
    return copy
