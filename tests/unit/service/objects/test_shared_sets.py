"""Adapter sets in an object store: seen whole or not at all, fetched when they are read, trusted as a disk is."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted
from adavae.model.storage import atomic
from adavae.model.storage.adapter_set import check_adapter_set, read_adapter_set
from adavae.model.storage.installed import InstalledVersion
from adavae.model.storage.manifest import MANIFEST, TENSORS
from adavae.service.errors import ServiceError
from adavae.service.objects.errors import StoreError
from adavae.service.objects.object_store import ObjectStore
from adavae.service.objects.published_sets import PublishedSets
from adavae.service.objects.set_index import SetIndex, SetKey
from adavae.service.objects.shared_sets import SharedSets
from tests.tiny_sets import publish
from tests.unit.service.adapters.adapter_home import NEWER, running
from tests.unit.service.adapters.adapter_home import Home as Registry
from tests.unit.service.objects.memory_objects import Bucket, needs_obstore

pytestmark = needs_obstore


class Home:
    """Machines that share a bucket, each with a cache of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.bucket, self.bundled = root, Bucket(), root / "bundled"

    def machine(self, name: str, max_bytes: int = 10**9) -> SharedSets:
        return SharedSets(self.bucket.opened(), self.root / name, [self.bundled], max_bytes)

    def made(self, **fields: str) -> Path:
        """A set on the disk of whoever makes it."""
        return publish(self.root / "made", **fields)  # type: ignore[arg-type]

    def put(self, **fields: str) -> str:
        """Imports one into the store; gives its version."""
        return self.machine("maker").import_set(self.made(**fields)).version


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def references(sets: SharedSets) -> list[str]:
    return [entry.reference for entry in sets.list()]


def test_what_one_machine_imports_another_reads(home: Home) -> None:
    version = home.put()
    other = home.machine("other")
    assert references(other) == [f"demo@{version}"]
    assert not (home.root / "other" / "demo" / version / TENSORS).exists()
    assert other.read("demo").manifest.version == version
    assert check_adapter_set(home.root / "other" / "demo" / version).version == version
    assert [problem for _, problem in other.verify()] == [None]


def test_the_name_means_what_was_published_last_whatever_dates_say(home: Home) -> None:
    home.put(created_at=NEWER)
    older = home.put()
    assert home.machine("other").resolve("demo").version == older


def test_nobody_sees_a_set_before_the_index_names_it(home: Home) -> None:
    """Its publisher was killed after the files and before the index."""
    path = home.made()
    PublishedSets(home.bucket.opened()).send_files(path, check_adapter_set(path))
    assert references(home.machine("other")) == []
    home.machine("maker").import_set(path)
    assert references(home.machine("other")) == [f"demo@{path.name}"]


def test_an_imported_set_goes_by_its_other_name_everywhere(home: Home) -> None:
    entry = home.machine("maker").import_set(home.made(), name="other")
    assert entry.name == "other"
    assert home.machine("elsewhere").read("other").manifest.reference == entry.reference


def test_a_deleted_set_is_gone_everywhere_with_its_files(home: Home) -> None:
    home.put()
    other = home.machine("other")
    other.read("demo")
    home.machine("maker").delete("demo")
    assert references(other) == []
    assert home.bucket.keys() == ["sets.json"]
    assert not list((home.root / "other").rglob(TENSORS))
    with pytest.raises(AdapterSetNotFound):
        other.delete("demo")


def test_a_set_that_somebody_brings_in_while_it_is_deleted_keeps_its_files(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files went after it had been published again."""
    version = home.put()
    original = SetIndex.remove

    def removed_and_back(index: SetIndex, key: SetKey) -> None:
        original(index, key)
        home.put()

    monkeypatch.setattr(SetIndex, "remove", removed_and_back)
    home.machine("another").delete("demo")
    monkeypatch.undo()
    assert home.machine("other").read("demo").manifest.version == version


def test_bundled_sets_are_there_too_and_stay(home: Home) -> None:
    publish(home.bundled, name="bundled")
    home.put()
    sets = home.machine("other")
    assert [entry.name for entry in sets.list()] == ["bundled", "demo"]
    assert sets.read("bundled").manifest.name == "bundled"
    with pytest.raises(AdapterSetMismatch, match="cannot be deleted"):
        sets.delete("bundled")


def test_an_archive_of_it_is_whole(home: Home) -> None:
    home.put()
    archive = home.machine("other").export_set("demo", home.root / "demo.tar.gz")
    third = Home(home.root / "third").machine("maker")
    assert third.import_set(archive).name == "demo"
    assert home.machine("another").card("demo").startswith("# demo")


@pytest.mark.parametrize("name", [TENSORS, "README.md"])
@pytest.mark.parametrize("content", [b"", b"no file of a set", b"x" * 10**6])
def test_a_damaged_file_in_the_store_is_refused(home: Home, name: str, content: bytes) -> None:
    version = home.put()
    home.bucket.plant(f"adapters/demo/{version}/{name}", content)
    with pytest.raises(WeightsCorrupted):
        home.machine("other").read("demo")


@pytest.mark.parametrize("content", [b"", b"{}", b"x" * (5 * 1024**2)], ids=["empty", "other", "large"])
def test_a_damaged_manifest_hides_no_other_set(home: Home, content: bytes) -> None:
    home.put(name="good")
    version = home.put(name="bad")
    home.bucket.plant(f"adapters/bad/{version}/{MANIFEST}", content)
    sets = home.machine("other")
    problems = {entry.name: entry.problem for entry in sets.list()}
    assert problems["good"] is None and problems["bad"] is not None
    assert sets.read("good").manifest.name == "good"
    with pytest.raises(problems["bad"].kind):
        sets.read("bad")


def test_a_set_whose_files_have_gone_is_refused_and_can_be_brought_back(home: Home) -> None:
    version = home.put()
    home.bucket.opened().delete([f"adapters/demo/{version}/{TENSORS}"])
    with pytest.raises(WeightsCorrupted, match="not whole in the object store"):
        home.machine("other").read("demo")
    home.put()
    assert home.machine("other").read("demo").manifest.version == version


def test_with_room_for_one_set_each_is_fetched_in_turn(home: Home) -> None:
    for name in ("one", "two"):
        home.put(name=name)
    sets = home.machine("other", max_bytes=300)
    for name in ("one", "two", "one"):
        assert sets.read(name).manifest.name == name
        assert [path.parts[-3] for path in (home.root / "other").rglob(TENSORS)] == [name]


def test_files_that_another_process_evicts_are_fetched_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.put()
    sets, original = home.machine("other"), SharedSets.files_of
    evictions = [True, True]

    def evicted(self: SharedSets, entry: object) -> Path:
        path = original(self, entry)  # type: ignore[arg-type]
        if evictions and evictions.pop():
            (path / TENSORS).unlink()
        return path

    monkeypatch.setattr(SharedSets, "files_of", evicted)
    assert sets.read("demo").manifest.name == "demo"
    assert not evictions


def test_a_store_that_is_gone_is_a_503_that_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.put()
    sets = home.machine("other")
    entry = sets.resolve("demo")

    def gone(*_arguments: object) -> None:
        raise StoreError("unreachable", "memory://bucket", "error sending request")

    for method in ("fetch", "newer", "send", "delete"):
        monkeypatch.setattr(ObjectStore, method, gone)
    for use in (lambda: sets.read_version(entry), lambda: sets.remove(entry), lambda: sets.card("demo"), sets.list):
        with pytest.raises(ServiceError, match="cannot be reached") as caught:
            use()
        assert (caught.value.status, caught.value.code) == (503, "storage_unreachable")
    with pytest.raises(OSError, match="cannot be reached"):
        sets.scan({})


def test_a_full_disk_of_this_machine_is_a_503_that_shows_no_path(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: it was a 500 with a traceback."""
    home.put()
    sets = home.machine("other")
    entry = sets.resolve("demo")
    uses = (lambda: sets.read_version(entry), lambda: sets.card("demo"), lambda: sets.verified_files("demo"))
    for use in uses:
        with monkeypatch.context() as patched:
            patched.setattr(atomic, "_write_and_sync", _full)
            check_full(use)
    (entry.path / MANIFEST).unlink()
    monkeypatch.setattr(Path, "write_bytes", _full)
    check_full(lambda: sets.read_version(entry))


def check_full(use: Callable[[], object]) -> None:
    with pytest.raises(ServiceError) as caught:
        use()
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "storage_full", 30)
    assert "/" not in caught.value.message


@pytest.mark.asyncio
async def test_a_registry_calls_no_set_damaged_where_this_machines_disk_is_full(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = home.put()
    registry = Registry(home.root / "registry", store=home.machine("other"))
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "_write_and_sync", _full)
        async with running(registry):
            assert registry.registry.states() == []
            patched.undo()
            await registry.registry.refresh()
            assert await registry.version() == version
            newer = home.put(created_at=NEWER)
            patched.setattr(atomic, "_write_and_sync", _full)
            await registry.registry.refresh()
            assert await registry.version() == version
            patched.undo()
            await registry.registry.refresh()
            assert await registry.version() == newer


@pytest.mark.asyncio
async def test_a_registry_serves_what_is_published_and_goes_on_while_the_store_is_gone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = home.put()
    registry = Registry(home.root / "registry", store=home.machine("other"))
    async with running(registry):
        assert await registry.version() == version
        newer = home.put(created_at=NEWER)
        with monkeypatch.context() as patched:
            patched.setattr(ObjectStore, "newer", _unreachable)
            patched.setattr(ObjectStore, "fetch", _unreachable)
            with pytest.raises(OSError, match="cannot be reached"):
                await registry.registry.refresh()
            assert await registry.version() == version
        with monkeypatch.context() as patched:
            patched.setattr(ObjectStore, "fetch", _unreachable)
            await registry.registry.refresh()
            assert await registry.version() == version
        await registry.registry.refresh()
        assert await registry.version() == newer


@pytest.mark.asyncio
async def test_what_was_deleted_before_the_store_went_is_deleted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.put()
    home.put(name="other")
    sets = home.machine("other")
    registry, remove = Registry(home.root / "registry", store=sets), sets.remove

    def remove_last(entry: InstalledVersion) -> None:
        remove(entry)
        monkeypatch.setattr(ObjectStore, "newer", _unreachable)

    async with running(registry):
        monkeypatch.setattr(sets, "remove", remove_last)
        assert [state.name for state in await registry.registry.delete("other")] == ["other"]
        assert [state.name for state in registry.registry.states()] == ["demo"]


@pytest.mark.asyncio
async def test_nothing_is_deleted_while_the_store_is_gone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.put()
    home.put(name="other")
    registry = Registry(home.root / "registry", store=home.machine("other"))
    async with running(registry):
        monkeypatch.setattr(ObjectStore, "newer", _unreachable)
        with pytest.raises(ServiceError, match="cannot be reached") as caught:
            await registry.registry.delete("other")
        assert (caught.value.status, caught.value.code) == (503, "storage_unreachable")
        assert [state.name for state in registry.registry.states()] == ["demo", "other"]


@pytest.mark.asyncio
async def test_eviction_from_the_cache_is_no_change_of_a_set(home: Home) -> None:
    version = home.put()
    registry = Registry(home.root / "registry", store=home.machine("other"))
    async with running(registry):
        assert await registry.version() == version
        shutil.rmtree(home.root / "other")
        tried = list(registry.bank.tried)
        await registry.registry.refresh()
        assert await registry.version() == version
        assert registry.bank.tried == tried


def test_what_was_made_here_is_put_in_place_without_being_fetched(home: Home) -> None:
    version = home.put()
    path = home.root / "maker" / "demo" / version
    assert read_adapter_set(path).manifest.version == version


def _full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _unreachable(*_arguments: object) -> None:
    raise StoreError("unreachable", "memory://bucket", "error sending request")
