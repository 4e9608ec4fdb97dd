"""A file that anybody appends lines to: a line that a crash or a full disk tore off spoils no other."""

import errno
import os
import stat
from contextlib import closing
from pathlib import Path

from adavae.service.jobs.records.volume_file import NotReadable, open_regular

MAX_BYTES = 64 * 1024**2
_APPENDED = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class LineFile:
    """``Lines`` on a disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: bytes, *, is_durable: bool) -> None:
        descriptor = os.open(self._path, _APPENDED, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "no regular file", str(self._path))
            _write_line(descriptor, line)
            if is_durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read_on(self, position: int) -> tuple[bytes, int]:
        try:
            file = open_regular(self._path)
        except (FileNotFoundError, NotReadable):
            return b"", position
        with closing(file):
            file.seek(position)
            content = file.read(max(0, MAX_BYTES - position))
        whole = content[: content.rfind(b"\n") + 1]
        return whole, position + len(whole)


def _write_line(descriptor: int, line: bytes) -> None:
    """In one write, which no other's comes between; on a line of its own, whatever was torn off before it.

    A line that another writes at this moment may look torn off: then an empty line comes between, which readers skip.
    """
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    if (written := os.write(descriptor, line)) < len(line):
        os.write(descriptor, line[written:])  # where the disk is full this raises
