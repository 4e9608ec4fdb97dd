"""Adapter sets as they are served: found on the disk, verified, listed, loaded for requests, deleted.

    scan (every ``refresh_s``) -> verify new versions -> a name moves on -> acquire: load into a slot, pin, release

A version is served only after every byte of it was checked; where that fails the one before goes on serving. A request
keeps the version it acquired to its end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetNotFound, AdaVAEError, StorageFull, WeightsCorrupted
from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet, read_adapter_set
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.installed import REFUSALS, InstalledVersion, Problem
from adavae.model.storage.latent_space import space_of
from adavae.model.storage.manifest import Manifest, check_fits
from adavae.service.adapters.bank_room import BankRoom, SlotLoader
from adavae.service.adapters.bank_slots import BankSlots, SlotEntry
from adavae.service.adapters.listing import Listing
from adavae.service.engine.compute_threads import alone
from adavae.service.errors import ServiceError, full_disk
from adavae.service.results import AdapterState

_MANY_ARRIVALS = 64  # new names at once beyond which each is verified when it is first asked for, not before
_PAUSE_S = 0.1  # between looks that unknown names ask for

_log = structlog.get_logger("adavae.adapters")


class Counter(Protocol):
    def inc(self, amount: float = 1) -> None: ...


class AdapterCounters(Protocol):
    """What the registry counts; ``service.metrics.Metrics`` has them."""

    @property
    def adapter_loads_total(self) -> Counter: ...
    @property
    def adapter_evictions_total(self) -> Counter: ...
    @property
    def adapter_failures_total(self) -> Counter: ...


@dataclass(frozen=True, slots=True)
class PinnedAdapter:
    """One version of an adapter set, in a slot that stays its own while it is pinned.

    Attributes:
        digest: Names the exact content: part of every cache key.
        slot: In the engine's bank.
        space: Where its texts lie.
    """

    name: str
    version: str
    digest: str
    slot: int
    config: AdapterConfig
    manifest: Manifest
    space: LatentSpace

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


class AdapterRegistry:
    """The adapter sets that are installed and those that are loaded; used from one event loop."""

    def __init__(
        self,
        store: AdapterStore,
        bank: SlotLoader,
        *,
        default: str,
        backbone_digests: Sequence[str],
        tokenizer_digest: str,
        refresh_s: float,
        counters: AdapterCounters,
        wait_s: float = 5.0,
    ) -> None:
        """Reads nothing yet: ``start`` does.

        Args:
            store: The adapter sets on disk.
            bank: Where they are loaded.
            default: ``name`` or ``name@version`` for requests that name none.
            backbone_digests: Sets trained over another backbone are refused.
            tokenizer_digest: Sets trained with another tokenizer are refused.
            refresh_s: Seconds between looks at the disk.
            counters: Told of loads, evictions and versions that are refused.
            wait_s: Seconds that a request waits for a slot, and for memory, when sets in use have all of it.
        """
        self._store, self._bank, self._counters = store, bank, counters
        self._refresh_s = refresh_s
        self._backbone_digests, self._tokenizer_digest = backbone_digests, tokenizer_digest
        self._slots = BankSlots(bank.num_slots, self._load, wait_s=wait_s, on_eviction=self._forget)
        self._room = BankRoom(bank, self._slots, wait_s=wait_s)
        self._listing = Listing(default, self._slots.holds)
        self._spaces: dict[str, LatentSpace] = {}  # of what is loaded, by digest
        self._tried: set[str] = set()  # digests of what was read and used without a fault
        self._refreshing = asyncio.Lock()
        self._refresher: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._is_blind = False  # the last look failed

    @property
    def store(self) -> AdapterStore:
        """The adapter sets on disk."""
        return self._store

    async def start(self) -> None:
        """Finds and verifies what is installed; damaged sets are listed with their problem and raise nothing."""
        await self.refresh()
        self._refresher = asyncio.create_task(self._refresh_forever(), name="adapter registry: refresh")

    async def stop(self) -> None:
        """Looks at the disk no more; what is pinned stays until it is released."""
        looking = {task for task in (self._refresher, self._looking) if task is not None}
        for task in looking:
            task.cancel()
        if looking:
            await asyncio.wait(looking)
        await self._room.stop()
        await self._slots.stop()

    @contextlib.asynccontextmanager
    async def acquire(self, reference: str | None) -> AsyncIterator[PinnedAdapter]:
        """The version that ``reference`` means now, loaded and kept in its slot until the ``with`` ends.

        Raises:
            AdapterSetNotFound: No such set; the message names what comes close and what there is.
            AdapterSetMismatch: None of its versions fits the backbone.
            WeightsCorrupted: None of its versions is whole.
            Overloaded: All slots, or all memory for them, stayed in use.
        """
        entry, pinned = await self._pinned(reference or self._listing.default)
        try:
            yield pinned
        finally:
            self._slots.unpin(entry)

    async def find(self, reference: str) -> InstalledVersion:
        """What is to be shown of ``reference``: the version that serves, or the best one where none can.

        Raises:
            AdapterSetNotFound: No such set, after another look at the disk; that is taken as well where it has changed.
        """
        await self._look_for(reference)
        if await asyncio.to_thread(self._listing.meant(reference).has_changed):
            await self._look_again()
        return self._listing.meant(reference)

    def states(self) -> list[AdapterState]:
        """Every installed version, by name, the best first."""
        return self._listing.states()

    def default_problem(self) -> str | None:
        """Why requests that name no set are refused though the default is installed; None where they are not."""
        return self._listing.default_problem()

    def blindness(self) -> str | None:
        """What is wrong where new sets cannot be looked for; None where they can."""
        if not self._is_blind:
            return None
        return "new, changed and deleted adapter sets cannot be looked for: what is there goes on serving"

    def names_with_labels(self) -> list[str]:
        """Names whose current version can classify."""
        return self._listing.names_with_labels()

    async def states_named(self, reference: str) -> list[AdapterState]:
        """Every version that ``reference`` can mean, the best first; none where another look at the disk finds none."""
        await self._look_for(reference)
        return [state for state in self.states() if reference in (state.name, state.reference)]

    async def refresh(self) -> None:
        """Looks at the disk now; what was published, changed or deleted before the call has taken effect after it.

        Raises:
            OSError: The disk cannot be read; everything stays as it was.
        """
        async with self._refreshing:
            known = {str(each.path): each for each in self._listing if not (each.problem and each.problem.is_due)}
            found = await asyncio.to_thread(self._store.scan, known)
            for gone in [each for each in self._listing if str(each.path) not in found]:
                self._listing.remove(gone)
            arrivals = [version for version in found.values() if not self._listing.has(version)]
            is_many = len(arrivals) > _MANY_ARRIVALS
            later = {version for version in arrivals if is_many and self._can_be_checked_later(version)}
            for version in later:
                self._listing.add(version)
            for version in arrivals:
                if version not in later:
                    await self._examine(version)
            listed = {version.digest for version in self._listing}
            self._tried &= listed
            self._room.fit(self._listing.usable(), listed)

    async def _look_for(self, reference: str) -> None:
        """Looks at the disk where none is known: it may have been published since the last look."""
        if not self._listing.versions_of(reference):
            await self._look_again()

    async def _look_again(self) -> None:
        """Looks at the disk, once for all who ask in the meantime, however many unknown names there are."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_after_a_pause(), name="adapter registry: look again")
        with contextlib.suppress(OSError):
            await asyncio.shield(self._looking)

    async def _look_after_a_pause(self) -> None:
        await asyncio.sleep(_PAUSE_S)
        await self.refresh()

    async def delete(self, reference: str) -> list[AdapterState]:
        """Removes ``name@version``, or every version of ``name`` but the bundled ones; what uses them finishes.

        Returns:
            What was there.

        Raises:
            AdapterSetNotFound: No such set.
            ServiceError: 409: it is bundled, or requests that name no adapter set would be left without one.
        """
        async with self._refreshing:
            chosen = [version for version in self._listing.named(reference) if not version.is_bundled]
            self._check_deletable(reference, chosen)
            states = self._listing.states_of(chosen)
            for version in chosen:
                await self._delete_from_disk(version)
                self._listing.remove(version)
        await self._take_note()
        return states

    async def install(self, source: Path, name: str | None) -> AdapterState:
        """Puts the set of an archive beside the others, once all is checked that a service over this backbone needs.

        Args:
            source: The archive.
            name: What it shall be called; its own name if left out.

        Raises:
            AdaVAEError: As ``AdapterStore.import_set``; what keeps it from being served here.
        """
        loop = asyncio.get_running_loop()

        def accept(manifest: Manifest) -> None:
            check_fits(manifest, self._backbone_digests, self._tokenizer_digest)
            self._bank.check(manifest)

        def try_out(path: Path) -> None:
            trial = self._bank.try_out(read_adapter_set(path))
            asyncio.run_coroutine_threadsafe(trial, loop).result()

        work = partial(self._store.import_set, source, name=name, accepting=accept, trying=try_out)
        entry = await asyncio.to_thread(alone(work))
        await self._take_note()
        _log.info("adapter set imported", adapter=entry.reference)
        listed = [version for version in self._listing if version.path == entry.path]
        return self._listing.states_of(listed or [entry])[0]

    async def _take_note(self) -> None:
        """Looks at the disk after a change was made there; where that fails the change stands, and the next look is
        ``_refresh_forever``'s.
        """
        try:
            await self.refresh()
        except OSError as exc:
            _log.warning("looking for adapter sets after a change failed", error=repr(exc))

    def _check_deletable(self, reference: str, chosen: Sequence[InstalledVersion]) -> None:
        if not chosen:
            message = f"{reference} is bundled with adavae and cannot be deleted: only trained and imported ones can"
            raise ServiceError(409, "adapter_bundled", message, param="adapter")
        default = self._listing.default
        of_default = [version for version in self._listing.versions_of(default) if version.problem is None]
        if of_default and all(version in chosen for version in of_default):
            raise ServiceError(
                409,
                "adapter_is_default",
                f"{reference} serves requests that name no adapter set and nothing else is called {default}: set "
                "ADAVAE_DEFAULT_ADAPTER to another one first",
                param="adapter",
            )

    async def _delete_from_disk(self, version: InstalledVersion) -> None:
        try:
            await asyncio.to_thread(self._store.remove, version)
        except FileNotFoundError:
            _log.info("adapter set deleted by others", adapter=version.reference)
        except OSError as exc:
            message = f"{version.reference} cannot be deleted ({exc.strerror}): look at the rights of the data volume"
            raise ServiceError(409, "adapter_not_deletable", message, param="adapter") from exc
        else:
            _log.info("adapter set deleted", adapter=version.reference)

    async def _pinned(self, reference: str) -> tuple[SlotEntry, PinnedAdapter]:
        """Pins the best version that can be loaded; each that cannot is refused on the way."""
        await self._look_for(reference)
        while True:
            version = self._listing.resolve(reference)
            entry = self._slots.pin(version)
            try:
                slot = await entry.ready()
            except BaseException as exc:
                self._slots.unpin(entry)
                if not isinstance(exc, REFUSALS):
                    raise
                continue
            manifest = version.manifest
            assert manifest is not None  # what has none has a problem and is in no slot
            space = self._spaces[version.digest]
            adapter = PinnedAdapter(
                version.name, version.version, version.digest, slot, manifest.config, manifest, space
            )
            return entry, adapter

    async def _load(self, slot: int, version: InstalledVersion) -> None:
        """Reads, verifies and loads; a version that does not pass is refused from now on."""
        try:
            adapter_set = await asyncio.to_thread(alone(self._read), version)
            space = space_of(adapter_set)
            await asyncio.to_thread(alone(space.prepare))
            await self._room.load(slot, adapter_set)
            await self._try_loaded(slot, version, adapter_set, space)
        except Exception as exc:
            if isinstance(exc, REFUSALS):
                self._refuse(version, exc)
            with contextlib.suppress(ServiceError):
                await self._bank.unload(slot)  # this set, or one that was evicted: nobody's, and in memory
            raise
        self._spaces[version.digest] = space
        self._counters.adapter_loads_total.inc()

    async def _try_loaded(
        self, slot: int, version: InstalledVersion, adapter_set: AdapterSet, space: LatentSpace
    ) -> None:
        """Uses a set once before it may serve."""
        if version.digest not in self._tried:
            await self._bank.try_loaded(slot, adapter_set, space)
            self._tried.add(version.digest)

    async def _verify(self, version: InstalledVersion) -> None:
        """Checks every byte of a set, and uses it once where that has not been done."""
        adapter_set = await asyncio.to_thread(alone(self._read), version)
        if version.digest not in self._tried:
            await self._bank.try_out(adapter_set)
            self._tried.add(version.digest)

    def _read(self, version: InstalledVersion) -> AdapterSet:
        try:
            return self._store.read_version(version, lambda manifest: self._accept(version, manifest))
        except OSError as exc:
            raise full_disk(exc) or WeightsCorrupted(f"{version.path} cannot be read ({exc.strerror})") from exc

    def _accept(self, version: InstalledVersion, manifest: Manifest) -> None:
        """Raises where a set should not be read at all, by what it says of itself."""
        if manifest != version.manifest:
            raise WeightsCorrupted(f"{version.path} was changed, it is no longer that version: install the set again")
        check_fits(manifest, self._backbone_digests, self._tokenizer_digest)
        self._bank.check(manifest)

    async def _examine(self, version: InstalledVersion) -> None:
        """Verifies a version that is new or has changed, then lists it: until then the name means what it meant."""
        if version.problem is None:
            try:
                await self._verify(version)
            except REFUSALS as exc:
                version.problem = Problem.of(exc)
            except (ServiceError, StorageFull) as exc:
                _log.info("adapter set could not be tried yet", adapter=version.reference, reason=str(exc))
                return
            except Exception as exc:  # whatever one set brings about, the others are looked at
                _log.error("adapter set could not be checked", adapter=version.reference, exc_info=exc)
                message = f"{version.reference} cannot be checked ({type(exc).__name__}: {exc}): install the set again"
                version.problem = Problem.of(WeightsCorrupted(message))
        if version.problem is None:
            self._listing.add(version)
            _log.info("adapter set found", adapter=version.reference)
        elif not version.has_changed():  # else it is being copied or deleted, and the next look decides
            self._list_refused(version)

    def _refuse(self, version: InstalledVersion, error: AdaVAEError) -> None:
        """A listed version turns out not to be usable; where its files have changed since, the next look counts it."""
        if not self._listing.has(version):
            return
        if isinstance(error, AdapterSetNotFound):
            self._listing.remove(version)
            return
        version.problem = Problem.of(error)
        if not version.has_changed():
            self._list_refused(version)

    def _list_refused(self, version: InstalledVersion) -> None:
        """Lists a version with its problem, counted once for as long as its files do not change."""
        assert version.problem is not None
        former = self._listing.at(str(version.path))
        is_known = former is not None and former is not version and former.problem and former.stamp == version.stamp
        self._listing.add(version)
        if not is_known:
            self._counters.adapter_failures_total.inc()
            _log.warning("adapter set refused", adapter=version.reference, problem=version.public_problem)

    def _can_be_checked_later(self, version: InstalledVersion) -> bool:
        """Whether nothing else of that name can serve meanwhile, so that listing it at once takes nothing away."""
        return version.problem is None and not self._listing.has_name(version.name)

    def _forget(self, version: InstalledVersion) -> None:
        del self._spaces[version.digest]
        self._counters.adapter_evictions_total.inc()
        _log.debug("adapter set evicted", adapter=version.reference)

    async def _refresh_forever(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            try:
                await self.refresh()
                self._is_blind = False
            except OSError as exc:
                self._is_blind = True
                _log.error("looking for adapter sets failed", error=repr(exc), remedy="look after the volume")
            except Exception as exc:  # the loop is an edge: whatever one look met, the next one is made
                _log.error("looking for adapter sets failed", error=repr(exc), exc_info=exc)
