"""Uploaded data in an object store: each file is there whole and checked, or not at all.

    uploads/<file id>/content.jsonl   the upload as it came
    uploads/<file id>/rows.jsonl      the same as it is read, where it came as parquet
    files/<file id>                   what is known of it, sha256 included; written last, deleted first
    file_keys/<sha256>                  which file an idempotency key made

It comes in and is checked on this machine's disk, and goes to the store in parts. Whoever reads it gets a copy on its
own disk, verified, out of a cache with a budget.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from adavae.model.errors import WeightsCorrupted
from adavae.service.errors import ServiceError
from adavae.service.jobs.data.file_keys import FileKeys, ObjectKeys
from adavae.service.jobs.data.file_store import LINES, FileStore, FileUsers, file_not_found
from adavae.service.jobs.data.token_counter import TokenCounter, open_token_counter
from adavae.service.jobs.data.upload import PARQUET, ending_of
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES
from adavae.service.jobs.records.encoding import encoded_file
from adavae.service.jobs.records.job import FILE_ID, StoredContent, StoredFile
from adavae.service.jobs.records.volume import Volume
from adavae.service.jobs.records.volume_file import NotReadable
from adavae.service.objects.file_cache import FileCache, Wanted
from adavae.service.objects.object_store import NotOurs, ObjectStore
from adavae.service.objects.open_objects import open_objects
from adavae.service.settings import Settings

_RECORDS, _CONTENTS = "files", "uploads"


def open_files(settings: Settings, users: FileUsers, *, volume: Volume | None = None) -> FileStore:
    """Where the settings say that uploads are kept; not asked for anything yet."""
    objects = open_objects(settings)
    if objects is None:
        return FileStore(settings, users, volume=volume)
    return SharedFiles(settings, users, objects, volume=volume)


class SharedFiles(FileStore):
    """``FileStore`` over an object store."""

    def __init__(
        self,
        settings: Settings,
        users: FileUsers,
        store: ObjectStore,
        open_counter: Callable[[Settings], TokenCounter] = open_token_counter,
        volume: Volume | None = None,
    ) -> None:
        super().__init__(settings, users, open_counter, volume)
        self._store, self._max_bytes = store, settings.max_upload_bytes
        self._keys = FileKeys(ObjectKeys(store))
        self._here = settings.files / "fetched"
        self._cache = FileCache(store, self._here, settings.store_cache_bytes)

    def path_of(self, file_id: str) -> Path:
        """A copy on this machine; raises as on a volume, and StoreError where the store cannot be used."""
        stored = self._read(file_id)
        if ending_of(stored.filename) != PARQUET:
            return self._content_of(file_id)
        if stored.lines is None:
            raise _damaged(file_id, "its record does not tell how it is read")
        return self._fetched(file_id, LINES, stored.lines)

    def _content_of(self, file_id: str) -> Path:
        stored = self._read(file_id)
        content = StoredContent(num_bytes=stored.num_bytes, sha256=stored.sha256)
        return self._fetched(file_id, f"content{ending_of(stored.filename)}", content)

    def _fetched(self, file_id: str, name: str, content: StoredContent) -> Path:
        """One of an upload's files, here; raises as ``path_of`` does."""
        if not 0 <= content.num_bytes <= self._max_bytes:
            raise _damaged(file_id, f"{content.num_bytes:,} bytes, more than ADAVAE_MAX_UPLOAD_BYTES")
        path = self._here / file_id / name
        try:
            self._cache.fetch([Wanted(_content(file_id, name), path, content.num_bytes, content.sha256)])
        except FileNotFoundError as exc:
            raise file_not_found(file_id) from exc
        except WeightsCorrupted as exc:
            raise _damaged(file_id, str(exc)) from exc
        return path

    def _ids(self) -> Sequence[str]:
        return list(filter(FILE_ID.fullmatch, self._store.names(_RECORDS)))

    def _record_of(self, file_id: str) -> bytes:
        self._directory(file_id)
        try:
            return self._store.read(_record(file_id), MAX_RECORD_BYTES).content
        except NotOurs as exc:
            raise NotReadable(str(exc)) from exc

    def _publish(self, staging: Path, stored: StoredFile) -> None:
        if self._has(stored.id):  # the same request, at the same moment
            raise FileExistsError(stored.id)
        record = encoded_file(stored)
        for name in (f"content{ending_of(stored.filename)}", *((LINES,) if stored.lines is not None else ())):
            self._store.send(_content(stored.id, name), staging / name)
        self._store.create(_record(stored.id), record)

    def _using_keys(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _has(self, file_id: str) -> bool:
        self._directory(file_id)
        try:
            return bool(self._store.stamp(_record(file_id)))
        except FileNotFoundError:
            return False

    def _remove(self, file_id: str) -> None:
        self._store.delete([_record(file_id)])
        self._store.delete([each.key for each in self._store.keys(f"{_CONTENTS}/{file_id}", 10)])


def _damaged(file_id: str, reason: str) -> ServiceError:
    message = f"the content of {file_id} is damaged ({reason}): delete the file and send it again"
    return ServiceError(503, "file_damaged", message)


def _record(file_id: str) -> str:
    return f"{_RECORDS}/{file_id}"


def _content(file_id: str, name: str) -> str:
    return f"{_CONTENTS}/{file_id}/{name}"
