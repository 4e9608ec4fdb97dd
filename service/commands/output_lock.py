"""One command at a time writes an output: the second one is refused before it has touched anything.

The kernel gives the lock back when its holder dies, however that comes about.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

_BUSY = "another command writes it now; wait for that one, or name another file"


@contextmanager
def sole_writer(output: Path, *, given: str = "", busy: str = _BUSY) -> Iterator[None]:
    """Holds ``output`` by a file beside it, ``NAME.lock``, while it lasts.

    Args:
        output: A file or a folder, which need not exist yet.
        given: The option that says where it is, for messages; ``--output`` if left out.
        busy: What is told where another command holds it.

    Raises:
        typer.BadParameter: Another command holds it, or there may be no file beside it.
    """
    place = output.resolve()
    path = place.parent / f"{place.name}.lock"
    descriptor = _held(path, given or f"--output is {output}", busy)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is given back: whoever waits for this one sees that it is gone
        os.close(descriptor)


def _held(path: Path, given: str, busy: str) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as exc:
            raise typer.BadParameter(f"{given}: {path} cannot be made ({exc.strerror}): choose another folder") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(descriptor)
            raise typer.BadParameter(f"{given}: {busy}") from exc
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)  # its holder had just ended, and taken the file away
