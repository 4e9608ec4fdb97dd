"""An exclusive lock on a file of the shared volume, between the threads and processes of one host.

Between hosts too where the file system carries ``flock`` there (docker/README.md says which do). The kernel gives it
back when its holder dies, however that comes about.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adavae.service.jobs.records.job_errors import JobBusy

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.05


class VolumeLock:
    """A lock that is held from its making until ``release``."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        """Takes the lock on ``path``, a file that is made where it is missing; its directory is not.

        Raises:
            JobBusy: Another holder kept it for ``timeout_s``.
            FileNotFoundError: There is no such directory.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _acquire(self._descriptor, path, timeout_s)
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Once."""
        os.close(self._descriptor)


@contextmanager
def locked(path: Path, *, timeout_s: float = 10.0) -> Iterator[None]:
    """Holds the lock on ``path``; raises as ``VolumeLock`` does."""
    lock = VolumeLock(path, timeout_s=timeout_s)
    try:
        yield
    finally:
        lock.release()


def _acquire(descriptor: int, path: Path, timeout_s: float) -> None:
    """By asking again and again: a wait inside the kernel could not be given up."""
    deadline_s, pause_s = time.monotonic() + timeout_s, _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() >= deadline_s:
                raise JobBusy(path.parent.name, timeout_s) from exc
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            return
