"""Archives that somebody made to do harm: refused by the member's name, before it is read, staged or held."""

import gzip
import os
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import CARD, MANIFEST, PRIOR, TENSORS, Manifest
from tests.tiny_sets import forge_manifest, names_under, publish

MIB = 1024**2
BOMB_BYTES = 96 * MIB
MOST_BYTES = 16 * MIB  # that reading an archive may hold, whatever it says
Build = Callable[[Path], bytes]


def header(name: str, size: int | bytes, kind: bytes = b"0", *, prefix: str = "", link: str = "") -> bytes:
    """One header of the ustar format, its checksum right."""
    size_field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(512)
    for offset, field in (
        (0, name.encode()[:100]),
        (100, b"0000644\0"),
        (124, size_field),
        (156, kind),
        (157, link.encode()),
        (257, b"ustar\x0000"),
        (345, prefix.encode()),
    ):
        block[offset : offset + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str, content: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(content), kind) + content + bytes(-len(content) % 512)


def pax(*records: tuple[str, str]) -> bytes:
    lines = b""
    for key, value in records:
        text = f" {key}={value}\n".encode()
        length = len(text) + 1
        while len(str(length)) + len(text) != length:
            length += 1
        lines += str(length).encode() + text
    return lines


def whole(path: Path, *, before: bytes = b"", names: tuple[str, ...] = (MANIFEST, TENSORS, CARD)) -> bytes:
    return before + b"".join(member(f"demo/1/{name}", (path / name).read_bytes()) for name in names) + bytes(1024)


HOSTILE: dict[str, tuple[Build, str]] = {
    "extended header": (lambda path: whole(path, before=member("note", bytes(BOMB_BYTES), b"x")), "'note'"),
    "global header": (lambda path: whole(path, before=member("all", bytes(BOMB_BYTES), b"g")), "'all'"),
    "long name": (lambda path: whole(path, before=member("././@LongLink", bytes(BOMB_BYTES), b"L")), "LongLink"),
    "long link": (lambda path: whole(path, before=member("././@LongLink", b"x", b"K")), "target of a long link"),
    "sparse file": (
        lambda path: whole(path, before=header(TENSORS, 0, b"S")),
        "which is a sparse",
    ),
    "sparse file by note": (
        lambda path: whole(path, before=member("n", pax(("GNU.sparse.realsize", "9" * 15)), b"x")),
        "another size",
    ),
    "size by note": (lambda path: whole(path, before=member("n", pax(("size", "99")), b"x")), "another size"),
    "way out by note": (
        lambda path: whole(path, before=member("n", pax(("path", "/etc/README.md")), b"x")),
        "/etc/README",
    ),
    "note without end": (lambda path: whole(path, before=member("n", b"99999 path=x\n", b"x")), "not understood"),
    "note of nonsense": (lambda path: whole(path, before=member("n", b"\xff\xfe" * 40, b"x")), "not understood"),
    "note of zero length": (lambda path: whole(path, before=member("n", b"0 path=x\n", b"x")), "not understood"),
    "notes for ever": (lambda path: whole(path, before=100 * member("n", pax(("mtime", "1.5")), b"x")), "64th header"),
    "tensors larger than told": (
        lambda path: (
            whole(path, before=member(f"d/{MANIFEST}", (path / MANIFEST).read_bytes()))[
                : 512 + 512 * (-(-(path / MANIFEST).stat().st_size // 512))
            ]
            + member(f"d/{TENSORS}", bytes(BOMB_BYTES))
        ),
        f"'d/{TENSORS}' of {BOMB_BYTES:,} bytes",
    ),
    "tensors larger than told, in front": (
        lambda path: member(f"d/{TENSORS}", bytes(BOMB_BYTES)) + whole(path, names=(MANIFEST, CARD)),
        f"'d/{TENSORS}' of {BOMB_BYTES:,} bytes",
    ),
    "tensors of many gigabytes": (lambda path: whole(path, before=header(TENSORS, 8**11 - 1)), "8,589,934,591 bytes"),
    "size in base 256": (lambda path: whole(path, before=header(TENSORS, b"\x80" + bytes(10) + b"\xff")), "a size"),
    "negative size": (lambda path: whole(path, before=header(TENSORS, b"-0000000001\0")), "a size"),
    "endless card": (lambda path: whole(path, before=header(CARD, 5 * MIB)), "'README.md', which has 5,242,880 bytes"),
    "endless manifest": (lambda path: whole(path, before=header(MANIFEST, 5 * MIB)), "'manifest.json', which has"),
    "endless prior": (lambda path: whole(path, before=header(PRIOR, 2**31)), "'prior.safetensors', which has"),
    "twice the manifest": (lambda path: whole(path, names=(MANIFEST, MANIFEST)), "comes twice"),
    "twice the tensors": (lambda path: whole(path, names=(MANIFEST, TENSORS, TENSORS)), "comes twice"),
    "ten thousand members": (
        lambda path: b"".join(member(f"{number}/x", b"") for number in range(10_000)) + whole(path),
        "'0/x', which is no file",
    ),
    "symbolic link": (lambda path: whole(path, before=header(CARD, 0, b"2", link="/etc/passwd")), "a symbolic link"),
    "hard link": (lambda path: whole(path, before=header(CARD, 0, b"1", link=TENSORS)), "a hard link"),
    "character device": (lambda path: whole(path, before=header(CARD, 0, b"3")), "a device"),
    "block device": (lambda path: whole(path, before=header(CARD, 0, b"4")), "a device"),
    "pipe": (lambda path: whole(path, before=header(CARD, 0, b"6")), "a pipe"),
    "directory": (lambda path: whole(path, before=header("demo", 0, b"5")), "'demo', which is a directory"),
    "unknown kind": (lambda path: whole(path, before=header(CARD, 0, b"Z")), "unknown kind"),
    "absolute path": (lambda path: whole(path, before=member(f"/{CARD}", b"x")), "leads out"),
    "path upwards": (lambda path: whole(path, before=member(f"a/../../{CARD}", b"x")), "leads out"),
    "absolute prefix": (lambda path: whole(path, before=header(CARD, 0, prefix="/etc")), "'/etc/README.md'"),
    "name of nothing": (lambda path: whole(path, before=header("", 0)), "no file of an adapter set"),
    "name of dots": (lambda path: whole(path, before=header("..", 0)), "leads out"),
    "name that is no text": (lambda path: whole(path, before=header("\x1b[2J", 0)), "no file of an adapter set"),
    "header of another kind": (lambda path: b"\x01" * 512 + whole(path), "is damaged"),
    "checksum that is wrong": (
        lambda path: header(CARD, 0).replace(b"0000644", b"0000755") + whole(path),
        "is damaged",
    ),
    "more behind its end": (lambda path: whole(path) + bytes(BOMB_BYTES), "goes on after the end"),
    "end in the middle": (lambda path: whole(path)[:-1500], "ends too early"),
    "nothing": (lambda _: bytes(1024), "lacks manifest.json"),
}


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("build", "told"), HOSTILE.values(), ids=HOSTILE.keys())
def test_it_is_refused_by_name_and_leaves_nothing(tmp_path: Path, build: Build, told: str) -> None:
    """Two megabytes of archive took 2.3 GB: extended headers and long names were read whole, whatever their size."""
    archive = tmp_path / "demo.tar.gz"
    archive.write_bytes(gzip.compress(build(publish(tmp_path / "elsewhere")), 1))
    store = AdapterStore(tmp_path / "own")
    with little_memory(), pytest.raises(WeightsCorrupted) as refused:
        store.import_set(archive)
    assert told in str(refused.value)
    assert str(archive) in str(refused.value) and len(str(refused.value)) < 600
    assert str(refused.value).isprintable()
    assert names_under(tmp_path / "own") == []


def test_notes_that_writers_leave_do_no_harm(tmp_path: Path) -> None:
    built = publish(tmp_path / "elsewhere")
    notes = member("n", pax(("mtime", "1.5"), ("uid", "0")), b"x") + member("g", pax(("comment", "x")), b"g")
    long_name = f"{'folder/' * 30}{MANIFEST}"
    named = member("././@LongLink", long_name.encode() + b"\0", b"L") + member("cut", (built / MANIFEST).read_bytes())
    by_note = member("n", pax(("path", f"{'d/' * 80}{CARD}")), b"x") + member("cut", (built / CARD).read_bytes())
    content = notes + named + by_note + member(TENSORS, (built / TENSORS).read_bytes()) + bytes(20 * 512)
    archive = tmp_path / "demo.tar.gz"
    archive.write_bytes(gzip.compress(content))
    assert AdapterStore(tmp_path / "own").import_set(archive).version == built.name


@pytest.mark.parametrize("is_archive", [True, False])
def test_what_is_not_accepted_is_neither_copied_nor_read_further(tmp_path: Path, is_archive: bool) -> None:
    built = publish(tmp_path / "elsewhere")
    source = built
    if is_archive:
        source = tmp_path / "demo.tar.gz"
        source.write_bytes(gzip.compress(whole(built)[: 512 + 512 * (-(-(built / MANIFEST).stat().st_size // 512))], 1))

    def refuse(manifest: Manifest) -> None:
        raise AdapterSetMismatch(f"{manifest.reference} is too large")

    (built / TENSORS).unlink()
    with pytest.raises(AdapterSetMismatch, match="too large"):
        AdapterStore(tmp_path / "own").import_set(source, accepting=refuse)
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("name", [MANIFEST, TENSORS, CARD, PRIOR])
@pytest.mark.parametrize("num_bytes", [6 * MIB, 5 * 1024**3])
def test_a_sparse_file_is_refused_before_it_is_copied(tmp_path: Path, name: str, num_bytes: int) -> None:
    """A directory with a file of 5 GiB and no content was copied before anybody looked at it."""
    built = publish(tmp_path / "elsewhere")
    os.truncate(built / name, num_bytes) if (built / name).exists() else _made_sparse(built / name, num_bytes)
    with little_memory(), pytest.raises(WeightsCorrupted, match=name):
        AdapterStore(tmp_path / "own").import_set(built)
    assert not (tmp_path / "own").exists()


def _made_sparse(path: Path, num_bytes: int) -> None:
    path.touch()
    os.truncate(path, num_bytes)


NOT_REGULAR: dict[str, Callable[[Path], object]] = {
    "pipe": lambda path: os.mkfifo(path),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "directory": lambda path: path.mkdir(),
    "socket": lambda path: _socket(path),
}


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as built:
        before = Path.cwd()
        os.chdir(path.parent)  # its name may have 107 bytes
        try:
            built.bind(path.name)
        finally:
            os.chdir(before)


@pytest.mark.parametrize("name", [MANIFEST, TENSORS, CARD])
@pytest.mark.parametrize("make", NOT_REGULAR.values(), ids=NOT_REGULAR.keys())
def test_a_directory_of_other_than_files_is_refused(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    built = publish(tmp_path / "elsewhere")
    (built / name).unlink()
    make(built / name)
    with pytest.raises(WeightsCorrupted, match=rf"{name} is a .*regular files alone"):
        AdapterStore(tmp_path / "own").import_set(built)
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("make", NOT_REGULAR.values(), ids=NOT_REGULAR.keys())
def test_an_archive_that_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "demo.tar.gz")
    with pytest.raises((WeightsCorrupted, AdapterSetNotFound)):
        AdapterStore(tmp_path / "own").import_set(tmp_path / "demo.tar.gz")
    assert not (tmp_path / "own").exists()


def test_a_manifest_whose_sizes_cannot_be_is_refused(tmp_path: Path) -> None:
    built = publish(tmp_path / "elsewhere")
    forge_manifest(built, lambda values: values["files"][TENSORS].update(num_bytes=2 * 1024**3))
    with pytest.raises(WeightsCorrupted, match="10 numbers are 2,147,483,648 bytes"):
        AdapterStore(tmp_path / "own").import_set(built)
