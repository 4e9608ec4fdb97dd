"""Uploaded data on the shared volume: each file is there whole and checked, or not at all.

    <root>/<file id>/content.jsonl   the upload as it came; only its ending is the client's
    <root>/<file id>/rows.jsonl      the same as it is read, where it came as parquet
    <root>/<file id>/file.json       what is known of it
    <root>/<file id>/lock            was held while it came
    <root>/.staging-<chance>/        an upload under way, locked, or a file that is being deleted
    <root>/.keys/<sha256>.json       which file an idempotency key made
    <root>/.lock                     held while room is being taken, and while a key is used

A name that a client sent is never part of a path.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from adavae.model.errors import DatasetError
from adavae.model.storage.atomic import publish_directory, write_atomically
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.service.downloads import Download, download_file
from adavae.service.errors import InvalidRequest, ServiceError
from adavae.service.jobs.data.check_pool import CheckPool, CheckTime
from adavae.service.jobs.data.dataset_report import MAX_LINES, DatasetReport, report_on
from adavae.service.jobs.data.file_keys import FileKey, FileKeys, VolumeKeys, request_digest
from adavae.service.jobs.data.parquet_child import Conversion
from adavae.service.jobs.data.parquet_conversion import converted
from adavae.service.jobs.data.staging import PREFIX, Staging, remove_abandoned
from adavae.service.jobs.data.token_counter import TokenCounter, open_token_counter
from adavae.service.jobs.data.upload import PARQUET, PURPOSE, Received, Upload, checked_name, ending_of
from adavae.service.jobs.protocol import NamedColumns, Page, guessed
from adavae.service.jobs.records.caller import EVERYBODY, Caller
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded_file
from adavae.service.jobs.records.encoding import encoded_file
from adavae.service.jobs.records.idempotency_keys import KeyReused
from adavae.service.jobs.records.job import FILE_ID, StoredContent, StoredFile
from adavae.service.jobs.records.open_records import open_volume
from adavae.service.jobs.records.ordered_ids import next_id
from adavae.service.jobs.records.volume import Volume
from adavae.service.jobs.records.volume_file import NotReadable, open_regular, read_regular
from adavae.service.jobs.records.volume_lock import locked
from adavae.service.objects.errors import StoreError
from adavae.service.settings import Settings

_RECORD = "file.json"
LINES = "rows.jsonl"
"""What a parquet file is read as."""

_log = structlog.get_logger("adavae.files")
Result = TypeVar("Result")


class FileUsers(Protocol):
    """Who knows which jobs use a file: ``JobStore``."""

    def users_of(self, file_id: str) -> Sequence[str]:
        """Jobs that are not finished and need it."""
        ...


class FileStore:
    """``FileOperations`` over one directory, which several services may share; the event loop never waits for it.

    All its methods raise ServiceError (503) where the volume is away, full, or fails.
    """

    def __init__(
        self,
        settings: Settings,
        users: FileUsers,
        open_counter: Callable[[Settings], TokenCounter] = open_token_counter,
        volume: Volume | None = None,
    ) -> None:
        """Opens nothing yet: the tokenizer, which ``open_counter`` gives, is read for the first upload."""
        self._volume = volume or open_volume(settings)
        self._settings, self._users, self._open_counter = settings, users, open_counter
        self._root = settings.files
        self._counter: TokenCounter | None = None
        self._owners: dict[str, str | None] = {}
        self._checks = CheckPool()
        self._keys = FileKeys(VolumeKeys(settings.files))

    async def create(
        self,
        filename: str,
        purpose: str,
        content: AsyncIterator[bytes],
        columns: NamedColumns = guessed,
        *,
        owner: str | None = None,
        idempotency_key: str | None = None,
    ) -> StoredFile:
        name = checked_name(filename)
        if purpose != PURPOSE:
            message = f"purpose is {purpose[:60]!r}, must be {PURPOSE!r}: data is stored for training only"
            raise InvalidRequest(message, param="purpose")
        key = None if idempotency_key is None else FileKey(idempotency_key, owner)
        if key is not None and (earlier := await self._volume.read(self._made_with, key)) is not None:
            return await self._same(earlier, key, name, content, columns)
        staging = Staging(self._root, _mark(owner))
        try:
            await self._volume.change(self._take_room, staging, owner)
            return await self._receive(staging.path, name, content, columns, owner, key)
        finally:
            await self._volume.end(staging.end)

    async def get(self, file_id: str) -> StoredFile:
        return await self._volume.read(self._read, file_id)

    async def list(
        self, *, limit: int, after: str | None, newest_first: bool = True, caller: Caller = EVERYBODY
    ) -> Page[StoredFile]:
        return await self._volume.read(self._page, limit, after, newest_first, caller)

    async def download(self, file_id: str) -> Download:
        return await self._volume.read(self._download, file_id)

    async def delete(self, file_id: str) -> None:
        await self._volume.use(self._delete, file_id)

    def columns_of(self, file_id: str) -> Columns:
        """Which columns of the file of ``path_of`` are read; raises as that does."""
        return GUESSED if self.path_of(file_id).name == LINES else self._read(file_id).columns

    def path_of(self, file_id: str) -> Path:
        """Where a file's texts are read; raises ServiceError, 404 where there is none, 503 where that is no file."""
        ending = ending_of(self._read(file_id).filename)
        return self._regular(file_id, LINES if ending == PARQUET else f"content{ending}")

    def _content_of(self, file_id: str) -> Path:
        """Where the upload is as it came."""
        path = self.path_of(file_id)
        return path.with_name(f"content{PARQUET}") if path.name == LINES else path

    def _regular(self, file_id: str, name: str) -> Path:
        path = self._directory(file_id) / name
        try:
            open_regular(path).close()
        except FileNotFoundError as exc:
            raise file_not_found(file_id) from exc
        except NotReadable as exc:
            message = f"the content of {file_id} is damaged ({exc}): delete the file and send it again"
            raise ServiceError(503, "file_damaged", message) from exc
        return path

    def _take_room(self, staging: Staging, owner: str | None) -> None:
        """Makes the upload's own directory; uploads under way count, so that together they cannot fill the volume."""
        self._root.mkdir(parents=True, exist_ok=True)
        limit, key_limit = self._settings.max_files, self._settings.max_files_per_key
        with locked(self._root / ".lock"):
            remove_abandoned(self._root)
            under_way = [path.name for path in self._root.glob(f"{PREFIX}*")]
            files = [*under_way, *self._ids()]
            if len(files) >= limit:
                raise _too_many(f"{len(files)} files are", f"{limit} (ADAVAE_MAX_FILES)")
            if owner is not None and (num_of_key := sum(self._is_of(name, owner) for name in files)) >= key_limit:
                raise _too_many(f"{num_of_key} files of this key are", f"{key_limit} (ADAVAE_MAX_FILES_PER_KEY)")
            staging.make()

    def _is_of(self, name: str, owner: str) -> bool:
        """Of a file that is there, or of an upload under way."""
        if name.startswith(PREFIX):
            return name.endswith(_mark(owner))
        return self._owner_of(name) == owner

    def _owner_of(self, file_id: str) -> str | None:
        """Whose file it is, read once: it never changes. None where it is nobody's, or cannot be read."""
        if file_id not in self._owners:
            stored = self._readable(file_id)
            if stored is None:
                return None
            self._owners[file_id] = stored.owner
        return self._owners[file_id]

    def _made_with(self, key: FileKey) -> StoredFile | None:
        """The file that a key made, where it is still there."""
        file_id = self._keys.file_of(key)
        if file_id is None:
            return None
        try:
            stored = self._read(file_id)
        except ServiceError as exc:
            if exc.status != 404:
                raise
            return None
        return stored if (stored.owner, stored.idempotency_key) == (key.owner, key.text) else None

    async def _same(
        self, earlier: StoredFile, key: FileKey, name: str, content: AsyncIterator[bytes], columns: NamedColumns
    ) -> StoredFile:
        """The file that is there, where the same is sent again, which needs no room; raises KeyReused for another."""
        received = Received(self._settings.max_upload_bytes)
        async for piece in content:
            received.take(piece)
        if _asked_of(earlier) != request_digest(name, columns(), received.digest.hexdigest()):
            raise KeyReused(key.text, earlier.id)
        return earlier

    async def _receive(
        self,
        staging: Path,
        name: str,
        content: AsyncIterator[bytes],
        columns: NamedColumns,
        owner: str | None,
        key: FileKey | None,
    ) -> StoredFile:
        """Writes what comes, checks it, and puts it in place."""
        path = staging / f"content{ending_of(name)}"
        upload = Upload(path, self._settings.max_upload_bytes)
        async for piece in content:
            upload.take(piece)
            if upload.has_block:
                await self._volume.use(upload.write)
        await self._volume.use(upload.write)
        if not upload.num_bytes:
            raise InvalidRequest(f"{name} is empty: send at least 2 texts", param="file", code="invalid_data")
        check_time, named = CheckTime(self._settings.check_timeout_s), columns()
        report = await self._checks.run(
            owner, check_time, lambda: self._volume.answered(self._report, path, name, named, check_time)
        )
        lines = await self._volume.use(_lines_of, staging)
        stored = StoredFile(
            id=await self._volume.read(self._new_id),
            created_at=int(time.time()),
            filename=name,
            purpose=PURPOSE,
            num_bytes=upload.num_bytes,
            sha256=upload.digest.hexdigest(),
            num_rows=report.rows,
            labels=report.labels,
            report=report.to_dict(),
            columns=named,
            lines=lines,
            owner=owner,
            idempotency_key=None if key is None else key.text,
        )
        if key is not None:
            return await self._volume.change(self._publish_once, staging, stored, key)
        await self._volume.use(self._publish, staging, stored)
        return stored

    def _publish_once(self, staging: Path, stored: StoredFile, key: FileKey) -> StoredFile:
        """The file that has come, in place; or the one that the same request has made in the meantime."""
        digest = _asked_of(stored)
        with self._using_keys():
            earlier = self._made_with(key)
            if earlier is None:
                stored = replace(stored, id=self._keys.claim(key, stored.id, digest))
                with suppress(FileExistsError):
                    self._publish(staging, stored)
                    return stored
                earlier = self._made_with(key)
        if earlier is None or _asked_of(earlier) != digest:
            raise KeyReused(key.text, stored.id if earlier is None else earlier.id)
        return earlier

    def _using_keys(self) -> AbstractContextManager[None]:
        """Held while a key is used, where there are locks."""
        return locked(self._root / ".lock")

    def _report(self, path: Path, name: str, columns: Columns, check_time: CheckTime) -> DatasetReport:
        if self._counter is None:
            self._counter = self._open_counter(self._settings)
        try:
            rows, notes = self._readable_rows(path, name, columns, check_time)
            report = report_on(
                rows,
                columns=columns if rows == path else GUESSED,
                count_tokens=self._counter.count,
                max_tokens=self._counter.max_tokens,
                max_bytes=self._settings.max_upload_bytes,
                max_line_bytes=self._settings.max_line_bytes,
                check_time=check_time,
            )
            return replace(report, warnings=(*notes, *report.warnings))
        except DatasetError as exc:
            message = str(exc).replace(str(path), name).replace(str(path.with_name(LINES)), name)
            raise InvalidRequest(message, param="file", code="invalid_data") from exc

    def _readable_rows(
        self, path: Path, name: str, columns: Columns, check_time: CheckTime
    ) -> tuple[Path, tuple[str, ...]]:
        """The file that is read from now on, and notes on what stays behind; raises DatasetError."""
        if ending_of(name) != PARQUET:
            return path, ()
        wanted = Conversion(
            source=str(path),
            destination=str(path.with_name(LINES)),
            name=name,
            columns=asdict(columns),
            max_bytes=self._settings.max_upload_bytes,
            max_line_bytes=self._settings.max_line_bytes,
            max_rows=MAX_LINES,
            max_seconds=ceil(self._settings.check_timeout_s),
        )
        return path.with_name(LINES), converted(wanted, check_time)

    def _new_id(self) -> str:
        return next_id("file-", max(self._ids(), default=None))

    def _ids(self) -> Sequence[str]:
        """Every file that is there, in no order."""
        names = [path.name for path in self._root.iterdir()] if self._root.is_dir() else []
        return list(filter(FILE_ID.fullmatch, names))

    def _publish(self, staging: Path, stored: StoredFile) -> None:
        write_atomically(staging / _RECORD, encoded_file(stored))
        publish_directory(staging, self._root / stored.id)

    def _read(self, file_id: str) -> StoredFile:
        try:
            return decoded_file(self._record_of(file_id), file_id)
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise file_not_found(file_id) from exc
        except NotReadable as exc:
            message = f"the record of {file_id} is damaged ({exc}): delete the file and send it again"
            raise ServiceError(503, "file_damaged", message) from exc

    def _record_of(self, file_id: str) -> bytes:
        """What is known of a file, as it was written; raises FileNotFoundError and NotReadable."""
        return read_regular(self._directory(file_id) / _RECORD, MAX_RECORD_BYTES)

    def _page(self, limit: int, after: str | None, newest_first: bool, caller: Caller) -> Page[StoredFile]:
        """Continues after ``after``, even if that has been deleted since."""
        ids = sorted(self._ids(), reverse=newest_first)
        if after is not None:
            if not FILE_ID.fullmatch(after):
                message = f"after is {after[:60]!r}, which is no file's id: give the last id of the previous page"
                raise InvalidRequest(message, param="after")
            ids = [each for each in ids if (each < after if newest_first else each > after)]
        found: list[StoredFile] = []
        for each in ids:
            if not caller.is_admin and not caller.sees(self._owner_of(each)):
                continue
            if (stored := self._readable(each)) is not None:
                found.append(stored)
            if len(found) > limit:
                break
        return Page(found[:limit], has_more=len(found) > limit)

    def _readable(self, file_id: str) -> StoredFile | None:
        """None where it was deleted meanwhile, or is damaged: the other files of a list are shown all the same."""
        try:
            return self._read(file_id)
        except StoreError:  # of every file, not of this one
            raise
        except (ServiceError, OSError) as exc:
            if not isinstance(exc, ServiceError) or exc.status != 404:
                _log.warning("file_damaged", file=file_id, reason=str(exc))
            return None

    def _download(self, file_id: str) -> Download:
        try:
            download = download_file(open_regular(self._content_of(file_id)))
        except (FileNotFoundError, NotReadable) as exc:
            raise file_not_found(file_id) from exc
        if download.num_bytes is not None and download.num_bytes > self._settings.max_upload_bytes:  # no upload of ours
            download.close()
            raise file_not_found(file_id)
        return download

    def _delete(self, file_id: str) -> None:
        if not self._has(file_id):
            raise file_not_found(file_id)
        if users := self._users.users_of(file_id):
            message = f"{file_id} is used by {users[0]}, which is not finished: wait for that job, or cancel it"
            raise ServiceError(409, "file_in_use", message)
        stored = self._readable(file_id)
        try:
            self._remove(file_id)
        except FileNotFoundError as exc:
            raise file_not_found(file_id) from exc
        if stored is not None and stored.idempotency_key is not None:
            self._keys.forget(FileKey(stored.idempotency_key, stored.owner), file_id)

    def _has(self, file_id: str) -> bool:
        """Whether there is such a file, in whatever state."""
        return self._directory(file_id).is_dir()

    def _remove(self, file_id: str) -> None:
        """By a rename first: nobody ever sees half of a file. Raises FileNotFoundError."""
        doomed = self._root / f"{PREFIX}{secrets.token_hex(8)}"
        os.rename(self._directory(file_id), doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _directory(self, file_id: str) -> Path:
        if not FILE_ID.fullmatch(file_id):
            raise file_not_found(file_id)
        return self._root / file_id


def _lines_of(staging: Path) -> StoredContent | None:
    """What a parquet file was turned into; None where there was none."""
    try:
        with (staging / LINES).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return StoredContent(num_bytes=file.tell(), sha256=digest)
    except FileNotFoundError:
        return None


def _asked_of(stored: StoredFile) -> str:
    """What the upload asked for that a file was made of."""
    return request_digest(stored.filename, stored.columns, stored.sha256)


def _mark(owner: str | None) -> str:
    """What the names of an owner's uploads under way end with."""
    return f"-{hashlib.sha256(owner.encode()).hexdigest()[:16]}" if owner is not None else ""


def _too_many(what: str, limit: str) -> ServiceError:
    message = f"{what} stored or on their way, the limit is {limit}: delete some with DELETE /v1/files/{{id}}"
    return ServiceError(409, "too_many_files", message)


def file_not_found(file_id: str) -> ServiceError:
    message = f"there is no file {file_id[:60]!r}: GET /v1/files lists those that there are"
    return ServiceError(404, "file_not_found", message)
