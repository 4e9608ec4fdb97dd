"""Crash-safe writing: a file or a directory is there whole or not at all, also when the disk is full."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import AdapterSetExists, StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces ``path`` by ``content``, durably; on any failure the old file stays as it was.

    Raises:
        StorageFull: The disk took no more.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as exc:
        raise _translated(exc, path, len(content)) from exc
    finally:
        Path(temporary).unlink(missing_ok=True)
    _sync_directory(path.parent)


@contextmanager
def staging_directory(parent: Path) -> Iterator[Path]:
    """A private directory on ``parent``'s disk, removed at the end unless it was published."""
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def publish_directory(staging: Path, destination: Path) -> None:
    """Renames a finished directory into place, durably and at once.

    Raises:
        AdapterSetExists: ``destination`` is there already.
        StorageFull: The disk took no more.
    """
    if destination.exists():
        raise AdapterSetExists(f"{destination} is there already: delete it first, or use another name")
    try:
        for path in staging.iterdir():
            _sync_file(path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        staging.chmod(0o755)
        os.rename(staging, destination)
    except OSError as exc:
        raise _translated(exc, destination, sum(path.stat().st_size for path in staging.iterdir())) from exc
    _sync_directory(destination.parent)


def _translated(exc: OSError, path: Path, num_bytes: int) -> Exception:
    if exc.errno not in _FULL:
        return exc
    free = shutil.disk_usage(path.parent if path.parent.exists() else path.parent.parent).free
    return StorageFull(
        f"{path} needs {num_bytes:,} bytes and the disk has {free:,} free: make room and repeat; nothing half-written "
        "was left"
    )


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    _sync_file(path)
