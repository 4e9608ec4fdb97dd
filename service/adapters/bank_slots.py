"""Which version of which adapter set stands in which slot of the engine's bank."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from adavae.model.storage.installed import InstalledVersion
from adavae.service.errors import Overloaded


@dataclass(eq=False, slots=True)
class Place:
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
    """Who stands in which slot: pinned versions stay, of the others the least recently used one goes.

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
        self._places: OrderedDict[str, Place] = OrderedDict()  # by digest, least recently used first
        self._waiting: deque[Place] = deque()

    def holds(self, digest: str) -> bool:
        """Whether that content is loaded."""
        place = self._places.get(digest)
        return place is not None and place.is_loaded

    def has_other_than(self, digests: Collection[str]) -> bool:
        """Whether a set that nobody uses is loaded and not among these."""
        idle = (place for place in self._places.values() if place.is_loaded and place.num_pins == 0)
        return any(place.version.digest not in digests for place in idle)

    def pin(self, version: InstalledVersion) -> Place:
        """The version's place, loading where it is not loaded; every ``pin`` wants its ``unpin``."""
        place = self._places.get(version.digest)
        if place is None:
            place = self._places[version.digest] = Place(version)
            self._waiting.append(place)
            self._grant()
            place.filling = asyncio.create_task(self._fill(place), name=f"load {version.reference}")
            place.filling.add_done_callback(_retrieve)
        place.num_pins += 1
        return place

    def unpin(self, place: Place) -> None:
        """Ends one use."""
        place.num_pins -= 1
        if place.num_pins == 0 and place.slot is None:
            assert place.filling is not None
            place.filling.cancel()
            self._drop(place)
        elif self._is_listed(place):
            self._places.move_to_end(place.version.digest)
        self._grant()

    async def stop(self) -> None:
        """Gives up loads that nobody waits for."""
        idle = [place.filling for place in self._places.values() if place.filling and place.num_pins == 0]
        for filling in idle:
            filling.cancel()
        if idle:
            await asyncio.wait(idle)

    async def _fill(self, place: Place) -> None:
        try:
            slot = await self._granted(place)
            await self._load(slot, place.version)
            place.is_loaded = True
        except BaseException:
            self._drop(place)
            raise
        finally:
            self._grant()

    async def _granted(self, place: Place) -> int:
        try:
            async with asyncio.timeout(self._wait_s):
                await place.granted.wait()
        except TimeoutError:
            raise Overloaded(
                f"all {self._num_slots} places for adapter sets (ADAVAE_BANK_SLOTS) were in use for {self._wait_s:g} s "
                "by requests for other sets: try again later"
            ) from None
        assert place.slot is not None
        return place.slot

    def _grant(self) -> None:
        """Gives slots that nobody uses to those who wait, first come first served."""
        while self._waiting and (slot := self._take()) is not None:
            place = self._waiting.popleft()
            place.slot = slot
            place.granted.set()

    def evict(self, is_meant: Callable[[InstalledVersion], bool] = lambda _: True) -> int | None:
        """Takes out the least recently used of the meant sets that nobody uses; its slot waits for ``free``."""
        for place in self._places.values():
            if place.is_loaded and place.num_pins == 0 and is_meant(place.version):
                del self._places[place.version.digest]
                self._on_eviction(place.version)
                return place.slot
        return None

    def free(self, slot: int) -> None:
        """Another set may stand there from now on."""
        self._free.append(slot)
        self._grant()

    def _take(self) -> int | None:
        return self._free.pop() if self._free else self.evict()

    def _drop(self, place: Place) -> None:
        """Takes out a place that will not be filled; doing it twice is no harm."""
        if self._is_listed(place):
            del self._places[place.version.digest]
        if place in self._waiting:
            self._waiting.remove(place)
        if place.slot is not None:
            self._free.append(place.slot)
            place.slot = None

    def _is_listed(self, place: Place) -> bool:
        return self._places.get(place.version.digest) is place


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Looks at a load's error, so that one nobody waits for any more is no complaint of asyncio's."""
    if not task.cancelled():
        task.exception()
