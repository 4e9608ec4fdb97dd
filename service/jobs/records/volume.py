"""The volume as requests use it: in threads, never where it is not mounted, and with an answer for whatever it does.

    <data>/.adavae-volume   a marker; where it has gone since it was seen, something else is in the volume's place

Changes that may have to wait for a lock have threads of their own: a lock that a frozen process holds keeps nobody from
reading.
"""

import asyncio
import errno
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from adavae.model.errors import StorageFull
from adavae.model.storage.atomic import write_atomically
from adavae.service.errors import ServiceError
from adavae.service.jobs.records.volume_file import NotReadable, read_regular
from adavae.service.objects.errors import ObjectChanged, StoreError

MARKER = ".adavae-volume"
NUM_USING, NUM_CHANGING, MAX_CHANGES_WAITING = 8, 8, 64

_MARK = b"adavae keeps adapter sets, jobs and uploads here. Where this file is missing, the volume counts as away.\n"
_THE_VOLUME = "the data volume (ADAVAE_DATA)"
_Fault = tuple[str, str, str]
_FULL: _Fault = ("storage_full", "is full", "delete files or adapter sets that nobody needs, and try again")
_READ_ONLY: _Fault = ("storage_read_only", "can only be read", "mount it for writing")
_FORBIDDEN: _Fault = ("storage_forbidden", "refuses this service's user", "give that user the rights to read and write")
_AWAY: _Fault = ("storage_unmounted", "is not mounted", "mount it again; nothing has to be restarted")
_FAILED: _Fault = ("storage_failed", "does not answer as it should", "see the service's log, and try again")
_BY_ERRNO: Mapping[int, _Fault] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    errno.EROFS: _READ_ONLY,
    **dict.fromkeys((errno.EACCES, errno.EPERM), _FORBIDDEN),
}
_RETRY_AFTER_S = 30
_log = structlog.get_logger("adavae.volume")

Result = TypeVar("Result")


class Volume:
    """One data directory; used from one event loop."""

    def __init__(self, data: Path) -> None:
        """Opens nothing yet: the first use does, and puts the marker there where it is missing."""
        self._data, self._marker = data, data / MARKER
        self._is_known = False
        self._using = ThreadPoolExecutor(NUM_USING, thread_name_prefix="adavae-volume-use")
        self._changing = ThreadPoolExecutor(NUM_CHANGING, thread_name_prefix="adavae-volume-change")
        self._num_changes = 0

    async def use(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What ``function`` gives, which takes no lock; raises ServiceError (503) for whatever the volume does."""
        return await self._in_thread(self._using, self.answered, function, *arguments)

    async def change(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """As ``use``, for what may take a lock.

        Raises:
            ServiceError: 503 also where too many changes wait already.
        """
        if self._num_changes >= MAX_CHANGES_WAITING:
            message = (
                f"{self._num_changes} changes wait for {_THE_VOLUME}, the limit is {MAX_CHANGES_WAITING}: a process "
                "that holds a lock hangs; try again later"
            )
            raise ServiceError(503, "storage_busy", message, retry_after_s=_RETRY_AFTER_S)
        self._num_changes += 1
        try:
            return await self._in_thread(self._changing, self.answered, function, *arguments)
        finally:
            self._num_changes -= 1

    async def end(self, function: Callable[[], None]) -> None:
        """Runs what tidies up, wherever the volume is; it raises nothing of its own."""
        await self._in_thread(self._using, function)

    async def _in_thread(self, threads: ThreadPoolExecutor, function: Callable[..., Result], *arguments: Any) -> Result:
        """Never ends before the thread has: what it does must not outlive the request."""
        working = asyncio.get_running_loop().run_in_executor(threads, function, *arguments)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait((working,))
            working.exception()  # nobody asks for it any more
            raise

    def answered(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """``use`` for whoever is in a thread already."""
        try:
            self.check_there()
            return function(*arguments)
        except StoreError as exc:
            _log.error("store_failed", kind=exc.kind, reason=str(exc))
            raise exc.answer() from exc
        except ObjectChanged as exc:
            raise ServiceError(503, "storage_busy", str(exc), retry_after_s=_RETRY_AFTER_S) from exc
        except StorageFull as exc:
            raise _error(_FULL) from exc
        except OSError as exc:
            fault = _AWAY if self._is_away() else _BY_ERRNO.get(exc.errno or 0, _FAILED)
            _log.error("volume_failed", code=fault[0], directory=str(self._data), reason=str(exc))
            raise _error(fault, exc) from exc

    def check_there(self) -> None:
        """Reads the marker, so that a volume that gives nothing is noticed even by a request that would only list it.

        Raises:
            OSError: It is not there any more, or cannot be read.
        """
        if self._is_known:
            with suppress(NotReadable):  # something is there
                read_regular(self._marker, len(_MARK))
            return
        with suppress(OSError, StorageFull):  # a volume that can only be read is read without one
            self._data.mkdir(parents=True, exist_ok=True)
            if not self._marker.exists():
                write_atomically(self._marker, _MARK)
            self._is_known = True

    def _is_away(self) -> bool:
        """Whether the marker was there and has gone."""
        try:
            return self._is_known and not self._marker.exists()
        except OSError:  # it is not known
            return False


class SharedPlace(Volume):
    """An object store, used like a volume; the directory is this machine's, for what comes in and goes out."""

    def check_there(self) -> None:
        """Asks the store nothing: the request itself will."""


def _error(fault: _Fault, cause: OSError | None = None) -> ServiceError:
    code, what, remedy = fault
    name = errno.errorcode.get(cause.errno or 0) if cause is not None else None
    why = f" ({name})" if name is not None else ""
    return ServiceError(503, code, f"{_THE_VOLUME} {what}{why}: {remedy}", retry_after_s=_RETRY_AFTER_S)
