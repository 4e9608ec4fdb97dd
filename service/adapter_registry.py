"""Which adapter sets there are, which version a name means, and which slot of the engine's bank each stands in.

    scan (every ``refresh_s``) -> verify new versions -> a name moves on -> acquire: load into a slot, pin, release

A version is served only after every byte of it was checked; where that fails the one before goes on serving. A request
keeps the version it acquired to its end.
"""

import asyncio
import contextlib
import difflib
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from model.adapter_set import (
    MANIFEST,
    TENSORS,
    AdapterSet,
    Manifest,
    check_fits,
    read_adapter_set,
    read_manifest,
)
from model.adapter_store import AdapterStore
from model.config import AdapterConfig
from model.errors import AdapterSetMismatch, AdapterSetNotFound, AdaVAEError, WeightsCorrupted
from service.errors import Overloaded, ServiceError
from service.results import AdapterState

_log = structlog.get_logger("adavae.adapters")
_VERIFIED_AT_START = 64  # more would make the start slow; the rest is verified when it is first asked for


class AdapterBankSlots(Protocol):
    """What the registry asks of the engine."""

    @property
    def num_slots(self) -> int: ...

    async def load(self, slot: int, adapter_set: AdapterSet) -> None:
        """Puts a set into a slot that no row uses."""
        ...


class AdapterCounters(Protocol):
    """What the registry counts; ``service.metrics.Metrics`` has them."""

    adapter_loads_total: Any
    adapter_evictions_total: Any
    adapter_failures_total: Any


@dataclass(frozen=True, slots=True)
class PinnedAdapter:
    """One version of an adapter set, in a slot that stays its own while it is pinned.

    Attributes:
        digest: Names the exact content: part of every cache key.
        slot: In the engine's bank.
    """

    name: str
    version: str
    digest: str
    slot: int
    config: AdapterConfig
    manifest: Manifest

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(eq=False, slots=True)
class _Version:
    """One version on disk.

    Attributes:
        stamp: Of its manifest file; another one means that it was replaced.
        manifest: None where it cannot be read.
        problem: Why it is refused, or None.
        is_verified: Whether every byte was checked.
    """

    name: str
    version: str
    path: Path
    is_bundled: bool
    stamp: tuple[int, int, int]
    manifest: Manifest | None = None
    problem: str | None = None
    is_verified: bool = False

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def created_at(self) -> str:
        return self.manifest.created_at if self.manifest else ""

    @property
    def digest(self) -> str:
        assert self.manifest is not None  # asked only of versions that may serve
        content = f"{self.reference}|{self.manifest.files[TENSORS].sha256}"
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(eq=False, slots=True)
class _Slot:
    """One place of the bank: what stands in it, how many requests use it, and the load under way."""

    number: int
    digest: str | None = None
    pins: int = 0
    loading: "asyncio.Task[None] | None" = None

    @property
    def is_evictable(self) -> bool:
        return self.pins == 0 and self.loading is None


class AdapterRegistry:
    """Adapter sets by name for every request, kept up with what is on disk; used from one event loop."""

    def __init__(
        self,
        store: AdapterStore,
        bank: AdapterBankSlots,
        *,
        default: str,
        backbone_digest: str,
        tokenizer_digest: str,
        refresh_s: float,
        counters: AdapterCounters,
        wait_s: float = 5.0,
    ) -> None:
        """Looks at nothing yet.

        Args:
            store: Where the sets are.
            bank: Where they are loaded.
            default: The set of requests that name none.
            backbone_digest: Sets over another backbone are refused.
            tokenizer_digest: Likewise.
            refresh_s: Seconds between two looks at the directories.
            counters: Of loads, evictions and refused versions.
            wait_s: Longest wait for a slot while all are in use.
        """
        self._store, self._bank, self._counters = store, bank, counters
        self._default, self._refresh_s, self._wait_s = default, refresh_s, wait_s
        self._backbone_digest, self._tokenizer_digest = backbone_digest, tokenizer_digest
        self._versions: dict[Path, _Version] = {}
        self._by_name: dict[str, list[_Version]] = {}
        self._slots = [_Slot(number) for number in range(bank.num_slots)]
        self._loaded: OrderedDict[str, _Slot] = OrderedDict()  # least recently used first
        self._freed = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Finds and verifies what is installed, then keeps looking."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="adapter registry")

    async def stop(self) -> None:
        """Stops looking, and waits for loads under way."""
        tasks = [slot.loading for slot in self._slots if slot.loading is not None]
        if self._task is not None:
            self._task.cancel()
            tasks.append(self._task)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            try:
                await self.refresh()
            except OSError as exc:  # the volume may come back
                _log.warning("adapter sets cannot be listed", error=str(exc))

    async def refresh(self) -> None:
        """One look at the directories: new versions are verified before their names move on to them."""
        async with self._refreshing:
            found = await asyncio.to_thread(self._scan)
            new = [version for path, version in found.items() if self._versions.get(path) is not version]
            if len(new) <= _VERIFIED_AT_START:
                await asyncio.to_thread(self._verify_all, new)
            for version in new:
                self._note(version)
            self._versions = found
            self._by_name = _by_name(found.values())

    def _scan(self) -> dict[Path, _Version]:
        """Every version by its directory; an unchanged one is the object known already. Runs in a thread."""
        found: dict[Path, _Version] = {}
        for root, is_bundled in [(self._store.root, False), *((root, True) for root in self._store.bundled)]:
            for path in _version_directories(root):
                stamp = _stamp(path / MANIFEST)
                if stamp is None:
                    continue
                known = self._versions.get(path)
                is_unchanged = known is not None and known.stamp == stamp
                found[path] = known if is_unchanged and known else _read(path, is_bundled, stamp)
        return found

    def _verify_all(self, versions: Sequence[_Version]) -> None:
        for version in versions:
            if version.manifest is not None:
                self._read_verified(version)

    def _read_verified(self, version: _Version) -> AdapterSet | None:
        """The set, checked whole, or None with ``problem`` set. Runs in a thread."""
        try:
            adapter_set = read_adapter_set(version.path)
            check_fits(adapter_set.manifest, self._backbone_digest, self._tokenizer_digest)
        except (AdaVAEError, OSError) as exc:
            version.problem = str(exc)
            return None
        version.is_verified = True
        return adapter_set

    def _note(self, version: _Version) -> None:
        if version.problem is None:
            _log.info("adapter set found", adapter=version.reference, is_bundled=version.is_bundled)
            return
        self._counters.adapter_failures_total.inc()
        _log.warning("adapter set refused", adapter=version.reference, problem=version.problem)

    @contextlib.asynccontextmanager
    async def acquire(self, reference: str | None) -> AsyncIterator[PinnedAdapter]:
        """One version, loaded and pinned for the time of a request.

        Args:
            reference: ``name`` or ``name@version``; None for the default.

        Raises:
            AdapterSetNotFound: No such set.
            AdapterSetMismatch: It was trained over another backbone.
            WeightsCorrupted: It is damaged, and no other version was meant.
            Overloaded: Every slot of the bank stayed in use.
        """
        version, slot = await self._pinned(reference or self._default)
        try:
            assert version.manifest is not None  # a version without one is not served
            yield PinnedAdapter(
                version.name, version.version, version.digest, slot.number, version.manifest.config, version.manifest
            )
        finally:
            self._unpin(slot)

    async def _pinned(self, reference: str) -> tuple[_Version, _Slot]:
        """Tries the versions that ``reference`` can mean, best first, until one loads."""
        while True:
            version = self._resolve(reference)
            try:
                return version, await self._pin(version)
            except (AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted) as exc:
                if version.problem is None:
                    version.problem = str(exc)
                    self._note(version)

    def _resolve(self, reference: str) -> _Version:
        name, _, wanted = reference.partition("@")
        fitting = [own for own in self._by_name.get(name, []) if not wanted or own.version == wanted]
        if not fitting:
            raise AdapterSetNotFound(self._not_found(reference))
        serving = next((version for version in fitting if version.problem is None), None)
        if serving is None:
            raise WeightsCorrupted(f"{fitting[0].reference} cannot be served: {fitting[0].problem}")
        return serving

    async def _pin(self, version: _Version) -> _Slot:
        digest = version.digest
        try:
            async with asyncio.timeout(self._wait_s):
                while (slot := self._loaded.get(digest) or self._emptied(digest, version)) is None:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise Overloaded(
                f"all {len(self._slots)} slots for adapter sets are in use (ADAVAE_BANK_SLOTS): try again later"
            ) from None
        self._loaded.move_to_end(digest)
        slot.pins += 1
        try:
            if slot.loading is not None:
                await asyncio.shield(slot.loading)
        except BaseException:
            self._unpin(slot)
            raise
        return slot

    def _emptied(self, digest: str, version: _Version) -> _Slot | None:
        """A slot in which ``version`` is being loaded from now on, or None while all are in use."""
        free = next((slot for slot in self._slots if slot.digest is None and slot.is_evictable), None)
        slot = free or next((slot for slot in self._loaded.values() if slot.is_evictable), None)
        if slot is None:
            return None
        if slot.digest is not None:
            del self._loaded[slot.digest]
            self._counters.adapter_evictions_total.inc()
        slot.digest = digest
        self._loaded[digest] = slot
        slot.loading = asyncio.create_task(self._load(slot, version), name=f"load {version.reference}")
        slot.loading.add_done_callback(_retrieved)
        return slot

    async def _load(self, slot: _Slot, version: _Version) -> None:
        """Goes on when the request that began it goes away: others may wait for it."""
        try:
            adapter_set = await asyncio.to_thread(self._read_verified, version)
            if adapter_set is None:
                self._note(version)
                raise WeightsCorrupted(version.problem or f"{version.reference} cannot be read")
            await self._bank.load(slot.number, adapter_set)
            self._counters.adapter_loads_total.inc()
        except BaseException:
            if slot.digest is not None:
                del self._loaded[slot.digest]
            slot.digest = None
            raise
        finally:
            slot.loading = None
            self._freed.set()

    def _unpin(self, slot: _Slot) -> None:
        slot.pins -= 1
        self._freed.set()

    def states(self) -> list[AdapterState]:
        """Every installed version: by name, the serving one first."""
        return [
            self._state(version, is_current=version is _serving(versions))
            for _, versions in sorted(self._by_name.items())
            for version in versions
        ]

    def _state(self, version: _Version, *, is_current: bool) -> AdapterState:
        manifest = version.manifest
        default_name, _, default_version = self._default.partition("@")
        is_default = version.name == default_name and (
            version.version == default_version if default_version else is_current
        )
        return AdapterState(
            name=version.name,
            version=version.version,
            latent_size=manifest.config.latent_size if manifest else None,
            labels=manifest.config.labels if manifest else (),
            kind=manifest.training.get("preset") if manifest else None,
            metrics=_figures(manifest.metrics) if manifest else {},
            backbone_digest=manifest.backbone_digest if manifest else None,
            created_at=manifest.created_at if manifest else None,
            is_bundled=version.is_bundled,
            is_default=is_default,
            is_current=is_current,
            is_loaded=version.problem is None and manifest is not None and version.digest in self._loaded,
            problem=version.problem,
        )

    def names_with_labels(self) -> list[str]:
        """Names whose serving version has a classification head."""
        return [state.name for state in self.states() if state.is_current and state.labels]

    async def delete(self, reference: str) -> list[AdapterState]:
        """Removes ``name@version``, or every own version of ``name``, from the disk.

        Raises:
            AdapterSetNotFound: No such set.
            ServiceError: 409 where it is bundled, or where requests that name no set would lose theirs.
        """
        name, _, wanted = reference.partition("@")
        versions = self._by_name.get(name, [])
        meant = [own for own in versions if not wanted or own.version == wanted]
        if not meant:
            raise AdapterSetNotFound(self._not_found(reference))
        doomed = [version for version in meant if not version.is_bundled]
        if not doomed:
            message = f"{meant[0].reference} is bundled with adavae and cannot be deleted"
            raise ServiceError(409, "adapter_bundled", message, param="name")
        if name == self._default.partition("@")[0] and len(doomed) == len(versions):
            message = f"{name} is the default adapter set: make another one the default first (ADAVAE_DEFAULT_ADAPTER)"
            raise ServiceError(409, "adapter_is_default", message, param="name")
        states = [self._state(version, is_current=version is _serving(versions)) for version in doomed]
        for version in doomed:
            await asyncio.to_thread(self._store.delete, version.reference)
        await self.refresh()
        return states

    def _not_found(self, reference: str) -> str:
        name, _, wanted = reference.partition("@")
        versions = [version.version for version in self._by_name.get(name, [])]
        if versions:
            return f"{name} has no version {wanted!r}; it has {', '.join(versions[:10])}"
        names = sorted(self._by_name)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        installed = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
        return f"no adapter set {reference!r} is installed; {hint}installed: {installed or 'none'}"


def _version_directories(root: Path) -> list[Path]:
    """``root/<name>/<version>``; hidden ones are not finished yet."""
    return sorted(root.glob("[!.]*/[!.]*/")) if root.is_dir() else []


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path, is_bundled: bool, stamp: tuple[int, int, int]) -> _Version:
    version = _Version(path.parent.name, path.name, path, is_bundled, stamp)
    try:
        version.manifest = read_manifest(path)
        if version.manifest.reference != version.reference:
            raise WeightsCorrupted(f"the directory holds {version.manifest.reference}")
    except (AdaVAEError, OSError) as exc:
        version.manifest, version.problem = None, str(exc)
    return version


def _by_name(versions: Iterable[_Version]) -> dict[str, list[_Version]]:
    """Versions of each name, best first: that can serve, the user's own, the newest."""
    named: dict[str, list[_Version]] = {}
    for version in sorted(versions, key=lambda own: own.created_at, reverse=True):
        named.setdefault(version.name, []).append(version)
    for own in named.values():
        own.sort(key=lambda version: (version.problem is not None, version.is_bundled))
    return named


def _serving(versions: Sequence[_Version]) -> _Version | None:
    return next((version for version in versions if version.problem is None), None)


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def _retrieved(task: "asyncio.Task[None]") -> None:
    """A load that failed is no surprise to anybody who waits for it, nor to asyncio where nobody does."""
    if not task.cancelled():
        task.exception()
