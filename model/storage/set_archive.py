"""The ``.tar.gz`` of an adapter set, read member by member without trusting any of it.

A reader for every kind of archive holds whatever its headers ask for: extended headers, long names and maps of sparse
files of any size. Here a member is a plain file that a set has, known by the last part of its name and of the size that
its header says; everything else is refused by name before it is read. Nothing is ever unpacked by the names in it.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from adavae.model.errors import WeightsCorrupted, shown
from adavae.model.storage.regular_file import opened_regular

_BLOCK = 512
_CHUNK_BYTES = 1024**2
_MAX_ARCHIVE_BYTES = 8 * 1024**3
_MAX_HEADERS = 64
_MAX_NOTE_BYTES = 16 * 1024  # of an extended header: times and long names
_MAX_TAIL_BYTES = 1024**2  # writers fill up their last record
_FILE, _OLD_FILE, _PAX, _PAX_GLOBAL, _LONG_NAME = b"0", b"\0", b"x", b"g", b"L"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory",
    b"6": "a pipe",
    b"7": "a reserved file",
    b"K": "the target of a long link",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive.

    Attributes:
        full_name: As the archive has it, folders included.
        name: The last part of that, one of a set's files.
    """

    full_name: str
    name: str
    num_bytes: int


class SetArchive:
    """An open archive, read once from its beginning to its end."""

    def __init__(self, path: Path, file: BinaryIO, limits: dict[str, int]) -> None:
        self._path, self._file, self._limits = path, file, limits
        self._rest = 0  # bytes of the current member that were not read yet, its padding included
        self._num_headers = 0

    def members(self) -> Iterator[Member]:
        """Every member in turn; what was not read of one is skipped.

        Raises:
            WeightsCorrupted: One is no file of a set, comes twice, or is larger than such a file may be.
        """
        seen: set[str] = set()
        while (member := self._next()) is not None:
            if member.name in seen:
                raise self._refusal(member.full_name, "comes twice")
            seen.add(member.name)
            yield member
            self._skip()
        if len(self._file.read(_MAX_TAIL_BYTES)) == _MAX_TAIL_BYTES:  # read to its end, where the checksum is
            raise WeightsCorrupted(f"{self._path} goes on after the end of its last member: export the set again")

    def chunks(self, member: Member) -> Iterator[bytes]:
        """What ``member``, the one that came last, holds."""
        left = member.num_bytes
        while left:
            chunk = self._exactly(min(left, _CHUNK_BYTES))
            left -= len(chunk)
            self._rest -= len(chunk)
            yield chunk

    def _next(self) -> Member | None:
        long_name: str | None = None
        while any(block := self._exactly(_BLOCK)):
            self._num_headers += 1
            full_name, num_bytes, kind = self._header(block)
            if self._num_headers > _MAX_HEADERS:
                raise self._refusal(full_name, f"is beyond its {_MAX_HEADERS}th header, and no set has so many files")
            if kind in (_FILE, _OLD_FILE):
                return self._member(long_name or full_name, num_bytes)
            if kind not in (_PAX, _PAX_GLOBAL, _LONG_NAME):
                raise self._refusal(full_name, f"is {_KINDS.get(kind, f'of the unknown kind {kind!r}')}")
            if num_bytes > _MAX_NOTE_BYTES:
                raise self._refusal(
                    full_name, f"is a header of {num_bytes:,} bytes, at most {_MAX_NOTE_BYTES:,} are read"
                )
            note = self._exactly(_padded(num_bytes))[:num_bytes]
            named = _text(note.rstrip(b"\0")) if kind == _LONG_NAME else self._path_in(full_name, note)
            long_name = named or long_name
        return None

    def _member(self, full_name: str, num_bytes: int) -> Member:
        parts = PurePosixPath(full_name).parts
        name = parts[-1] if parts else ""
        if full_name.startswith("/") or ".." in parts:
            raise self._refusal(full_name, "leads out of its folder")
        if name not in self._limits:
            raise self._refusal(full_name, "is no file of an adapter set")
        if num_bytes > self._limits[name]:
            raise self._refusal(full_name, f"has {num_bytes:,} bytes, at most {self._limits[name]:,} are read")
        self._rest = _padded(num_bytes)
        return Member(full_name, name, num_bytes)

    def _header(self, block: bytes) -> tuple[str, int, bytes]:
        """Name, size and kind of what follows."""
        name = _text(block[:100].split(b"\0", 1)[0])
        prefix = _text(block[345:500].split(b"\0", 1)[0]) if block[257:263] == b"ustar\0" else ""
        full_name = f"{prefix}/{name}" if prefix else name
        unsigned = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
        if block[257:262] != b"ustar" or _octal(block[148:156]) != unsigned:
            raise WeightsCorrupted(
                f"{self._path} cannot be read as a .tar.gz (the header of {shown(full_name)} is damaged)"
            )
        num_bytes = _octal(block[124:136])
        if num_bytes is None:
            raise self._refusal(full_name, "has a size that no file of an adapter set has")
        return full_name, num_bytes, block[156:157]

    def _path_in(self, full_name: str, note: bytes) -> str | None:
        """The name that an extended header gives to the member after it, if it gives one."""
        path = None
        while note:
            length, _, _ = note.partition(b" ")
            end = int(length) if length.isdigit() and len(length) <= 6 else 0
            key, has_value, value = note[len(length) + 1 : max(end - 1, 0)].partition(b"=")
            if not has_value or end > len(note):
                raise self._refusal(full_name, "is a header that is not understood")
            if key == b"size" or key.startswith(b"GNU.sparse"):
                raise self._refusal(full_name, f"gives another size ({_text(key)}) than the file's own header")
            path = _text(value) if key == b"path" else path
            note = note[end:]
        return path

    def _skip(self) -> None:
        while self._rest:
            self._rest -= len(self._exactly(min(self._rest, _CHUNK_BYTES)))

    def _exactly(self, num_bytes: int) -> bytes:
        content = self._file.read(num_bytes)
        if len(content) < num_bytes:
            raise EOFError("it ends too early")
        return content

    def _refusal(self, full_name: str, why: str) -> WeightsCorrupted:
        return WeightsCorrupted(
            f"{self._path} holds {shown(full_name)}, which {why}: export the set again, and only that"
        )


@contextmanager
def opened_archive(path: Path, limits: dict[str, int]) -> Iterator[SetArchive]:
    """The archive at ``path``.

    Args:
        path: A regular file.
        limits: How many bytes each file of a set may have.

    Raises:
        WeightsCorrupted: It is no such archive, or ends too early.
    """
    try:
        with opened_regular(path, _MAX_ARCHIVE_BYTES) as (file, _), gzip.GzipFile(fileobj=file) as unpacked:
            yield SetArchive(path, unpacked, limits)  # type: ignore[arg-type]  # it reads as a file does
    except (OSError, EOFError, zlib.error) as exc:
        raise WeightsCorrupted(f"{path} cannot be read as a .tar.gz ({exc})") from exc


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _BLOCK) * _BLOCK


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


def _octal(field: bytes) -> int | None:
    """The number of a header's field; None for what is written otherwise, as sizes beyond 8 GiB are."""
    digits = field.strip(b" \0")
    return int(digits, 8) if digits and all(byte in b"01234567" for byte in digits) else None
