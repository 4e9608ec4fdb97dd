"""Files that are only looked at: received, read as training reads them, and gone when they are answered.

They are checked in threads of their own, so that nobody's look at a file keeps an upload waiting.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from math import ceil
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import Columns
from adavae.model.training.readers.preview import Preview, preview_of
from adavae.service.errors import InvalidRequest, Overloaded, ServiceError
from adavae.service.jobs.data.check_pool import CheckPool, CheckTime
from adavae.service.jobs.data.dataset_report import MAX_LINES
from adavae.service.jobs.data.parquet_child import Excerpt
from adavae.service.jobs.data.parquet_conversion import previewed
from adavae.service.jobs.data.upload import PARQUET, Upload, checked_name, ending_of
from adavae.service.jobs.protocol import NamedColumns
from adavae.service.jobs.records.job_errors import JobBusy
from adavae.service.jobs.records.volume_lock import VolumeLock, locked
from adavae.service.settings import Settings

MAX_FILES, MAX_WHOLE_FILES = 64, 3
"""Files that are here at once, and how many of the largest size; a client may have a third of either."""

_PART_OF_A_CLIENT = 3
_PREFIX, _LOCK, _OWN = "adavae-read-", "lock", "file"


class Previews:
    """Used from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._checks = settings, CheckPool()
        self._num_files, self._held = Counter[str](), Counter[str]()  # by client

    async def read(
        self, filename: str, content: AsyncIterator[bytes], columns: NamedColumns, *, max_rows: int, client: str
    ) -> Preview:
        """The file's first rows.

        Args:
            filename: As the client calls it; its ending says how it is read.
            content: Its bytes, taken as they come.
            columns: Asked for the columns' names when all of the content has come.
            max_rows: How many rows are wanted.
            client: Whose file it is: each has a turn.

        Raises:
            InvalidRequest: What was read of it is no data file.
            Overloaded: Too many are on their way.
            ServiceError: 413 where it is too large, 503 where this machine's disk takes no more.
        """
        name = checked_name(filename)
        await run_in_threadpool(_remove_abandoned)
        with self._place(client) as held, _directory() as directory:
            path = directory / f"content{ending_of(name)}"
            await self._receive(path, name, content, client, held)
            check_time = CheckTime(self._settings.check_timeout_s)
            look = partial(self._look, path, name, columns(), max_rows, check_time)
            return await self._checks.run(client, check_time, look)

    @contextmanager
    def _place(self, client: str) -> Iterator[Counter[str]]:
        """What the file inside may count its bytes in, by client; they are given back when it is left."""
        limit = MAX_FILES // _PART_OF_A_CLIENT
        if self._num_files.total() >= MAX_FILES:
            raise _too_much(f"{self._num_files.total()} files are", str(MAX_FILES))
        if self._num_files[client] >= limit:
            raise _too_much(f"{self._num_files[client]} of your files are", str(limit))
        self._num_files[client] += 1
        held = Counter[str]()
        try:
            yield held
        finally:
            self._num_files -= Counter((client,))
            self._held -= held

    def _take(self, client: str, num_bytes: int, held: Counter[str]) -> None:
        """Counts bytes before they are written; raises Overloaded where they are too many."""
        limit = self._settings.max_upload_bytes
        held[client] += num_bytes
        self._held[client] += num_bytes
        if self._held[client] > limit:
            raise _too_much(f"{self._held[client]:,} bytes of your files are", f"{limit:,}")
        if self._held.total() > MAX_WHOLE_FILES * limit:
            raise _too_much(f"{self._held.total():,} bytes of files are", f"{MAX_WHOLE_FILES * limit:,}")

    async def _receive(
        self, path: Path, name: str, content: AsyncIterator[bytes], client: str, held: Counter[str]
    ) -> None:
        upload = Upload(path, self._settings.max_upload_bytes)
        async for piece in content:
            upload.take(piece)
            self._take(client, len(piece), held)
            if upload.has_block:
                await run_in_threadpool(upload.write)
        await run_in_threadpool(upload.write)
        if not upload.num_bytes:
            raise InvalidRequest(f"{name} is empty: send some texts", param="file", code="invalid_data")

    def _look(self, path: Path, name: str, columns: Columns, max_rows: int, check_time: CheckTime) -> Preview:
        shown, settings = self._settings.max_body_bytes, self._settings
        try:
            if ending_of(name) == PARQUET:
                wanted = Excerpt(
                    source=str(path),
                    name=name,
                    columns=asdict(columns),
                    max_shown_rows=max_rows,
                    max_shown_bytes=shown,
                    max_bytes=settings.max_upload_bytes,
                    max_line_bytes=settings.max_line_bytes,
                    max_rows=MAX_LINES,
                    max_seconds=ceil(settings.check_timeout_s),
                )
                return previewed(wanted, check_time)
            bounds = Bounds(
                max_bytes=settings.max_upload_bytes,
                max_line_bytes=settings.max_line_bytes,
                max_lines=MAX_LINES,
                bytes_setting="ADAVAE_MAX_UPLOAD_BYTES",
                line_setting="ADAVAE_MAX_LINE_BYTES",
                ask=partial(check_time.ask, path),
            )
            return preview_of(path, columns, max_rows=max_rows, max_bytes=shown, bounds=bounds)
        except DatasetError as exc:
            raise InvalidRequest(str(exc).replace(str(path), name), param="file", code="invalid_data") from exc


def _remove_abandoned() -> None:
    """What processes of this user that were killed have left; what has nothing in it yet is about to be locked."""
    with suppress(OSError):  # there is no temporary directory, of which a reader hears
        for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    with suppress(JobBusy, OSError):  # somebody reads it, or it has just gone
        if path.lstat().st_uid == os.getuid() and (path / _OWN).is_dir():
            VolumeLock(path / _LOCK, timeout_s=0).release()
            shutil.rmtree(path, ignore_errors=True)


def _too_much(what: str, limit: str) -> Overloaded:
    return Overloaded(f"{what} being read at once, the limit is {limit}: send it again in a moment", retry_after_s=2)


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory of its own, locked for as long as somebody reads what is in it."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as directory,
            locked(Path(directory) / _LOCK),
        ):
            own = Path(directory) / _OWN
            own.mkdir()
            yield own
    except OSError as exc:
        message = f"the temporary directory takes no file ({exc.strerror}): ask who runs the service for more room"
        raise ServiceError(503, "storage_unavailable", message, retry_after_s=60) from exc
