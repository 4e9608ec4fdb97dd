"""Bringing in an adapter set from a directory or an archive: what it says of itself is checked before it is copied.

Sizes are compared with the manifest's before a byte of the rest is written, so that what claims to be more than a set
is neither staged nor read; copying goes piece by piece.
"""

from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path

from adavae.model.errors import AdapterSetNotFound, WeightsCorrupted
from adavae.model.storage.adapter_set import Accepting
from adavae.model.storage.atomic import write_chunks_atomically
from adavae.model.storage.manifest import MANIFEST, MAX_TEXT_BYTES, SET_FILES, Manifest, parse_manifest, read_manifest
from adavae.model.storage.regular_file import opened_regular
from adavae.model.storage.set_archive import Member, SetArchive, opened_archive

_LIMITS = {MANIFEST: MAX_TEXT_BYTES, **{file.name: file.max_bytes for file in SET_FILES}}
_CHUNK_BYTES = 1024**2


def look_at(source: Path, accepting: Accepting) -> Manifest:
    """What the set of ``source``, a directory or an archive as ``export_set`` makes it, says of itself.

    Raises:
        AdapterSetNotFound: No set in ``source``.
        AdapterSetMismatch: A format that this version does not read.
        WeightsCorrupted: It holds something else than its manifest says.
    """
    if source.is_dir():
        return _look_at_directory(source, accepting)
    if not source.exists():
        raise AdapterSetNotFound(f"there is no file or directory {source}")
    with opened_archive(source.resolve(), _LIMITS) as archive:
        return _look_at_archive(source, archive, accepting)


def copy(source: Path, manifest: Manifest, staging: Path) -> None:
    """Copies the files of a set that was looked at into an empty directory; raises as ``look_at`` does."""
    sizes = {MANIFEST: MAX_TEXT_BYTES, **{name: entry.num_bytes for name, entry in manifest.files.items()}}
    if source.is_dir():
        for name, limit in sizes.items():
            with opened_regular(source / name, limit) as (file, num_bytes):
                write_chunks_atomically(staging / name, _pieces(file, num_bytes))
        return
    with opened_archive(source.resolve(), sizes) as archive:
        for member in archive.members():
            write_chunks_atomically(staging / member.name, archive.chunks(member))


def _look_at_directory(source: Path, accepting: Accepting) -> Manifest:
    manifest = read_manifest(source)
    accepting(manifest)
    for file in SET_FILES:
        if file.name in manifest.files:
            _check_size(source / file.name, manifest.files[file.name].num_bytes)
        elif (source / file.name).exists():
            raise WeightsCorrupted(_surplus(source, file.name))
    return manifest


def _check_size(path: Path, expected: int) -> None:
    with opened_regular(path, _LIMITS[path.name]) as (_, num_bytes):
        if num_bytes != expected:
            raise WeightsCorrupted(
                f"{path} is damaged (it has {num_bytes:,} bytes, the manifest says {expected:,}): copy the whole set"
            )


def _pieces(file: BufferedReader, num_bytes: int) -> Iterator[bytes]:
    """No more than was counted before: somebody may be writing to the file."""
    while num_bytes > 0 and (piece := file.read(min(num_bytes, _CHUNK_BYTES))):
        num_bytes -= len(piece)
        yield piece


def _look_at_archive(source: Path, archive: SetArchive, accepting: Accepting) -> Manifest:
    manifest: Manifest | None = None
    found: dict[str, Member] = {}
    for member in archive.members():
        found[member.name] = member
        if member.name == MANIFEST:
            manifest = parse_manifest(source / member.full_name, b"".join(archive.chunks(member)))
            accepting(manifest)
        if manifest is not None:  # as early as it is known: what follows need not even be skipped
            _check_members(source, manifest, found)
    if manifest is None:
        raise WeightsCorrupted(f"{source} lacks {MANIFEST}: export the set again")
    if missing := ", ".join(name for name in manifest.files if name not in found):
        raise WeightsCorrupted(f"{source} lacks {missing}: export the set again")
    return manifest


def _check_members(source: Path, manifest: Manifest, found: Mapping[str, Member]) -> None:
    for name, member in found.items():
        if name == MANIFEST:
            continue
        if name not in manifest.files:
            raise WeightsCorrupted(_surplus(source, name))
        if member.num_bytes != manifest.files[name].num_bytes:
            raise WeightsCorrupted(
                f"{source} holds {member.full_name!r} of {member.num_bytes:,} bytes, its manifest says "
                f"{manifest.files[name].num_bytes:,}: export the set again"
            )


def _surplus(source: Path, name: str) -> str:
    return f"{source} holds {name}, which its manifest does not name: export it again"
