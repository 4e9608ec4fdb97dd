"""Threads of which none keeps the process from ending."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from adavae.service import daemon_threads
from adavae.service.daemon_threads import DaemonThreads


def test_work_is_done_in_order_by_no_more_threads_than_there_may_be() -> None:
    threads, go_on, began = DaemonThreads(2, "test"), threading.Event(), list[int]()

    def work(number: int) -> int:
        began.append(number)
        assert go_on.wait(20)
        return number

    futures = [threads.submit(work, number) for number in range(20)]
    assert futures[3].cancel()
    while len(began) < 2:
        time.sleep(0.001)
    assert {thread.daemon for thread in threading.enumerate() if thread.name.startswith("test_")} == {True}
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("test_")]) == 2
    go_on.set()
    assert [future.result(20) for future in futures if not future.cancelled()] == [*range(3), *range(4, 20)]
    assert 3 not in began


def test_errors_are_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        DaemonThreads(1, "test").submit(lambda: 1 // 0).result(20)


def test_a_thread_that_ends_for_want_of_work_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_threads, "_IDLE_S", 0.0)
    threads = DaemonThreads(1, "test")
    assert [threads.submit(int, number).result(20) for number in range(200)] == [*range(200)]


def test_the_end_waits_for_what_ends_in_time() -> None:
    threads, began, go_on = DaemonThreads(2, "test", patience_s=20.0), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert go_on.wait(20)

    future = threads.submit(work)
    assert began.wait(20)
    threading.Timer(0.05, go_on.set).start()
    threads.shutdown()
    assert future.done()


def test_it_may_be_what_asyncio_takes() -> None:
    async def scenario() -> str:
        asyncio.get_running_loop().set_default_executor(DaemonThreads(1, "test"))
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    assert asyncio.run(scenario()).startswith("test_")


def test_a_thread_that_hangs_keeps_no_process_from_ending() -> None:
    program = """
import asyncio, threading
from adavae.service.daemon_threads import DaemonThreads
async def scenario():
    asyncio.get_running_loop().set_default_executor(DaemonThreads(2, "hangs"))
    asyncio.create_task(asyncio.to_thread(threading.Event().wait))
    await asyncio.sleep(0)
asyncio.run(scenario())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
