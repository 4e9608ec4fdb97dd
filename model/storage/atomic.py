"""Crash-safe writing: a file or directory exists completely or not at all, even if the disk is full."""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adavae.model.errors import AdapterSetExists, StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ABANDONED_S = 24 * 3600.0
_TEMPORARY, _STAGING = ".writing-", ".staging-"


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces the file at ``path`` durably; on any failure the old one is unchanged.

    Raises:
        StorageFull: The disk took no more.
    """
    _write_atomically(path, [content], len(content))


def write_chunks_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """As ``write_atomically``, for content that comes piece by piece; what ``chunks`` raises leaves nothing behind."""
    _write_atomically(path, chunks, None)


def _write_atomically(path: Path, chunks: Iterable[bytes], num_bytes: int | None) -> None:
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
    with _full_disk_reported(path, num_bytes):
        try:
            _write_and_sync(temporary, chunks)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)


@contextmanager
def staging_directory(parent: Path) -> Iterator[Path]:
    """A private directory on ``parent``'s disk, removed at the end unless published.

    Raises:
        StorageFull: The disk was full for something written inside the ``with``.
    """
    staging = parent / f"{_STAGING}{secrets.token_hex(8)}"
    with _full_disk_reported(parent, None):
        parent.mkdir(parents=True, exist_ok=True)
        try:
            staging.mkdir()
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def publish_directory(staging: Path, destination: Path) -> None:
    """Renames a finished directory into place, atomically and durably.

    Raises:
        AdapterSetExists: ``destination`` is there already.
        StorageFull: The disk took no more.
    """
    _refuse_existing(destination)
    with _full_disk_reported(destination, sum(path.stat().st_size for path in staging.rglob("*"))):
        for path in (*staging.rglob("*"), staging):
            _sync(path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(staging, destination)
        except OSError:
            _refuse_existing(destination)  # made since the check above
            raise
        finally:
            with suppress(OSError):
                destination.parent.rmdir()  # succeeds only if empty: nothing was published
        _sync(destination.parent)


def remove_leftovers(directory: Path) -> None:
    """Removes half-written files of a killed process; only for a ``directory`` with a single writer."""
    for path in directory.glob(f"{_TEMPORARY}*"):
        path.unlink(missing_ok=True)
    for path in directory.glob(f"{_STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)


def remove_abandoned(directory: Path) -> None:
    """Removes what was half-written more than a day ago, by processes that were killed; others may write meanwhile."""
    for path in (*directory.glob(f"{_TEMPORARY}*"), *directory.glob(f"{_STAGING}*")):
        if is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                path.unlink()


def is_abandoned(path: Path) -> bool:
    """Whether it is half-written and nobody has touched it for a day."""
    if not path.name.startswith((_TEMPORARY, _STAGING)):
        return False
    try:
        return time.time() - path.lstat().st_mtime > _ABANDONED_S
    except OSError:
        return False


def _write_and_sync(path: Path, chunks: Iterable[bytes]) -> None:
    """A new file with the umask's permissions, so that other users can read what is published."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for chunk in chunks:
            remaining = memoryview(chunk)
            while remaining:
                remaining = remaining[os.write(descriptor, remaining) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    """Waits until a file, or a directory's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_existing(destination: Path) -> None:
    if os.path.lexists(destination):
        raise AdapterSetExists(f"{destination} is there already: delete it first, or use another name")


@contextmanager
def _full_disk_reported(path: Path, num_bytes: int | None) -> Iterator[None]:
    """Turns "no space left" and "quota exceeded" into StorageFull; other errors pass through."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _FULL:
            raise
        existing = next(folder for folder in path.absolute().parents if folder.is_dir())
        needed = "more bytes than there are" if num_bytes is None else f"{num_bytes:,} bytes"
        raise StorageFull(
            f"{path} needs {needed} and the disk has {shutil.disk_usage(existing).free:,} free ({exc.strerror}): make "
            f"room and repeat; nothing half-written was left"
        ) from exc
