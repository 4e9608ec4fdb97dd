"""Finding, checking, moving and deleting adapter sets by name."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from adavae.model.errors import (
    AdapterSetExists,
    AdapterSetMismatch,
    AdapterSetNotFound,
    AdaVAEError,
    ConfigError,
    StorageFull,
    WeightsCorrupted,
)
from adavae.model.storage import adapter_store
from adavae.model.storage.adapter_set import read_adapter_set
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.installed import InstalledVersion
from adavae.model.storage.manifest import CARD, MANIFEST, MAX_TEXT_BYTES, TENSORS
from tests.tiny_sets import edit_manifest, forge_manifest, names_under, publish

OLD, NEW, NEWEST = (f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))
FILES = (TENSORS, MANIFEST, CARD)
Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "own", bundled=[tmp_path / "bundled", tmp_path / "also-bundled"])


@pytest.fixture
def elsewhere(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "elsewhere")


def spoil(path: Path, name: str = TENSORS) -> None:
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def file_member(name: str, content: bytes = b"content") -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def link_member(name: str, target: str, kind: bytes) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def set_members(path: Path, folder: str = "demo/1/") -> list[Member]:
    return [file_member(folder + name, (path / name).read_bytes()) for name in FILES]


def write_archive(destination: Path, members: Sequence[Member]) -> Path:
    with tarfile.open(destination, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return destination


def _facts(entry: InstalledVersion) -> tuple[object, ...]:
    """All of it but when its files were written."""
    return (entry.reference, entry.path, entry.is_bundled, entry.manifest, entry.digest, entry.problem)


def test_an_empty_store_says_how_to_fill_it(store: AdapterStore) -> None:
    assert store.list() == []
    assert store.verify() == []
    with pytest.raises(AdapterSetNotFound, match=r"no adapter set 'demo': none is installed.*adavae train"):
        store.resolve("demo")


def test_sets_are_listed_by_name_the_newest_first_and_own_before_bundled(store: AdapterStore) -> None:
    newest = publish(store.bundled[0], created_at=NEWEST)
    old, new = publish(store.root, created_at=OLD), publish(store.root, created_at=NEW)
    other = publish(store.bundled[1], name="another")
    entries = store.list()
    assert [entry.path for entry in entries] == [other, new, old, newest]
    assert [entry.is_bundled for entry in entries] == [True, False, False, True]
    assert [entry.reference for entry in entries] == [
        f"{path.parent.name}@{path.name}" for path in (other, new, old, newest)
    ]
    assert all(entry.problem is None and entry.manifest is not None for entry in entries)


def test_a_name_means_the_newest_of_the_users_own(store: AdapterStore) -> None:
    bundled = publish(store.bundled[0], created_at=NEWEST)
    assert store.resolve("demo").path == bundled
    old = publish(store.root, created_at=OLD)
    assert store.resolve("demo").path == old
    new = publish(store.root, created_at=NEW)
    assert store.resolve("demo").path == store.resolve("demo@").path == new
    assert store.read("demo").manifest.created_at == NEW


def test_a_version_means_that_version_wherever_it_stands(store: AdapterStore) -> None:
    bundled, old = publish(store.bundled[1], created_at=NEW), publish(store.root, created_at=OLD)
    publish(store.root, created_at=NEWEST)
    assert store.resolve(f"demo@{bundled.name}").path == bundled
    assert store.resolve(f"demo@{old.name}").path == old


def test_the_same_version_in_both_places_means_the_users_own(store: AdapterStore) -> None:
    bundled, mine = publish(store.bundled[0]), publish(store.root)
    assert bundled.name == mine.name
    assert store.resolve(f"demo@{mine.name}").path == mine


def test_a_name_that_comes_close_is_suggested(store: AdapterStore) -> None:
    publish(store.root, name="yelp-reviews")
    publish(store.bundled[0], name="news")
    with pytest.raises(
        AdapterSetNotFound, match=r"'yelp-review' \(did you mean 'yelp-reviews'\?\).*news, yelp-reviews"
    ):
        store.resolve("yelp-review")
    with pytest.raises(AdapterSetNotFound) as raised:
        store.resolve("qqqq")
    assert "did you mean" not in str(raised.value)
    assert "installed: news, yelp-reviews" in str(raised.value)


def test_a_version_that_is_not_there_names_those_that_are(store: AdapterStore) -> None:
    path = publish(store.root)
    with pytest.raises(AdapterSetNotFound, match=rf"demo has no version 'abc'; installed: {path.name}"):
        store.resolve("demo@abc")


@pytest.mark.parametrize("reference", ["", "@", "../own/demo", "/", "demo/..", ".", "*", "@@", "de mo\n"])
def test_a_reference_that_is_no_name_finds_nothing(store: AdapterStore, reference: str) -> None:
    publish(store.root)
    with pytest.raises(AdapterSetNotFound):
        store.resolve(reference)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: spoil(path, MANIFEST),
        lambda path: (path / MANIFEST).write_bytes(b""),
        lambda path: (path / MANIFEST).write_bytes(b"[" * 100_000),
        lambda path: (path / MANIFEST).unlink(),
        lambda path: edit_manifest(path, lambda values: values.update(format_version=2)),
        lambda path: edit_manifest(path, lambda values: values.update(created_at="later")),
        lambda path: forge_manifest(path, lambda values: values.update(created_at=7)),
    ],
)
def test_a_set_whose_manifest_is_damaged_is_listed_with_its_problem(
    store: AdapterStore, damage: Callable[[Path], object]
) -> None:
    path, intact = publish(store.root, created_at=NEW), publish(store.root, created_at=OLD)
    damage(path)
    whole, broken = store.list()
    assert (whole.path, broken.path) == (intact, path)
    assert whole.problem is None
    assert broken.manifest is None
    assert broken.problem is not None
    assert str(path) in broken.problem.message or "this version reads" in broken.problem.message
    assert store.resolve("demo").path == intact, "a whole version is better than a damaged one"
    with pytest.raises(broken.problem.kind):
        store.resolve(f"demo@{path.name}")
    assert [problem for _, problem in store.verify()] == [None, broken.problem.message]
    assert [problem for _, problem in store.verify(f"demo@{path.name}")] == [broken.problem.message]


@pytest.mark.parametrize("name", [TENSORS, CARD])
def test_damage_beyond_the_manifest_is_found_by_verify_and_read(store: AdapterStore, name: str) -> None:
    path = publish(store.root)
    spoil(path, name)
    ((entry, problem),) = store.verify("demo")
    assert entry.path == path
    assert problem is not None
    assert f"{name} is damaged" in problem
    with pytest.raises(WeightsCorrupted, match=name):
        store.read("demo")


def test_a_set_that_was_moved_is_not_taken_for_another(store: AdapterStore) -> None:
    path = publish(store.root)
    (store.root / "other").mkdir()
    moved = path.rename(store.root / "other" / path.name)
    (entry,) = store.list()
    assert (entry.name, entry.path) == ("other", moved)
    problem = f"{moved} holds demo@{path.name}: move it to where it belongs"
    assert entry.problem is not None
    assert entry.problem.message == problem
    assert [(found.path, told) for found, told in store.verify()] == [(moved, problem)]
    with pytest.raises(WeightsCorrupted, match="move it"):
        store.resolve("other")


def test_what_is_no_set_is_not_listed(store: AdapterStore) -> None:
    path = publish(store.root)
    (store.root / ".staging-0123" / "x").mkdir(parents=True)
    (store.root / ".staging-0123" / "x" / MANIFEST).write_bytes(b"")
    (store.root / "demo" / ".staging-4567").mkdir()
    (store.root / "demo" / ".staging-4567" / TENSORS).write_bytes(b"")
    (store.root / "empty" / "x").mkdir(parents=True)
    (store.root / "notes.txt").write_text("notes")
    assert [entry.path for entry in store.list()] == [path]


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_a_set_that_was_brought_in_is_the_one_that_was_sent(
    store: AdapterStore, elsewhere: AdapterStore, tmp_path: Path, kind: str
) -> None:
    path = publish(elsewhere.root)
    source = path if kind == "directory" else elsewhere.export_set("demo", tmp_path / "demo.tar.gz")
    entry = store.import_set(source)
    assert entry.path == store.root / "demo" / path.name
    assert not entry.is_bundled
    assert {name: (entry.path / name).read_bytes() for name in FILES} == {
        name: (path / name).read_bytes() for name in FILES
    }
    assert len(names_under(store.root)) == 5
    assert _facts(store.import_set(source)) == _facts(entry), "once more is no error"
    assert len(names_under(store.root)) == 5


def test_an_archive_holds_the_set_under_its_name_and_nothing_else(elsewhere: AdapterStore, tmp_path: Path) -> None:
    path = publish(elsewhere.root)
    with tarfile.open(elsewhere.export_set("demo", tmp_path / "demo.tar.gz")) as tar:
        assert sorted(tar.getnames()) == sorted(f"demo/{path.name}/{name}" for name in FILES)


def test_bringing_a_set_in_again_repairs_it(store: AdapterStore, elsewhere: AdapterStore, tmp_path: Path) -> None:
    """Every message on damage says to install the set again, and doing so changed nothing."""
    publish(elsewhere.root)
    archive = elsewhere.export_set("demo", tmp_path / "demo.tar.gz")
    entry = store.import_set(archive)
    for name in FILES:
        spoil(entry.path, name)
        assert _facts(store.import_set(archive)) == _facts(entry)
        read_adapter_set(entry.path)
        (entry.path / name).unlink()
        assert _facts(store.import_set(archive)) == _facts(entry)
        read_adapter_set(entry.path)


@pytest.mark.parametrize("moment", ["number_of", "put_in_place"])
@pytest.mark.parametrize("is_damaged", [True, False])
def test_what_another_process_brings_in_meanwhile_stays(
    store: AdapterStore, elsewhere: AdapterStore, monkeypatch: pytest.MonkeyPatch, moment: str, *, is_damaged: bool
) -> None:
    source = publish(elsewhere.root)
    if is_damaged:
        spoil(store.import_set(source).path)
    brought: list[InstalledVersion] = []
    real = getattr(adapter_store, moment)

    def interrupted(*args: object) -> object:
        monkeypatch.setattr(adapter_store, moment, real)
        brought.append(AdapterStore(store.root).import_set(source))
        return real(*args)

    monkeypatch.setattr(adapter_store, moment, interrupted)
    entry = store.import_set(source)
    assert [_facts(each) for each in brought] == [_facts(entry)]
    assert entry.publication == brought[0].publication
    read_adapter_set(entry.path)
    assert not list(store.root.glob(".staging-*"))


def test_a_damaged_set_that_cannot_be_moved_away_is_named(
    store: AdapterStore, elsewhere: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = publish(elsewhere.root)
    entry = store.import_set(source)
    spoil(entry.path)

    def refused(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(AdapterSetExists, match=f"^{entry.reference} is there, damaged"):
        store.import_set(source)


def test_an_export_overwrites_nothing(elsewhere: AdapterStore, tmp_path: Path) -> None:
    publish(elsewhere.root)
    (tmp_path / "taken").write_bytes(b"mine")
    with pytest.raises(AdapterSetExists, match="taken is there already"):
        elsewhere.export_set("demo", tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"mine"


@pytest.mark.parametrize("name", [TENSORS, CARD])
def test_a_damaged_set_is_not_exported(elsewhere: AdapterStore, tmp_path: Path, name: str) -> None:
    spoil(publish(elsewhere.root), name)
    with pytest.raises(WeightsCorrupted, match=name):
        elsewhere.export_set("demo", tmp_path / "demo.tar.gz")
    assert not (tmp_path / "demo.tar.gz").exists()


def test_a_full_disk_leaves_neither_import_nor_export(
    store: AdapterStore, elsewhere: AdapterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_descriptor: int, _content: memoryview) -> int:
        raise OSError(28, os.strerror(28))

    path = publish(elsewhere.root)
    monkeypatch.setattr("os.write", write)
    with pytest.raises(StorageFull, match="make room"):
        store.import_set(path)
    with pytest.raises(StorageFull, match="make room"):
        elsewhere.export_set("demo", tmp_path / "demo.tar.gz")
    assert names_under(store.root) == []
    assert sorted(mine.name for mine in tmp_path.iterdir()) == ["elsewhere", "own"]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_directory_is_not_brought_in(store: AdapterStore, elsewhere: AdapterStore, name: str) -> None:
    path = publish(elsewhere.root)
    spoil(path, name)
    with pytest.raises(WeightsCorrupted, match=name):
        store.import_set(path)
    (path / name).unlink()
    with pytest.raises(AdapterSetNotFound if name == MANIFEST else WeightsCorrupted, match=name):
        store.import_set(path)
    assert names_under(store.root) == []


def test_what_is_nowhere_is_not_brought_in(store: AdapterStore, tmp_path: Path) -> None:
    with pytest.raises(AdapterSetNotFound, match="there is no file or directory"):
        store.import_set(tmp_path / "nowhere.tar.gz")


HOSTILE: dict[str, Callable[[list[Member]], list[Member]]] = {
    "symbolic link": lambda members: [link_member(f"demo/1/{CARD}", "/etc/hostname", tarfile.SYMTYPE), *members[:2]],
    "symbolic link beside": lambda members: [*members, link_member("demo/1/extra", "/", tarfile.SYMTYPE)],
    "hard link": lambda members: [*members[:2], link_member(f"demo/1/{CARD}", f"demo/1/{TENSORS}", tarfile.LNKTYPE)],
    "device": lambda members: [*members[:2], link_member(f"demo/1/{CARD}", "", tarfile.CHRTYPE)],
    "pipe": lambda members: [*members[:2], link_member(f"demo/1/{CARD}", "", tarfile.FIFOTYPE)],
    "directory": lambda members: [link_member("demo", "", tarfile.DIRTYPE), *members],
    "unknown file": lambda members: [*members, file_member("demo/1/install.sh")],
    "unknown file above": lambda members: [*members, file_member("../../install.sh")],
    "known files above": lambda members: [
        file_member(f"../../{Path(info.name).name}", content) for info, content in members
    ],
    "known files at the root": lambda members: [file_member(f"/{info.name}", content) for info, content in members],
    "known files that lead out": lambda members: [file_member(f"demo/../../{CARD}", members[2][1]), *members[:2]],
    "unknown file at the root": lambda members: [*members, file_member("/tmp/install.sh")],
    "file twice": lambda members: [*members, members[0]],
    "file twice in two folders": lambda members: [*members, file_member(f"other/{MANIFEST}", members[1][1])],
    "nothing": lambda _: [],
    "one file only": lambda members: members[:1],
    "no card": lambda members: members[:2],
    "a name that is all dots": lambda members: [*members, file_member("..")],
    "an empty name": lambda members: [*members, file_member("")],
    "another card": lambda members: [*members[:2], file_member(f"demo/1/{CARD}", b"# another")],
    "an endless card": lambda members: [*members[:2], file_member(f"demo/1/{CARD}", bytes(MAX_TEXT_BYTES + 1))],
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_of_anything_else_is_refused(
    store: AdapterStore, elsewhere: AdapterStore, tmp_path: Path, change: Callable[[list[Member]], list[Member]]
) -> None:
    archive = write_archive(tmp_path / "demo.tar.gz", change(set_members(publish(elsewhere.root))))
    before = names_under(tmp_path)
    with pytest.raises(WeightsCorrupted):
        store.import_set(archive)
    assert [name for name in names_under(tmp_path) if name != "own"] == before


@pytest.mark.parametrize("folder", ["bundled/", "own/demo/", "a/b/c/d/", "./", ""])
def test_folders_that_an_archive_names_are_never_used(
    store: AdapterStore, elsewhere: AdapterStore, tmp_path: Path, folder: str
) -> None:
    path = publish(elsewhere.root)
    archive = write_archive(tmp_path / "demo.tar.gz", set_members(path, folder))
    before = names_under(tmp_path)
    entry = store.import_set(archive)
    assert entry.path == store.root / "demo" / path.name
    assert [name for name in names_under(tmp_path) if name.split("/")[0] != "own"] == before
    assert len(names_under(store.root)) == 5


@pytest.mark.parametrize("name", ["../outside", "/outside", "../bundled/demo", "a/../../outside", ".."])
def test_a_set_that_calls_itself_a_path_is_refused(
    store: AdapterStore, elsewhere: AdapterStore, tmp_path: Path, name: str
) -> None:
    """Its manifest vouched for itself, and it was installed outside the store."""
    path = publish(elsewhere.root)
    own_name = str(tmp_path / "outside") if name == "/outside" else name
    forge_manifest(path, lambda values: values.update(name=own_name))
    before = names_under(tmp_path)
    for source in (path, write_archive(tmp_path / "demo.tar.gz", set_members(path))):
        with pytest.raises(WeightsCorrupted, match="must be 1 to 64 of a-z"):
            store.import_set(source)
    assert [mine for mine in names_under(tmp_path) if mine not in ("own", "demo.tar.gz")] == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"not a tar" * 100, mtime=0),
        b"\x1f\x8b" + bytes(50),
        bytes(5000),
    ],
    ids=["empty", "text", "empty gzip", "gzip of text", "gzip of nothing", "zeros"],
)
def test_what_is_no_archive_is_refused(store: AdapterStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "demo.tar.gz").write_bytes(content)
    with pytest.raises(WeightsCorrupted, match=r"demo\.tar\.gz"):
        store.import_set(tmp_path / "demo.tar.gz")
    assert names_under(tmp_path) == ["demo.tar.gz"]


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_damaged_archive_is_refused_or_was_damaged_where_nothing_stands(
    elsewhere: AdapterStore, tmp_path: Path, flip: int
) -> None:
    """Some damage to the compressed bytes ended in an error of zlib."""
    noise = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))  # more than is decompressed at once
    path = publish(elsewhere.root, tensors={"noise": noise})
    content = elsewhere.export_set("demo", tmp_path / "demo.tar.gz").read_bytes()
    offsets = range(0, len(content), len(content) // 60)
    num_refused = 0
    for offset in offsets:
        damaged = tmp_path / "damaged.tar.gz"
        damaged.write_bytes(content[:offset] + bytes([content[offset] ^ flip]) + content[offset + 1 :])
        mine = AdapterStore(tmp_path / f"own-{offset}")
        try:
            entry = mine.import_set(damaged)
        except AdaVAEError:
            num_refused += 1
            assert names_under(mine.root) == []
        else:
            assert all((entry.path / name).read_bytes() == (path / name).read_bytes() for name in FILES)
    assert num_refused > 0.8 * len(offsets)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_archive_cut_short_is_refused(
    store: AdapterStore, elsewhere: AdapterStore, tmp_path: Path, share: float
) -> None:
    publish(elsewhere.root)
    archive = elsewhere.export_set("demo", tmp_path / "demo.tar.gz")
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    with pytest.raises(WeightsCorrupted, match=r"demo\.tar\.gz"):
        store.import_set(archive)
    assert names_under(store.root) == []


def test_one_version_is_deleted_and_the_others_stay(store: AdapterStore) -> None:
    old, new = publish(store.root, created_at=OLD), publish(store.root, created_at=NEW)
    other = publish(store.root, name="other")
    assert store.delete(f"demo@{old.name}").path == old
    assert [entry.path for entry in store.list()] == [new, other]
    assert store.delete("demo").path == new
    assert names_under(store.root) == sorted(
        ["other", f"other/{other.name}", *(f"other/{other.name}/{f}" for f in FILES)]
    )
    with pytest.raises(AdapterSetNotFound):
        store.delete("demo")


def test_a_bundled_set_cannot_be_deleted(store: AdapterStore) -> None:
    path = publish(store.bundled[0])
    for reference in ("demo", f"demo@{path.name}"):
        with pytest.raises(AdapterSetMismatch, match=rf"demo@{path.name} is bundled .*cannot be deleted"):
            store.delete(reference)
    read_adapter_set(path)


def test_the_users_own_is_deleted_where_the_same_is_bundled(store: AdapterStore) -> None:
    bundled, mine = publish(store.bundled[0]), publish(store.root)
    assert store.delete("demo").path == mine
    assert store.resolve("demo").path == bundled


@pytest.mark.parametrize("name", [MANIFEST, TENSORS])
def test_a_damaged_set_can_be_deleted(store: AdapterStore, name: str) -> None:
    """It could not where its manifest was unreadable, which left no way to be rid of it."""
    bundled, mine = publish(store.bundled[0]), publish(store.root)
    spoil(mine, name)
    assert store.delete(f"demo@{mine.name}").path == mine
    assert [entry.path for entry in store.list()] == [bundled]


def test_a_set_is_imported_by_another_name(tmp_path: Path) -> None:
    source = publish(tmp_path / "elsewhere", name="demo")
    store = AdapterStore(tmp_path / "own")
    entry = store.import_set(source, name="other")
    assert (entry.name, entry.version != source.name) == ("other", True)
    assert store.import_set(source, name="other").reference == entry.reference
    assert store.import_set(source).reference == f"demo@{source.name}"
    ours, theirs = store.read("other"), store.read("demo")
    assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
    assert ours.manifest.files == theirs.manifest.files


def test_a_name_that_may_not_be_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name"):
        AdapterStore(tmp_path / "own").import_set(tmp_path / "nowhere", name="../up")
    assert not (tmp_path / "own").exists()
