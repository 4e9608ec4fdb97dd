"""Files that others may have put there, opened without trusting them: regular ones alone, of a bounded size.

A pipe would never answer, a device never end, a symbolic link could lead anywhere; none of them is opened for reading
here, or waited for.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from adavae.model.errors import WeightsCorrupted

_OPENED = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}


@contextmanager
def opened_regular(path: Path, limit: int) -> Iterator[tuple[BufferedReader, int]]:
    """A regular file of at most ``limit`` bytes, and how many it has.

    Raises:
        WeightsCorrupted: It is something else, is larger, or cannot be read.
    """
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode)
        if kind != stat.S_IFREG:  # checked before it is opened: opening a device may do something
            raise WeightsCorrupted(_not_regular(path, kind))
        descriptor = os.open(path, _OPENED)
    except (OSError, ValueError) as exc:
        raise WeightsCorrupted(f"{path} cannot be read ({exc}): install the set again") from exc
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise WeightsCorrupted(_not_regular(path, stat.S_IFMT(status.st_mode)))
        if status.st_size > limit:
            raise WeightsCorrupted(
                f"{path} has {status.st_size:,} bytes, at most {limit:,} are read: this is no file of an adapter set"
            )
        try:
            yield file, status.st_size
        except OSError as exc:
            raise WeightsCorrupted(f"{path} cannot be read ({exc}): install the set again") from exc


def read_bounded(path: Path, limit: int) -> bytearray:
    """The content of a regular file of at most ``limit`` bytes; raises as ``opened_regular`` does."""
    with opened_regular(path, limit) as (file, num_bytes):
        return read_exactly(file, num_bytes)


def read_exactly(file: BufferedReader, num_bytes: int) -> bytearray:
    """The next ``num_bytes``, or fewer where the file ends before."""
    content = bytearray(num_bytes)
    num_read = file.readinto(content)
    del content[num_read:]
    return content


def _not_regular(path: Path, kind: int) -> str:
    what = _KINDS.get(kind, "no regular file")
    return f"{path} is {what}: an adapter set consists of regular files alone; copy the file itself there"
