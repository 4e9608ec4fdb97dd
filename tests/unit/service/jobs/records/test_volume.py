"""Whatever the volume does, a request gets an answer that names it; who waits for a lock keeps nobody waiting."""

import asyncio
import errno
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from adavae.model.errors import StorageFull
from adavae.service.errors import ServiceError
from adavae.service.jobs.records import volume as volume_module
from adavae.service.jobs.records.volume import MARKER, Volume
from adavae.service.jobs.records.volume_lock import VolumeLock, locked

pytestmark = pytest.mark.asyncio

CODES = {
    errno.ENOSPC: "storage_full",
    errno.EDQUOT: "storage_full",
    errno.EFBIG: "storage_full",
    errno.EROFS: "storage_read_only",
    errno.EACCES: "storage_forbidden",
    errno.EPERM: "storage_forbidden",
}


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path / "data")


async def refused(volume: Volume, error: Exception) -> ServiceError:
    def fail() -> None:
        raise error

    with pytest.raises(ServiceError) as caught:
        await volume.use(fail)
    return caught.value


@pytest.mark.parametrize("number", sorted(errno.errorcode))
async def test_every_error_of_the_system_is_a_503_that_names_the_volume(volume: Volume, number: int) -> None:
    """Regression: all but two of them were a 500."""
    error = await refused(volume, OSError(number, os.strerror(number), "/secret/place"))
    assert (error.status, error.code) == (503, CODES.get(number, "storage_failed"))
    assert error.message.startswith("the data volume (ADAVAE_DATA) ") and ": " in error.message
    assert errno.errorcode[number] in error.message and "secret" not in error.message
    assert error.retry_after_s


async def test_errors_without_a_number_are_reported_too(volume: Volume) -> None:
    assert (await refused(volume, StorageFull("/secret/place is full"))).code == "storage_full"
    assert (await refused(volume, OSError("odd"))).code == "storage_failed"
    with pytest.raises(KeyError):  # which is no error of the volume
        await volume.use({}.__getitem__, "x")


async def test_a_volume_that_went_away_is_noticed_before_anything_lands_underneath(tmp_path: Path) -> None:
    """Regression: uploads went into the mount point's own directory."""
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    volume = Volume(data)
    await volume.use((data / "precious").touch)
    assert (data / MARKER).is_file()
    data.rename(elsewhere)
    for leave in (lambda: None, data.mkdir, (data / "jobs").mkdir):
        leave()
        for ask in (volume.use, volume.change):
            with pytest.raises(ServiceError) as caught:
                await ask((data / "landed").touch)
            assert (caught.value.status, caught.value.code) == (503, "storage_unmounted")
            assert "mount it again" in caught.value.message
    assert not (data / "landed").exists()
    shutil.rmtree(data)
    elsewhere.rename(data)
    assert await volume.use((data / "precious").exists)


async def test_one_that_goes_away_while_it_is_used_is_called_away(tmp_path: Path) -> None:
    data = tmp_path / "data"
    volume = Volume(data)

    def vanish() -> None:
        shutil.rmtree(data)
        (data / "file").read_bytes()

    await volume.use(lambda: None)
    with pytest.raises(ServiceError) as caught:
        await volume.use(vanish)
    assert caught.value.code == "storage_unmounted"


async def test_a_volume_that_can_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _content: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(volume_module, "write_atomically", refuse)
    volume = Volume(tmp_path)
    assert await volume.use(lambda: 3) == 3
    with pytest.raises(ServiceError) as caught:
        await volume.change(refuse, tmp_path / "x", b"")
    assert caught.value.code == "storage_read_only"


async def test_changes_that_wait_for_a_lock_keep_nobody_from_reading(volume: Volume) -> None:
    """Regression: while a frozen process held a lock, the list of jobs took 19 s."""
    go_on = threading.Event()
    waiting = [asyncio.create_task(volume.change(go_on.wait, 60)) for _ in range(30)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        read = await asyncio.gather(*(volume.use(int, number) for number in range(100)))
    assert read == [*range(100)]
    assert not any(task.done() for task in waiting)
    go_on.set()
    await asyncio.gather(*waiting)


async def test_more_changes_than_may_wait_are_refused_at_once(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_module, "MAX_CHANGES_WAITING", 3)
    go_on = threading.Event()
    waiting = [asyncio.create_task(volume.change(go_on.wait, 60)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(ServiceError) as caught:
        await volume.change(lambda: None)
    assert (caught.value.status, caught.value.code) == (503, "storage_busy")
    go_on.set()
    await asyncio.gather(*waiting)
    await volume.change(lambda: None)


async def test_what_was_begun_is_finished_before_its_request_ends(volume: Volume) -> None:
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def work() -> None:
        begun.set()
        assert go_on.wait(60)
        done.append(1)

    working = asyncio.create_task(volume.use(work))
    await asyncio.to_thread(begun.wait)
    working.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert done


async def test_a_lock_is_held_until_it_is_released(tmp_path: Path) -> None:
    lock = VolumeLock(tmp_path / "lock", timeout_s=0)
    with pytest.raises(ServiceError, match="has been locked"), locked(tmp_path / "lock", timeout_s=0):
        pass
    lock.release()
    with locked(tmp_path / "lock", timeout_s=0):
        pass


async def test_a_volume_that_hangs_collects_few_requests(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3,000 requests none was answered, and none was refused."""
    monkeypatch.setattr(volume_module, "MAX_USES_WAITING", 20)
    go_on = threading.Event()
    waiting = [asyncio.create_task(ask(go_on.wait, 60)) for ask in (volume.read, volume.use) * 10]
    await asyncio.sleep(0)
    for ask in (volume.read, volume.use):
        with pytest.raises(ServiceError) as caught:
            await ask(lambda: None)
        assert (caught.value.status, caught.value.code) == (503, "storage_busy")
        assert "20 requests wait for the data volume" in caught.value.message and caught.value.retry_after_s
    await volume.change(lambda: None)
    go_on.set()
    await asyncio.gather(*waiting)
    assert await volume.read(lambda: 3) == 3


async def test_whoever_reads_is_answered_in_time(tmp_path: Path) -> None:
    volume, go_on, began, ended = Volume(tmp_path, deadline_s=0.05), *(threading.Event() for _ in range(3))

    def hang() -> None:
        began.set()
        assert go_on.wait(60)
        ended.set()
        raise OSError("nobody hears of it")

    with pytest.raises(ServiceError) as caught:
        await volume.read(hang)
    assert (caught.value.status, caught.value.code) == (503, "storage_failed")
    assert "does not answer" in caught.value.message and caught.value.retry_after_s
    assert began.is_set() and volume._num_uses == 1
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 60)
    async with asyncio.timeout(60):
        while volume._num_uses:
            await asyncio.sleep(0.001)


async def test_a_client_that_leaves_is_not_waited_for_where_it_only_reads(volume: Volume) -> None:
    go_on = threading.Event()
    reading = asyncio.create_task(volume.read(go_on.wait, 60))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    go_on.set()


@pytest.mark.parametrize("ask", ["use", "change", "end"])
async def test_what_writes_is_left_to_itself_at_the_end_alone(volume: Volume, ask: str) -> None:
    began, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        go_on.wait(60)

    writing = asyncio.create_task(getattr(volume, ask)(hang))
    await asyncio.to_thread(began.wait, 60)
    writing.cancel()
    await asyncio.wait((writing,), timeout=0.05)
    assert not writing.done()
    await volume.stop(0.05)
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()


async def test_the_end_waits_for_what_is_being_written(volume: Volume) -> None:
    began, go_on = threading.Event(), threading.Event()

    def write() -> int:
        began.set()
        assert go_on.wait(60)
        return 3

    writing = asyncio.create_task(volume.use(write))
    await asyncio.to_thread(began.wait, 60)
    stopping = asyncio.create_task(volume.stop(60))
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    await stopping
    assert await writing == 3


async def test_no_thread_that_hangs_keeps_the_process_from_ending(tmp_path: Path) -> None:
    """It ended when it was killed."""
    program = """
import asyncio, sys, threading
from pathlib import Path
from adavae.service.jobs.records.volume import Volume
async def serve():
    volume = Volume(Path(sys.argv[1]))
    hang = threading.Event().wait
    tasks = [asyncio.create_task(ask(hang)) for ask in (volume.read, volume.use, volume.change, volume.end)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await volume.stop(0.05)
asyncio.run(serve())
"""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path))
    async with asyncio.timeout(60):
        assert await child.wait() == 0
