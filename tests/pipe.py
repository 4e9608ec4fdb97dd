"""A file that is a pipe, as a shell's ``<(...)`` gives it: its bytes come once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread


@contextmanager
def piped(path: Path, content: bytes) -> Iterator[Path]:
    """``path``, which leads to a pipe that holds ``content`` and ends behind it."""
    reading, writing = os.pipe()
    writer = Thread(target=_write, args=(writing, content))
    writer.start()
    path.unlink(missing_ok=True)
    path.symlink_to(f"/dev/fd/{reading}")
    try:
        yield path
    finally:
        os.close(reading)
        writer.join()
        path.unlink()


def _write(writing: int, content: bytes) -> None:
    """A few bytes first, so that the first read is a short one."""
    with open(writing, "wb", buffering=0) as file:
        try:
            file.write(content[:1])
            file.write(content[1:])
        except BrokenPipeError:
            return
