"""Which adapter sets there are, which version a name means, and which slot of the engine's bank each stands in.

    scan (every ``refresh_s``) -> verify new versions -> a name moves on -> acquire: load into a slot, pin, release

A version is served only after every byte of it was checked; where that fails the one before goes on serving. A request
keeps the version it acquired to its end.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetNotFound, AdaVAEError, WeightsCorrupted
from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet, read_adapter_set
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.installed import REFUSALS, InstalledVersion, Problem, not_found, scan
from adavae.model.storage.latent_space import space_of
from adavae.model.storage.manifest import Manifest, check_fits
from adavae.service.adapters.bank_slots import BankSlots, SlotEntry
from adavae.service.engine.compute_threads import alone
from adavae.service.errors import BankFull, ServiceError
from adavae.service.results import AdapterState

_MANY_ARRIVALS = 64  # new names at once beyond which each is verified when it is first asked for, not before
_PAUSE_S = 0.1  # between looks that unknown names ask for

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

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        """Puts a set into a slot that no row uses; raises as ``check``, and BankFull while others take its room."""
        ...

    async def unload(self, slot: int) -> None:
        """Forgets what stands in a slot that no row uses."""
        ...

    async def expect(self, configs: Collection[AdapterConfig]) -> None:
        """Tells which sets may be asked for."""
        ...


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
            store: Where adapter sets stand on disk.
            bank: Where they are loaded.
            default: ``name`` or ``name@version`` for requests that name none.
            backbone_digests: Sets trained over another backbone are refused.
            tokenizer_digest: Sets trained with another tokenizer are refused.
            refresh_s: Seconds between looks at the disk.
            counters: Told of loads, evictions and versions that are refused.
            wait_s: Seconds that a request waits for a slot when all are pinned.
        """
        self._store, self._bank, self._counters = store, bank, counters
        self._default, self._refresh_s = default, refresh_s
        self._backbone_digests, self._tokenizer_digest = backbone_digests, tokenizer_digest
        self._versions: dict[str, InstalledVersion] = {}  # by directory
        self._by_name: dict[str, list[InstalledVersion]] = {}  # the best first
        self._slots = BankSlots(bank.num_slots, self._load, wait_s=wait_s, on_eviction=self._forget)
        self._spaces: dict[str, LatentSpace] = {}  # of what is loaded, by digest
        self._tried: set[str] = set()  # digests of what was read and used without a fault
        self._expected: set[str] = set()  # digests of what may be asked for, as the bank was told
        self._fitting_bank: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()
        self._refresher: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def store(self) -> AdapterStore:
        """Where adapter sets stand on disk."""
        return self._store

    async def start(self) -> None:
        """Finds and verifies what is installed; damaged sets are listed with their problem and raise nothing."""
        await self.refresh()
        self._refresher = asyncio.create_task(self._refresh_forever(), name="adapter registry: refresh")

    async def stop(self) -> None:
        """Looks at the disk no more; what is pinned stays until it is released."""
        looking = {task for task in (self._refresher, self._looking, self._fitting_bank) if task is not None}
        for task in looking:
            task.cancel()
        if looking:
            await asyncio.wait(looking)
        await self._slots.stop()

    @contextlib.asynccontextmanager
    async def acquire(self, reference: str | None) -> AsyncIterator[PinnedAdapter]:
        """The version that ``reference`` means now, loaded and kept in its slot until the ``with`` ends.

        Raises:
            AdapterSetNotFound: No such set; the message names what comes close and what there is.
            AdapterSetMismatch: None of its versions fits the backbone.
            WeightsCorrupted: None of its versions is whole.
            Overloaded: All slots stayed in use.
        """
        place, pinned = await self._pinned(reference or self._default)
        try:
            yield pinned
        finally:
            self._slots.unpin(place)

    def states(self) -> list[AdapterState]:
        """Every installed version, by name, the best first."""
        return [state for name in sorted(self._by_name) for state in self._states(_each_once(self._by_name[name]))]

    def names_with_labels(self) -> list[str]:
        """Names whose current version can classify."""
        serving = [self._serving(versions) for versions in self._by_name.values()]
        return sorted(own.name for own in serving if own and own.manifest and own.manifest.config.labels)

    async def refresh(self) -> None:
        """Looks at the disk now; what was published, changed or deleted before the call has taken effect after it.

        Raises:
            OSError: The disk cannot be read; everything stays as it was.
        """
        async with self._refreshing:
            known = {path: own for path, own in self._versions.items() if not (own.problem and own.problem.is_due)}
            found = await asyncio.to_thread(scan, self._store.roots, known)
            for path in self._versions.keys() - found.keys():
                self._unlist(self._versions[path])
            arrivals = [version for path, version in found.items() if self._versions.get(path) is not version]
            is_many = len(arrivals) > _MANY_ARRIVALS
            later = {version for version in arrivals if is_many and self._can_be_checked_later(version)}
            for version in later:
                self._list(version)
            for version in arrivals:
                if version not in later:
                    await self._examine(version)
            self._fit_bank()

    def _fit_bank(self) -> None:
        """Lets go of what is no longer installed, and of the room that it needed; beside everything else."""
        is_over = self._fitting_bank is None or self._fitting_bank.done()
        usable = [own for versions in self._by_name.values() for own in versions if own.problem is None]
        listed = {own.digest for own in self._versions.values()}
        self._tried &= listed
        if is_over and (self._expected != {own.digest for own in usable} or self._slots.has_other_than(listed)):
            work = self._let_go(usable, listed)
            self._fitting_bank = asyncio.create_task(work, name="adapter registry: fit the bank")

    async def _let_go(self, usable: Sequence[InstalledVersion], listed: Collection[str]) -> None:
        by_default_first = sorted(usable, key=lambda own: own not in self._versions_of(self._default))
        try:
            while await self._unload(lambda own: own.digest not in listed):
                pass
            await self._bank.expect([own.manifest.config for own in by_default_first if own.manifest])
            self._expected = {own.digest for own in usable}
        except ServiceError as exc:  # the engine is busy or stopped: the next look tries again
            _log.debug("the bank keeps its size for now", reason=str(exc))
        except Exception as exc:  # nobody waits for it: what it met is told here, and the bank stays as it was
            self._expected = {own.digest for own in usable}
            _log.error("the bank could not be fitted", error=repr(exc), exc_info=exc)

    async def _unload(self, is_meant: Callable[[InstalledVersion], bool] = lambda _: True) -> bool:
        """Takes one of the meant sets out of its slot; False where none of them stands idle in one."""
        slot = self._slots.evict(is_meant)
        if slot is None:
            return False
        try:
            await self._bank.unload(slot)
        finally:
            self._slots.free(slot)
        return True

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
            chosen = [version for version in self._fitting(reference) if not version.is_bundled]
            self._check_deletable(reference, chosen)
            states = self._states(chosen)
            for version in chosen:
                await self._delete_from_disk(version)
        await self.refresh()
        return states

    def _check_deletable(self, reference: str, chosen: Sequence[InstalledVersion]) -> None:
        if not chosen:
            message = f"{reference} is bundled with adavae and cannot be deleted: only own adapter sets can"
            raise ServiceError(409, "adapter_bundled", message, param="adapter")
        serving_default = [own for own in self._versions_of(self._default) if own.problem is None]
        if serving_default and all(own in chosen for own in serving_default):
            raise ServiceError(
                409,
                "adapter_is_default",
                f"{reference} serves requests that name no adapter set and nothing else is called {self._default}: set "
                "ADAVAE_DEFAULT_ADAPTER to another one first",
                param="adapter",
            )

    async def _delete_from_disk(self, version: InstalledVersion) -> None:
        try:
            await asyncio.to_thread(self._store.delete, version.reference)
        except FileNotFoundError:
            _log.info("adapter set deleted by others", adapter=version.reference)
        except OSError as exc:
            message = f"{version.reference} cannot be deleted ({exc.strerror}): look at the rights of the data volume"
            raise ServiceError(409, "adapter_not_deletable", message, param="adapter") from exc
        else:
            _log.info("adapter set deleted", adapter=version.reference)

    async def _pinned(self, reference: str) -> tuple[SlotEntry, PinnedAdapter]:
        """Pins the best version that can be loaded; each that cannot is refused on the way."""
        if not self._versions_of(reference):
            await self._look_again()  # it may have been published since the last look
        while True:
            version = self._resolve(reference)
            place = self._slots.pin(version)
            try:
                slot = await place.ready()
            except BaseException as exc:
                self._slots.unpin(place)
                if not isinstance(exc, REFUSALS):
                    raise
                continue
            manifest = version.manifest
            assert manifest is not None  # what has none has a problem and is in no slot
            space = self._spaces[version.digest]
            adapter = PinnedAdapter(
                version.name, version.version, version.digest, slot, manifest.config, manifest, space
            )
            return place, adapter

    async def _load(self, slot: int, version: InstalledVersion) -> None:
        """Reads, verifies and loads; a version that does not pass is refused from now on."""
        try:
            adapter_set = await self._verified(version)
            space = space_of(adapter_set)
            await self._put(slot, adapter_set)
        except REFUSALS as exc:
            self._refuse(version, exc)
            raise
        self._spaces[version.digest] = space
        self._counters.adapter_loads_total.inc()

    async def _put(self, slot: int, adapter_set: AdapterSet) -> None:
        """Loads, with as many idle sets unloaded before as that takes; raises as the bank does."""
        while True:
            try:
                return await self._bank.load(slot, adapter_set)
            except BankFull:
                if not await self._unload():
                    raise

    async def _verified(self, version: InstalledVersion) -> AdapterSet:
        """Every byte of a set, checked; used once before it may serve."""
        adapter_set = await asyncio.to_thread(alone(self._read), version)
        if version.digest not in self._tried:
            await self._bank.try_out(adapter_set)
            self._tried.add(version.digest)
        return adapter_set

    def _read(self, version: InstalledVersion) -> AdapterSet:
        try:
            return read_adapter_set(version.path, lambda manifest: self._accept(version, manifest))
        except OSError as exc:
            raise WeightsCorrupted(f"{version.path} cannot be read ({exc.strerror})") from exc

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
                await self._verified(version)
            except REFUSALS as exc:
                version.problem = Problem.of(exc)
            except ServiceError as exc:
                _log.info("adapter set could not be tried yet", adapter=version.reference, reason=str(exc))
                return
            except Exception as exc:  # whatever one set brings about, the others are looked at
                _log.error("adapter set could not be checked", adapter=version.reference, exc_info=exc)
                message = f"{version.reference} cannot be checked ({type(exc).__name__}: {exc}): install the set again"
                version.problem = Problem.of(WeightsCorrupted(message))
        if version.problem is None:
            self._list(version)
            _log.info("adapter set found", adapter=version.reference)
        elif not version.has_changed():  # else it is being copied or deleted, and the next look decides
            self._list_refused(version)

    def _refuse(self, version: InstalledVersion, error: AdaVAEError) -> None:
        """A listed version turns out not to be usable; where its files have changed since, the next look counts it."""
        if self._versions.get(str(version.path)) is not version:
            return
        if isinstance(error, AdapterSetNotFound):
            self._unlist(version)
            return
        version.problem = Problem.of(error)
        if not version.has_changed():
            self._list_refused(version)

    def _list_refused(self, version: InstalledVersion) -> None:
        """Lists a version with its problem, counted once for as long as its files do not change."""
        assert version.problem is not None
        former = self._versions.get(str(version.path))
        is_known = former is not None and former is not version and former.problem and former.stamp == version.stamp
        self._list(version)
        if not is_known:
            self._counters.adapter_failures_total.inc()
            _log.warning("adapter set refused", adapter=version.reference, problem=version.public_problem)

    def _can_be_checked_later(self, version: InstalledVersion) -> bool:
        """Whether nothing else of that name can serve meanwhile, so that listing it at once takes nothing away."""
        return version.problem is None and version.name not in self._by_name

    def _list(self, version: InstalledVersion) -> None:
        former = self._versions.get(str(version.path))
        others = [own for own in self._by_name.get(version.name, []) if own is not former and own is not version]
        self._versions[str(version.path)] = version
        self._by_name[version.name] = sorted([version, *others], key=lambda own: own.rank, reverse=True)

    def _unlist(self, version: InstalledVersion) -> None:
        if self._versions.get(str(version.path)) is not version:
            return
        del self._versions[str(version.path)]
        self._by_name[version.name].remove(version)
        if not self._by_name[version.name]:
            del self._by_name[version.name]

    def _resolve(self, reference: str) -> InstalledVersion:
        fitting = self._fitting(reference)
        version = self._serving(fitting)
        if version is None:
            problem = fitting[0].problem
            assert problem is not None  # or it would serve
            raise problem.kind(f"{fitting[0].reference} cannot be used: {fitting[0].public_problem}")
        return version

    def _serving(self, versions: Sequence[InstalledVersion]) -> InstalledVersion | None:
        """The best one that is whole; where none is, one that was loaded before its files were damaged."""
        whole = next((own for own in versions if own.problem is None), None)
        return whole or next((own for own in versions if self._slots.holds(own.digest)), None)

    def _versions_of(self, reference: str) -> list[InstalledVersion]:
        """What ``reference`` can mean, the best first; may be nothing."""
        name, _, version = reference.partition("@")
        return [own for own in self._by_name.get(name, []) if not version or own.version == version]

    def _fitting(self, reference: str) -> list[InstalledVersion]:
        fitting = self._versions_of(reference)
        if not fitting:
            raise not_found(reference, (own for versions in self._by_name.values() for own in versions))
        return fitting

    def _states(self, versions: Sequence[InstalledVersion]) -> list[AdapterState]:
        default = self._serving(self._versions_of(self._default))
        current = {own.name: self._serving(self._versions_of(own.name)) for own in versions}
        return [self._state(own, is_default=own is default, is_current=own is current[own.name]) for own in versions]

    def _state(self, version: InstalledVersion, *, is_default: bool, is_current: bool) -> AdapterState:
        manifest = version.manifest
        preset = manifest.training.get("preset") if manifest else None
        return AdapterState(
            name=version.name,
            version=version.version,
            latent_size=manifest.config.latent_size if manifest else None,
            labels=tuple(manifest.config.labels) if manifest else (),
            kind=preset if isinstance(preset, str) else None,
            metrics=_numbers(manifest.metrics) if manifest else {},
            backbone_digest=manifest.backbone_digest if manifest else None,
            created_at=manifest.created_at if manifest else None,
            is_bundled=version.is_bundled,
            is_default=is_default,
            is_current=is_current,
            is_loaded=self._slots.holds(version.digest),
            problem=version.public_problem,
        )

    def _forget(self, version: InstalledVersion) -> None:
        del self._spaces[version.digest]
        self._counters.adapter_evictions_total.inc()
        _log.debug("adapter set evicted", adapter=version.reference)

    async def _refresh_forever(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            try:
                await self.refresh()
            except OSError as exc:
                _log.error("looking for adapter sets failed", error=repr(exc), remedy="look after the volume")
            except Exception as exc:  # the loop is an edge: whatever one look met, the next one is made
                _log.error("looking for adapter sets failed", error=repr(exc), exc_info=exc)


def _each_once(versions: Sequence[InstalledVersion]) -> list[InstalledVersion]:
    """An own copy of a bundled version stands for both, unless only the bundled one is whole."""
    once: dict[str, InstalledVersion] = {}
    for own in versions:
        other = once.get(own.version)
        if other is None or (other.problem and not own.problem):
            once[own.version] = own
    return list(once.values())


def _numbers(metrics: Mapping[str, object]) -> dict[str, float]:
    """The figures among a manifest's metrics; notes and nested ones are left out."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
