"""The volume as requests use it: in threads, never where it is not mounted, and with an answer for whatever it does.

    <data>/.adavae-volume   a marker; where it has gone since it was seen, something else is in the volume's place

Changes that may have to wait for a lock have threads of their own: a lock that a frozen process holds keeps nobody from
reading. One that hangs and gives no error holds few requests: what only reads is waited for until a deadline, and no
more wait than there may be.
"""

import asyncio
import errno
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from adavae.model.errors import StorageFull
from adavae.model.storage.atomic import write_atomically
from adavae.service.daemon_threads import DaemonThreads
from adavae.service.errors import ServiceError
from adavae.service.jobs.records.volume_file import NotReadable, read_regular
from adavae.service.objects.errors import ObjectChanged, StoreError

MARKER = ".adavae-volume"
NUM_USING, NUM_CHANGING = 8, 8
MAX_USES_WAITING, MAX_CHANGES_WAITING = 256, 64  # those that are under way counted

_MARK = b"adavae keeps adapter sets, jobs and uploads here. Where this file is missing, the volume counts as away.\n"
_THE_VOLUME = "the data volume (ADAVAE_DATA)"
_Fault = tuple[str, str, str]
_FULL: _Fault = ("storage_full", "is full", "delete files or adapter sets that nobody needs, and try again")
_READ_ONLY: _Fault = ("storage_read_only", "can only be read", "mount it for writing")
_FORBIDDEN: _Fault = ("storage_forbidden", "refuses this service's user", "give that user the rights to read and write")
_AWAY: _Fault = ("storage_unmounted", "is not mounted", "mount it again; nothing has to be restarted")
_SILENT: _Fault = ("storage_failed", "does not answer", "see whether its server or disk hangs, and try again later")
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

    def __init__(self, data: Path, *, deadline_s: float = 60.0) -> None:
        """Opens nothing yet: the first use does, and puts the marker there where it is missing.

        What only reads is given up after ``deadline_s``.
        """
        self._data, self._marker, self._deadline_s = data, data / MARKER, deadline_s
        self._is_known = False
        self._using = DaemonThreads(NUM_USING, "adavae-volume-use")
        self._changing = DaemonThreads(NUM_CHANGING, "adavae-volume-change")
        self._num_uses = self._num_changes = 0
        self._writing: set[asyncio.Future[Any]] = set()
        self._is_left = asyncio.Event()

    async def read(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What ``function`` gives, which changes nothing and takes no lock: it may go on when nobody waits any more.

        Raises:
            ServiceError: 503 for whatever the volume does, also where it does not answer in time, or too many wait.
        """
        reading = self._begin_use(function, *arguments)
        done, _ = await asyncio.wait((reading,), timeout=self._deadline_s)
        if not done:
            _log.error("volume_failed", code=_SILENT[0], directory=str(self._data), reason="no answer")
            raise _error(_SILENT)
        return reading.result()

    async def use(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """As ``read``, for what writes: it is waited for to its end, whoever has stopped waiting for the request."""
        return await self._to_its_end(self._begin_use(function, *arguments))

    async def change(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """As ``use``, for what may take a lock."""
        if self._num_changes >= MAX_CHANGES_WAITING:
            raise _too_many("changes", self._num_changes, MAX_CHANGES_WAITING, "a process that holds a lock hangs")
        self._num_changes += 1
        changing = _in(self._changing, self.answered, function, *arguments)
        changing.add_done_callback(self._end_change)
        return await self._to_its_end(changing)

    async def end(self, function: Callable[[], None]) -> None:
        """Runs what tidies up, wherever the volume is; it raises nothing of its own."""
        await self._to_its_end(_in(self._using, function))

    async def stop(self, timeout_s: float) -> None:
        """Waits for what is being written; what hangs for longer is left to itself, and ends with the process."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=timeout_s)
        self._is_left.set()

    def _begin_use(self, function: Callable[..., Result], *arguments: Any) -> "asyncio.Future[Result]":
        if self._num_uses >= MAX_USES_WAITING:
            raise _too_many("requests", self._num_uses, MAX_USES_WAITING, "it hangs, or is slow")
        self._num_uses += 1
        using = _in(self._using, self.answered, function, *arguments)
        using.add_done_callback(self._end_use)
        return using

    def _end_use(self, using: "asyncio.Future[Any]") -> None:
        self._num_uses -= 1
        _look_at(using)

    def _end_change(self, changing: "asyncio.Future[Any]") -> None:
        self._num_changes -= 1
        _look_at(changing)

    async def _to_its_end(self, writing: "asyncio.Future[Result]") -> Result:
        """Does not end before the thread has, while the service runs: what it does must not outlive the request."""
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            leaving = asyncio.ensure_future(self._is_left.wait())
            try:
                await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
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


def _in(threads: DaemonThreads, function: Callable[..., Result], *arguments: Any) -> "asyncio.Future[Result]":
    return asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


def _look_at(over: "asyncio.Future[Any]") -> None:
    """Else an error that nobody waits for any more would be logged as lost."""
    if not over.cancelled():
        over.exception()


def _too_many(what: str, num: int, limit: int, why: str) -> ServiceError:
    message = f"{num} {what} wait for {_THE_VOLUME}, the limit is {limit}: {why}; try again later"
    return ServiceError(503, "storage_busy", message, retry_after_s=_RETRY_AFTER_S)


def _error(fault: _Fault, cause: OSError | None = None) -> ServiceError:
    code, what, remedy = fault
    name = errno.errorcode.get(cause.errno or 0) if cause is not None else None
    why = f" ({name})" if name is not None else ""
    return ServiceError(503, code, f"{_THE_VOLUME} {what}{why}: {remedy}", retry_after_s=_RETRY_AFTER_S)
