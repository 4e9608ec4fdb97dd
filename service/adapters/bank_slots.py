"""Which version of which adapter set is in which slot of the engine's bank."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from adavae.model.storage.installed import InstalledVersion
from adavae.service.errors import Overloaded


@dataclass(eq=False, slots=True)
class SlotEntry:
    """A version in a slot, or on its way into one.

    Attributes:
        num_pins: Requests that use it or wait for it; it stays where it is while there are any.
        slot: None while all slots are in use.
        filling: Ends when it is loaded, or with the reason why it cannot be.
    """

    version: InstalledVersion
    num_pins: int = 0
    slot: int | None = None
    is_loaded: bool = False
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    filling: "asyncio.Task[None] | None" = None

    async def ready(self) -> int:
        """The slot, once it is loaded; whoever waits may be cancelled without harm to the others."""
        assert self.filling is not None
        await asyncio.wait({self.filling})
        self.filling.result()
        assert self.slot is not None
        return self.slot


class BankSlots:
    """Who is in which slot: pinned versions stay, of the others the least recently used one goes.

    A load belongs to no request: it goes on when the one that asked first is cancelled, unless nobody else waits and
    no slot was given yet.
    """

    def __init__(
        self,
        num_slots: int,
        load: Callable[[int, InstalledVersion], Awaitable[None]],
        *,
        wait_s: float,
        on_eviction: Callable[[InstalledVersion], None],
    ) -> None:
        self._num_slots, self._load, self._wait_s, self._on_eviction = num_slots, load, wait_s, on_eviction
        self._free = list(reversed(range(num_slots)))
        self._entries: OrderedDict[str, SlotEntry] = OrderedDict()  # by digest, least recently used first
        self._waiting: deque[SlotEntry] = deque()
        self._released = asyncio.Event()

    def holds(self, digest: str) -> bool:
        """Whether that content is loaded."""
        entry = self._entries.get(digest)
        return entry is not None and entry.is_loaded

    def has_other_than(self, digests: Collection[str]) -> bool:
        """Whether a set that nobody uses is loaded and not among these."""
        idle = (entry for entry in self._entries.values() if entry.is_loaded and entry.num_pins == 0)
        return any(entry.version.digest not in digests for entry in idle)

    def in_use(self) -> set[int]:
        """Slots whose set stays where it is."""
        entries = self._entries.values()
        return {entry.slot for entry in entries if entry.is_loaded and entry.num_pins and entry.slot is not None}

    def is_wanted(self, slot: int) -> bool:
        """Whether somebody uses what is in a slot or waits for it."""
        return any(entry.slot == slot and entry.num_pins for entry in self._entries.values())

    def tell_released(self) -> None:
        """Wakes those who wait in ``released``."""
        self._released.set()

    async def released(self, within_s: float) -> bool:
        """Waits until a set is no longer used, or has left the bank; False where none was in time."""
        self._released.clear()
        try:
            async with asyncio.timeout(within_s):
                return await self._released.wait()
        except TimeoutError:
            return False

    def pin(self, version: InstalledVersion) -> SlotEntry:
        """The version's entry, loading where it is not loaded; every ``pin`` wants its ``unpin``."""
        entry = self._entries.get(version.digest)
        if entry is None:
            entry = self._entries[version.digest] = SlotEntry(version)
            self._waiting.append(entry)
            self._grant()
            entry.filling = asyncio.create_task(self._fill(entry), name=f"load {version.reference}")
            entry.filling.add_done_callback(_retrieve)
        entry.num_pins += 1
        return entry

    def unpin(self, entry: SlotEntry) -> None:
        """Ends one use."""
        entry.num_pins -= 1
        if entry.num_pins == 0:
            self.tell_released()
        if entry.num_pins == 0 and entry.slot is None:
            assert entry.filling is not None
            entry.filling.cancel()
            self._drop(entry)
        elif self._is_listed(entry):
            self._entries.move_to_end(entry.version.digest)
        self._grant()

    async def stop(self) -> None:
        """Gives up loads that nobody waits for."""
        idle = [entry.filling for entry in self._entries.values() if entry.filling and entry.num_pins == 0]
        for filling in idle:
            filling.cancel()
        if idle:
            await asyncio.wait(idle)

    async def _fill(self, entry: SlotEntry) -> None:
        try:
            slot = await self._granted(entry)
            await self._load(slot, entry.version)
            entry.is_loaded = True
            self.tell_released()  # it may be idle from the start, where those who asked have gone
        except BaseException:
            self._drop(entry)
            raise
        finally:
            self._grant()

    async def _granted(self, entry: SlotEntry) -> int:
        try:
            async with asyncio.timeout(self._wait_s):
                await entry.granted.wait()
        except TimeoutError:
            raise Overloaded(
                f"all {self._num_slots} places for adapter sets (ADAVAE_BANK_SLOTS) were in use for {self._wait_s:g} s "
                "by requests for other sets: try again later"
            ) from None
        assert entry.slot is not None
        return entry.slot

    def _grant(self) -> None:
        """Gives slots that nobody uses to those who wait, first come first served."""
        while self._waiting and (slot := self._take()) is not None:
            entry = self._waiting.popleft()
            entry.slot = slot
            entry.granted.set()

    def evict(self, is_meant: Callable[[InstalledVersion], bool] = lambda _: True) -> int | None:
        """Takes out the least recently used of the meant sets that nobody uses; its slot waits for ``free``."""
        for entry in self._entries.values():
            if entry.is_loaded and entry.num_pins == 0 and is_meant(entry.version):
                del self._entries[entry.version.digest]
                self._on_eviction(entry.version)
                return entry.slot
        return None

    def free(self, slot: int) -> None:
        """Another set may be there from now on."""
        self._free.append(slot)
        self.tell_released()
        self._grant()

    def _take(self) -> int | None:
        return self._free.pop() if self._free else self.evict()

    def _drop(self, entry: SlotEntry) -> None:
        """Takes out an entry that will not be filled; doing it twice is no harm."""
        if self._is_listed(entry):
            del self._entries[entry.version.digest]
        if entry in self._waiting:
            self._waiting.remove(entry)
        if entry.slot is not None:
            self._free.append(entry.slot)
            entry.slot = None
            self.tell_released()

    def _is_listed(self, entry: SlotEntry) -> bool:
        return self._entries.get(entry.version.digest) is entry


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Looks at a load's error, so that one nobody waits for any more is no complaint of asyncio's."""
    if not task.cancelled():
        task.exception()
