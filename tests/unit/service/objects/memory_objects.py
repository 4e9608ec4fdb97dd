"""Object stores in memory, which keep conditions as a real one does; those of one ``Bucket`` hold the same."""

import importlib.util
from typing import Any

import pytest

from adavae.service.objects.object_store import ObjectStore

needs_obstore = pytest.mark.skipif(importlib.util.find_spec("obstore") is None, reason="obstore is not installed")


class Bucket:
    """One store, seen by any number of processes."""

    def __init__(self) -> None:
        from obstore.store import MemoryStore

        self.library: Any = MemoryStore()

    def opened(self) -> ObjectStore:
        """As one process has it."""
        return ObjectStore("memory://bucket", self.library, self.library)

    def keys(self) -> list[str]:
        import obstore

        return sorted(each["path"] for each in obstore.list(self.library).collect())

    def content(self, key: str) -> bytes:
        import obstore

        return bytes(obstore.get(self.library, key).bytes())

    def plant(self, key: str, content: bytes) -> None:
        """What a stranger puts there."""
        import obstore

        obstore.put(self.library, key, content)
