"""Which file an Idempotency-Key made: an upload that is sent again makes no second one.

    <files>/.keys/<sha256>.json   on a volume
    file_keys/<sha256>            in an object store

A key is remembered a moment before its file is there, and forgotten with it: there are hardly more keys than files. One
without a file, after a crash in between, may be used by anybody for anything.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from adavae.model.storage.atomic import write_atomically
from adavae.model.training.readers.columns import Columns
from adavae.service.jobs.records.decoding import decoded
from adavae.service.jobs.records.idempotency_keys import KeyReused, key_name
from adavae.service.jobs.records.job import FILE_ID, STRICT
from adavae.service.jobs.records.volume_file import NotReadable, read_regular
from adavae.service.objects.errors import ObjectChanged
from adavae.service.objects.object_store import NotOurs, ObjectStore

_MAX_KEY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class FileKey:
    """A key that came with an upload, and whose it is."""

    text: str
    owner: str | None

    @property
    def name(self) -> str:
        return key_name(self.text, self.owner)


@dataclass(frozen=True, slots=True)
class UsedKey:
    """What a key was used for."""

    file_id: str
    request_digest: str

    __pydantic_config__ = STRICT


_USED = TypeAdapter(UsedKey)


def request_digest(filename: str, columns: Columns, sha256: str) -> str:
    """Of everything that an upload asks for; ``sha256`` is the content's."""
    return hashlib.sha256(json.dumps([filename, asdict(columns), sha256]).encode()).hexdigest()


class KeyRecords(Protocol):
    """Where keys are remembered; all methods wait for it, and raise OSError where it cannot be used."""

    def read(self, name: str) -> UsedKey | None:
        """None where there is none, or it cannot be read."""
        ...

    def write(self, name: str, used: UsedKey) -> UsedKey:
        """Remembers a key, unless another process has remembered it for the same request; returns what stands there."""
        ...

    def delete(self, name: str) -> None: ...


class VolumeKeys:
    """``KeyRecords`` below one directory; its writer holds the lock of the files."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> UsedKey | None:
        try:
            return _decoded(read_regular(self._path(name), _MAX_KEY_BYTES))
        except (FileNotFoundError, NotReadable):
            return None

    def write(self, name: str, used: UsedKey) -> UsedKey:
        self._path(name).parent.mkdir(exist_ok=True)
        write_atomically(self._path(name), _encoded(used))
        return used

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._root / ".keys" / f"{name}.json"


class ObjectKeys:
    """``KeyRecords`` in an object store, where nobody has a lock."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def read(self, name: str) -> UsedKey | None:
        return self._read(name)[0]

    def write(self, name: str, used: UsedKey) -> UsedKey:
        with suppress(FileExistsError):
            self._store.create(_key(name), _encoded(used))
            return used
        known, tag = self._read(name)
        if known is not None and known.request_digest == used.request_digest:
            return known
        if not tag:  # a stranger's, or just deleted
            self._store.write(_key(name), _encoded(used))
            return used
        with suppress(ObjectChanged):
            self._store.replace(_key(name), _encoded(used), tag)
            return used
        return self.read(name) or used

    def delete(self, name: str) -> None:
        self._store.delete([_key(name)])

    def _read(self, name: str) -> tuple[UsedKey | None, str]:
        """The key, and what it may be replaced under."""
        try:
            found = self._store.read(_key(name), _MAX_KEY_BYTES)
        except (FileNotFoundError, NotOurs):
            return None, ""
        return _decoded(found.content), found.tag


class FileKeys:
    """The keys of every owner."""

    def __init__(self, records: KeyRecords) -> None:
        self._records = records

    def file_of(self, key: FileKey) -> str | None:
        """The file that a key was used for, whether or not it is there."""
        used = self._records.read(key.name)
        return None if used is None else used.file_id

    def claim(self, key: FileKey, file_id: str, digest: str) -> str:
        """Remembers a key whose file is not there yet.

        Returns:
            The id that the file is to have: ``file_id``, or that of the same request in another process.

        Raises:
            KeyReused: Another process has used it for another request at this very moment.
        """
        used = self._records.write(key.name, UsedKey(file_id, digest))
        if used.request_digest != digest:
            raise KeyReused(key.text, used.file_id)
        return used.file_id

    def forget(self, key: FileKey, file_id: str) -> None:
        """The file has gone; a key that has made another since stays."""
        if self.file_of(key) == file_id:
            self._records.delete(key.name)


def _decoded(content: bytes) -> UsedKey | None:
    """None where nothing of ours has written it."""
    try:
        used = decoded(_USED, content)
    except NotReadable:
        return None
    return used if FILE_ID.fullmatch(used.file_id) else None


def _encoded(used: UsedKey) -> bytes:
    return json.dumps(asdict(used)).encode()


def _key(name: str) -> str:
    return f"file_keys/{name}"
