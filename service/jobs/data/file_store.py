"""Uploaded data on the shared volume: each file stands there whole and checked, or not at all.

    <root>/<file id>/content.jsonl   the upload as it came; only its ending is the client's
    <root>/<file id>/file.json       what is known of it
    <root>/.staging-<chance>/        an upload under way, or a file that is being deleted
    <root>/.lock                     held while room is being taken

A name that a client sent is never part of a path.
"""

import asyncio
import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from adavae.model.errors import DatasetError, StorageFull
from adavae.model.storage.atomic import publish_directory, write_atomically
from adavae.service.downloads import Download, download_file
from adavae.service.errors import InvalidRequest, ServiceError
from adavae.service.jobs.data.dataset_report import DatasetReport, report_on
from adavae.service.jobs.data.token_counter import TokenCounter, open_token_counter
from adavae.service.jobs.data.upload import PURPOSE, Upload, checked_name, ending_of
from adavae.service.jobs.protocol import Page
from adavae.service.jobs.records.job import StoredFile
from adavae.service.jobs.records.volume_lock import locked
from adavae.service.settings import Settings

_ID = re.compile(r"file-[0-9a-f]{24}")
_RECORD, _STAGING = "file.json", ".staging-"
_STALE_S = 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_log = structlog.get_logger("adavae.files")
Result = TypeVar("Result")


class FileUsers(Protocol):
    """Who knows which jobs use a file: ``JobStore``."""

    def users_of(self, file_id: str) -> Sequence[str]:
        """Jobs that are not finished and need it."""
        ...


class FileStore:
    """``FileOperations`` over one directory, which several services may share; the event loop never waits for it."""

    def __init__(
        self,
        settings: Settings,
        users: FileUsers,
        open_counter: Callable[[Settings], TokenCounter] = open_token_counter,
    ) -> None:
        """Opens nothing yet: the tokenizer, which ``open_counter`` gives, is read for the first upload."""
        self._settings, self._users, self._open_counter = settings, users, open_counter
        self._root = settings.files
        self._counter: TokenCounter | None = None
        self._one_check = asyncio.Lock()  # one at a time: it takes several times the memory of the file

    async def create(self, filename: str, purpose: str, content: AsyncIterator[bytes]) -> StoredFile:
        name = checked_name(filename)
        if purpose != PURPOSE:
            message = f"purpose is {purpose[:60]!r}, must be {PURPOSE!r}: data is stored for training only"
            raise InvalidRequest(message, param="purpose")
        staging = self._root / f"{_STAGING}{secrets.token_hex(8)}"
        try:
            await _in_thread(self._take_room, staging)
            return await self._stored(staging, name, content)
        except (StorageFull, OSError) as exc:
            if isinstance(exc, OSError) and exc.errno not in _FULL:
                raise
            message = "the volume is full: delete files or adapter sets that nobody needs, and try again"
            raise ServiceError(503, "storage_full", message, retry_after_s=60) from exc
        finally:
            await _in_thread(_remove, staging)

    async def get(self, file_id: str) -> StoredFile:
        return await _in_thread(self._read, file_id)

    async def list(self, *, limit: int, after: str | None, newest_first: bool = True) -> Page[StoredFile]:
        return await _in_thread(self._page, limit, after, newest_first)

    async def download(self, file_id: str) -> Download:
        return await _in_thread(self._download, file_id)

    async def delete(self, file_id: str) -> None:
        await _in_thread(self._delete, file_id)

    def path_of(self, file_id: str) -> Path:
        """Where a file's content stands; raises ServiceError (404) where there is none."""
        stored = self._read(file_id)
        return self._directory(file_id) / f"content{ending_of(stored.filename)}"

    def remove_stale(self) -> None:
        """Removes what killed processes left behind: whatever is unfinished and has not grown for an hour."""
        for staging in self._root.glob(f"{_STAGING}*"):
            if time.time() - _last_change(staging) > _STALE_S:
                _log.warning("stale_upload_removed", directory=staging.name)
                _remove(staging)

    def _take_room(self, staging: Path) -> None:
        """Makes the upload's own directory; uploads under way count, so that together they cannot fill the volume."""
        self._root.mkdir(parents=True, exist_ok=True)
        limit = self._settings.max_files
        with locked(self._root / ".lock"):
            self.remove_stale()
            num_files = sum(bool(_ID.fullmatch(path.name)) or _is_staging(path) for path in self._root.iterdir())
            if num_files >= limit:
                message = f"{num_files} files are stored or on their way, the limit is {limit} (ADAVAE_MAX_FILES)"
                raise ServiceError(409, "too_many_files", f"{message}: delete some with DELETE /v1/files/{{id}}")
            staging.mkdir()

    async def _stored(self, staging: Path, name: str, content: AsyncIterator[bytes]) -> StoredFile:
        path = staging / f"content{ending_of(name)}"
        upload = Upload(path, self._settings.max_upload_bytes)
        async for piece in content:
            upload.take(piece)
            if upload.has_block:
                await _in_thread(upload.write)
        await _in_thread(upload.write)
        if not upload.num_bytes:
            raise InvalidRequest(f"{name} is empty: send at least 2 texts", param="file", code="invalid_data")
        async with self._one_check:
            report = await _in_thread(self._checked, path, name)
        stored = StoredFile(
            id=f"file-{time.time_ns() // 1000:013x}{secrets.token_hex(6)[1:]}",  # sorts by time
            created_at=int(time.time()),
            filename=name,
            purpose=PURPOSE,
            num_bytes=upload.num_bytes,
            sha256=upload.digest.hexdigest(),
            num_rows=report.rows,
            labels=report.labels,
            report=report.to_dict(),
        )
        await _in_thread(self._publish, staging, stored)
        return stored

    def _checked(self, path: Path, name: str) -> DatasetReport:
        if self._counter is None:
            self._counter = self._open_counter(self._settings)
        limit = self._settings.max_upload_bytes
        try:
            return report_on(
                path, count_tokens=self._counter.count, max_tokens=self._counter.max_tokens, max_bytes=limit
            )
        except DatasetError as exc:
            message = str(exc).replace(str(path), name)
            raise InvalidRequest(message, param="file", code="invalid_data") from exc

    def _publish(self, staging: Path, stored: StoredFile) -> None:
        write_atomically(staging / _RECORD, json.dumps(asdict(stored)).encode())
        publish_directory(staging, self._root / stored.id)

    def _read(self, file_id: str) -> StoredFile:
        try:
            values: dict[str, Any] = json.loads((self._directory(file_id) / _RECORD).read_bytes())
            return StoredFile(**values)
        except FileNotFoundError as exc:
            raise _not_found(file_id) from exc
        except (ValueError, TypeError) as exc:
            message = f"the record of {file_id} is damaged ({type(exc).__name__}): delete the file and send it again"
            raise ServiceError(500, "file_damaged", message) from exc

    def _page(self, limit: int, after: str | None, newest_first: bool) -> Page[StoredFile]:
        """Goes on behind ``after`` also where that has been deleted since."""
        names = [path.name for path in self._root.iterdir()] if self._root.is_dir() else []
        ids = sorted(filter(_ID.fullmatch, names), reverse=newest_first)
        if after is not None:
            if not _ID.fullmatch(after):
                message = f"after is {after[:60]!r}, which is no file's id: give the last id of the page before"
                raise InvalidRequest(message, param="after")
            ids = [each for each in ids if (each < after if newest_first else each > after)]
        return Page([stored for each in ids[:limit] if (stored := self._readable(each))], has_more=len(ids) > limit)

    def _readable(self, file_id: str) -> StoredFile | None:
        """None where it was deleted meanwhile, or is damaged: the other files of a list are shown all the same."""
        try:
            return self._read(file_id)
        except ServiceError as exc:
            if exc.status != 404:
                _log.warning("file_damaged", file=file_id)
            return None

    def _download(self, file_id: str) -> Download:
        try:
            return download_file(self.path_of(file_id))
        except FileNotFoundError as exc:
            raise _not_found(file_id) from exc

    def _delete(self, file_id: str) -> None:
        """By a rename first: nobody ever sees half of a file."""
        directory = self._directory(file_id)
        if not directory.is_dir():
            raise _not_found(file_id)
        if users := self._users.users_of(file_id):
            message = f"{file_id} is used by {users[0]}, which is not finished: wait for that job, or cancel it"
            raise ServiceError(409, "file_in_use", message)
        doomed = self._root / f"{_STAGING}{secrets.token_hex(8)}"
        try:
            os.rename(directory, doomed)
        except FileNotFoundError as exc:
            raise _not_found(file_id) from exc
        _remove(doomed)

    def _directory(self, file_id: str) -> Path:
        if not _ID.fullmatch(file_id):
            raise _not_found(file_id)
        return self._root / file_id


async def _in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """As ``asyncio.to_thread``, but never ends before the thread has: what it writes must not outlive the request."""
    working = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait((working,))
        working.exception()  # nobody asks for it any more
        raise


def _is_staging(path: Path) -> bool:
    return path.name.startswith(_STAGING)


def _last_change(directory: Path) -> float:
    """Of it or a file in it; now, where it has just gone."""
    try:
        return max(path.stat().st_mtime for path in (directory, *directory.iterdir()))
    except FileNotFoundError:
        return time.time()


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _not_found(file_id: str) -> ServiceError:
    message = f"there is no file {file_id[:60]!r}: GET /v1/files lists those that there are"
    return ServiceError(404, "file_not_found", message)
