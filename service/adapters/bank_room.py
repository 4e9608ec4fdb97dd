"""Room in the engine's bank: idle sets leave for those that are asked for, and deleted ones leave for good."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Protocol

import structlog

from adavae.model.config import AdapterConfig
from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.installed import InstalledVersion
from adavae.model.storage.manifest import Manifest
from adavae.service.adapters.bank_slots import BankSlots
from adavae.service.errors import BankFull, ServiceError

_log = structlog.get_logger("adavae.adapters")


class SlotLoader(Protocol):
    """What the registry asks of the engine."""

    @property
    def num_slots(self) -> int: ...

    def check(self, manifest: Manifest) -> None:
        """Raises AdapterSetMismatch or ConfigError for a set that could not be loaded, before it is read."""
        ...

    async def try_out(self, adapter_set: AdapterSet) -> None:
        """Uses a set that is not loaded; raises WeightsCorrupted where that fails."""
        ...

    async def try_loaded(self, slot: int, adapter_set: AdapterSet, space: LatentSpace) -> None:
        """Uses a set that nobody else uses yet in its slot; raises WeightsCorrupted where that fails."""
        ...

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        """Puts a set into a slot that no row uses; raises as ``check``, and BankFull while others take its room."""
        ...

    def fits_beside(self, slots: Collection[int], manifest: Manifest) -> bool:
        """Whether a set could be loaded if nothing but these slots were taken."""
        ...

    async def unload(self, slot: int) -> None:
        """Forgets what is in a slot that no row uses."""
        ...

    async def expect(self, configs: Collection[AdapterConfig]) -> None:
        """Tells which sets may be asked for."""
        ...


class BankRoom:
    """Loads sets, and fits the bank to those that are installed; used from one event loop."""

    def __init__(self, bank: SlotLoader, slots: BankSlots, *, wait_s: float) -> None:
        """``wait_s`` is how long a set waits for others in use to leave it room."""
        self._bank, self._slots, self._wait_s = bank, slots, wait_s
        self._expected: set[str] = set()  # digests of what may be asked for, as the bank was told
        self._fitting: asyncio.Task[None] | None = None

    @property
    def is_being_fitted(self) -> bool:
        return self._fitting is not None and not self._fitting.done()

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        """Loads, with as many idle sets unloaded before as that takes; raises as the bank does.

        What was in its slot before, which nobody can use, makes room first. Where the sets in use alone leave none,
        idle ones stay, and it waits for one in use, as long as somebody wants it.
        """
        try:
            return await self._bank.load(slot, adapter_set)
        except BankFull:
            await self._bank.unload(slot)
            self._slots.tell_released()
        ends = monotonic() + self._wait_s
        while True:
            try:
                return await self._bank.load(slot, adapter_set)
            except BankFull:
                if not self._slots.is_wanted(slot):
                    raise
                fits = self._bank.fits_beside(self._slots.in_use(), adapter_set.manifest)
                if fits and await self._unload():
                    continue
                if not await self._slots.released(ends - monotonic()):
                    raise

    def fit(self, usable: Sequence[InstalledVersion], listed: Collection[str]) -> None:
        """Lets go of what is no longer installed, and of the room that it needed; beside everything else.

        Args:
            usable: What may be asked for, what is asked for most first.
            listed: Digests of all that is installed.
        """
        has_changed = self._expected != {version.digest for version in usable} or self._slots.has_other_than(listed)
        if has_changed and not self.is_being_fitted:
            self._fitting = asyncio.create_task(self._fit(usable, listed), name="adapter registry: fit the bank")

    async def stop(self) -> None:
        """Gives up what is being fitted."""
        if self._fitting is not None:
            self._fitting.cancel()
            await asyncio.wait({self._fitting})

    async def _fit(self, usable: Sequence[InstalledVersion], listed: Collection[str]) -> None:
        expected = {version.digest for version in usable}
        try:
            while await self._unload(lambda version: version.digest not in listed):
                pass
            await self._bank.expect([version.manifest.config for version in usable if version.manifest])
            self._expected = expected
        except ServiceError as exc:  # the engine is busy or stopped: the next look tries again
            _log.debug("the bank keeps its size for now", reason=str(exc))
        except Exception as exc:  # nobody waits for it: what it met is logged here, and the bank stays as it was
            self._expected = expected
            _log.error("the bank could not be fitted", error=repr(exc), exc_info=exc)

    async def _unload(self, is_meant: Callable[[InstalledVersion], bool] = lambda _: True) -> bool:
        """Takes one of the meant sets out of its slot; False where none of them is idle in one."""
        slot = self._slots.evict(is_meant)
        if slot is None:
            return False
        try:
            await self._bank.unload(slot)
        finally:
            self._slots.free(slot)
        return True
