"""What was fetched from an object store, on this machine's disk: verified, within a budget of bytes.

Files are known by sha256 and size, which stand in a record, and are put in place whole. Where there are too many bytes,
the files that nobody has used for longest go; whoever reads one at that moment keeps it, for a file that is open stays
until it is closed. Several processes may share the directory.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adavae.model.errors import WeightsCorrupted
from adavae.model.storage.atomic import is_abandoned, write_chunks_atomically
from adavae.service.objects.object_store import NotOurs, ObjectStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be here.

    Attributes:
        key: Where it is in the store.
        path: Where it shall be here.
        num_bytes: Of the whole file.
        sha256: Of its content.
    """

    key: str
    path: Path
    num_bytes: int
    sha256: str


class FileCache:
    """Files below one directory."""

    def __init__(self, store: ObjectStore, root: Path, max_bytes: int, kept: frozenset[str] = frozenset()) -> None:
        """``kept`` are names of small files that stay however little room there is."""
        self._store, self._root, self._max_bytes, self._kept = store, root, max_bytes, kept

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """Makes files that are used together be here, each fetched unless it is undamaged.

        Raises:
            FileNotFoundError: One is not in the store.
            WeightsCorrupted: What is in the store is another file.
            StoreError: The store cannot be used.
            StorageFull: This machine's disk took no more.
        """
        missing = [each for each in wanted if not _is_whole(each)]
        for each in wanted:
            with suppress(FileNotFoundError):
                os.utime(each.path)
        if missing:
            self._make_room(sum(each.num_bytes for each in missing), {each.path for each in wanted})
        for each in missing:
            each.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_chunks_atomically(each.path, _checked(self._store.fetch(each.key, each.num_bytes), each))
            except NotOurs as exc:
                raise WeightsCorrupted(f"{each.key} is damaged ({exc}): bring it there again") from exc

    def _make_room(self, num_bytes: int, wanted: Set[Path]) -> None:
        """Removes files until there is room for as many more; ``wanted`` and the ones used last stay."""
        found: list[tuple[int, int, Path]] = []
        for path in self._root.rglob(".writing-*"):
            if is_abandoned(path):
                path.unlink(missing_ok=True)
        for path in self._root.rglob("*"):
            is_being_written = any(part.startswith(".") for part in path.relative_to(self._root).parts)
            if is_being_written or path.name in self._kept or path in wanted:
                continue
            with suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime_ns, status.st_size, path))
        too_many = sum(size for _, size, _ in found) + num_bytes - self._max_bytes
        for _, size, path in sorted(found):
            if too_many <= 0:
                return
            path.unlink(missing_ok=True)
            too_many -= size


def _is_whole(wanted: Wanted) -> bool:
    try:
        with wanted.path.open("rb") as file:
            is_right_size = os.fstat(file.fileno()).st_size == wanted.num_bytes
            return is_right_size and hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256
    except OSError:
        return False


def _checked(pieces: Iterator[bytes], wanted: Wanted) -> Iterator[bytes]:
    """Everything; raises WeightsCorrupted at the end where it was another file."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != wanted.sha256:
        raise WeightsCorrupted(f"{wanted.key} is damaged (its sha256 is another one): bring it there again")
