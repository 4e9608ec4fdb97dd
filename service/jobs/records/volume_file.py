"""Files of the volume, read as if a stranger had put them there: regular ones alone, of a bounded size.

A pipe would never answer, a symbolic link could lead anywhere or in a circle, a large file would fill the memory.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_OPENED = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EMLINK)  # a link, a socket


class NotReadable(ValueError):
    """What is there is nothing that we write."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, to be read.

    Raises:
        NotReadable: It is something else.
        OSError: It is not there, or the volume does not give it.
    """
    try:
        descriptor = os.open(path, _OPENED)
    except OSError as exc:
        if exc.errno in _NO_FILE:
            raise NotReadable("no regular file") from exc
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotReadable("no regular file")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, max_bytes: int) -> bytes:
    """A regular file of at most ``max_bytes``; raises as ``open_regular`` does, NotReadable where it is larger."""
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise NotReadable(f"more than {max_bytes:,} bytes")
    return content
