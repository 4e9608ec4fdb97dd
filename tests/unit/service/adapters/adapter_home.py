"""A registry over own and bundled sets on the disk, and a bank that watches who stands in which slot."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetMismatch
from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import TENSORS, Manifest
from adavae.service.adapters.registry import AdapterRegistry, PinnedAdapter
from adavae.service.errors import BankFull
from adavae.service.metrics import Metrics
from adavae.service.results import AdapterState
from tests.tiny_sets import BACKBONE_DIGEST, TOKENIZER_DIGEST

NEWER, NEWEST = "2026-02-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00"
NEVER_S = 60.0
Use = contextlib.AbstractAsyncContextManager[PinnedAdapter]


class FakeBank:
    """Remembers what stands in which slot; refuses a load into a slot that somebody uses."""

    def __init__(self, num_slots: int = 4) -> None:
        self.num_slots = num_slots
        self.contents: dict[int, str] = {}
        self.in_use: Counter[int] = Counter()
        self.num_loads = 0
        self.error: Exception | None = None
        self.refused: str | None = None
        self.trial_error: Exception | None = None
        self.tried: list[str] = []
        self.expected: list[AdapterConfig] = []
        self.max_sets = num_slots
        self.may_load = asyncio.Event()
        self.may_load.set()

    def check(self, manifest: Manifest) -> None:
        if self.refused is not None and manifest.reference == self.refused:
            raise AdapterSetMismatch(f"{manifest.reference} is too large for this bank")

    async def try_out(self, adapter_set: AdapterSet) -> None:
        self.tried.append(adapter_set.manifest.reference)
        if self.trial_error is not None:
            raise self.trial_error

    async def try_loaded(self, slot: int, adapter_set: AdapterSet, space: LatentSpace) -> None:
        assert self.contents[slot] == adapter_set.manifest.reference == space.reference
        await self.try_out(adapter_set)

    def fits_beside(self, slots: Collection[int], manifest: Manifest) -> bool:  # noqa: ARG002  # all take the same
        return len(slots) < self.max_sets

    async def unload(self, slot: int) -> None:
        assert self.in_use[slot] == 0
        self.contents.pop(slot, None)

    async def expect(self, configs: Collection[AdapterConfig]) -> None:
        self.expected = list(configs)

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        assert self.in_use[slot] == 0
        if len(self.contents.keys() - {slot}) >= self.max_sets:
            raise BankFull("no room beside the others")
        self.contents.pop(slot, None)
        await self.may_load.wait()
        if self.error is not None:
            raise self.error
        assert self.in_use[slot] == 0
        self.num_loads += 1
        self.contents[slot] = adapter_set.manifest.reference


class Home:
    """Own and bundled adapter sets, and a registry over them."""

    def __init__(self, tmp_path: Path, **options: Any) -> None:
        self.own, self.bundled = tmp_path / "own", tmp_path / "bundled"
        self.bank, self.metrics = FakeBank(options.pop("num_slots", 4)), Metrics()
        store: AdapterStore = options.pop("store", None) or AdapterStore(self.own, [self.bundled])
        fields: dict[str, Any] = {"default": "demo", "refresh_s": NEVER_S, "wait_s": NEVER_S} | options
        self.registry = AdapterRegistry(
            store,
            self.bank,
            backbone_digests=[BACKBONE_DIGEST],
            tokenizer_digest=TOKENIZER_DIGEST,
            counters=self.metrics,
            **fields,
        )

    @contextlib.asynccontextmanager
    async def use(self, reference: str | None = None) -> AsyncIterator[PinnedAdapter]:
        """Acquires, and watches that the slot holds what it should from beginning to end."""
        async with self.registry.acquire(reference) as pinned:
            self.bank.in_use[pinned.slot] += 1
            assert self.bank.contents[pinned.slot] == pinned.reference
            try:
                yield pinned
            finally:
                assert self.bank.contents[pinned.slot] == pinned.reference
                self.bank.in_use[pinned.slot] -= 1

    async def version(self, reference: str | None = None) -> str:
        async with self.use(reference) as pinned:
            return pinned.version

    def state(self, path: Path) -> AdapterState:
        states = [each for each in self.registry.states() if (each.name, each.version) == (path.parent.name, path.name)]
        assert len(states) == 1
        return states[0]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Loads, evictions, failures."""
        metrics = self.metrics
        totals = (metrics.adapter_loads_total, metrics.adapter_evictions_total, metrics.adapter_failures_total)
        return tuple(int(total._value.get()) for total in totals)  # type: ignore[return-value]  # three of them


@contextlib.asynccontextmanager
async def running(home: Home) -> AsyncIterator[Home]:
    await home.registry.start()
    try:
        yield home
    finally:
        await home.registry.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def damage(path: Path, file: str = TENSORS) -> None:
    """Changes the file's last byte."""
    content = (path / file).read_bytes()
    (path / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
