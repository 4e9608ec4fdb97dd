"""The dispatcher over a real volume, and tasks that never leave this process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("ray.serve", reason="Ray Serve is not installed (pip install 'adavae[ray]')")
from ray.exceptions import RayError

from adavae.service.cluster import dispatcher
from adavae.service.cluster.arguments import arguments_of
from adavae.service.cluster.dispatcher import Dispatcher, task_options
from adavae.service.jobs.records.claims import Lease
from adavae.service.settings import load_settings
from tests.unit.service.http_client import until
from tests.unit.service.jobs.job_home import JobHome, home

__all__ = ["home"]


@dataclass
class Begun:
    """A task that was asked for."""

    job_id: str
    abandoned: Lease | None
    end: "asyncio.Future[str | None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FakeRay:
    """In place of Ray: remembers what was asked for; the tests end it."""

    def __init__(self) -> None:
        self.begun: list[Begun] = []
        self.cancelled: list[object] = []
        self.options_given: list[dict[str, Any]] = []

    def remote(self, *given: Any) -> Any:
        """Of a function, the task; of its arguments, what it comes to."""
        if callable(given[0]):
            return self
        begun = Begun(given[1], given[2])
        self.begun.append(begun)
        return begun.end

    def options(self, **given: Any) -> "FakeRay":
        self.options_given.append(given)
        return self

    def cancel(self, task: "asyncio.Future[str | None]") -> None:
        self.cancelled.append(task)
        task.set_result("handed_back")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(dispatcher, "ray", fake)
    monkeypatch.setattr(dispatcher, "set_up_log", lambda _settings: None)
    monkeypatch.setattr(dispatcher, "_LOOK_EVERY_S", 0.002)
    monkeypatch.setattr("adavae.service.jobs.worker.resting._FIRST_REST_S", 0.01)
    return fake


def dispatching(home: JobHome, work: Callable[[Dispatcher], Awaitable[None]], **fields: Any) -> None:
    """Runs ``work`` beside a dispatcher of the home's volume."""
    given = {"data": home.root / "data", "weights": home.root / "weights", "lease_s": 0.5}
    arguments = arguments_of(load_settings(given | fields), requires_keys=False).model_dump()

    async def run() -> None:
        running = Dispatcher.__new__(Dispatcher)
        await running.__init__(arguments)  # type: ignore[misc]
        try:
            await work(running)
        finally:
            await running.stop(1.0)

    asyncio.run(run())


def test_every_job_that_waits_is_begun_once(home: JobHome, ray: FakeRay) -> None:
    jobs = {home.queue_job(request_digest=str(number)).id for number in range(3)}

    async def work(running: Dispatcher) -> None:
        await until(lambda: len(ray.begun) == 3)
        assert await running.num_tasks() == 3
        await asyncio.sleep(0.05)  # many looks later
        assert {begun.job_id for begun in ray.begun} == jobs
        assert len(ray.begun) == 3

    dispatching(home, work, training_gpus=0.5, training_memory_bytes=7)
    assert ray.options_given[0]["num_gpus"] == 0.5
    assert (ray.options_given[0]["memory"], ray.options_given[0]["max_retries"]) == (7, 0)


def test_a_job_whose_task_is_lost_or_crashes_is_begun_again_after_a_rest(home: JobHome, ray: FakeRay) -> None:
    home.queue_job()

    async def work(_running: Dispatcher) -> None:
        await until(lambda: len(ray.begun) == 1)
        ray.begun[0].end.set_exception(RayError("its node died"))
        await until(lambda: len(ray.begun) == 2)
        ray.begun[1].end.set_result("crashed")
        await until(lambda: len(ray.begun) == 3)

    dispatching(home, work)


def test_an_abandoned_job_is_begun_with_the_lease_that_ran_out(home: JobHome, ray: FakeRay) -> None:
    """Also while the task of the lost node still counts as running: who may go on is decided on the volume."""
    job = home.queue_job()

    async def work(_running: Dispatcher) -> None:
        await until(lambda: len(ray.begun) == 1)
        home.claim(job)
        await until(lambda: len(ray.begun) == 2)

    dispatching(home, work)
    abandoned = ray.begun[1].abandoned
    assert abandoned is not None
    assert (ray.begun[1].job_id, abandoned.attempt) == (job.id, 1)


def test_an_abandoned_job_is_found_while_callers_whose_settings_differ_take_turns(home: JobHome, ray: FakeRay) -> None:
    """Every change of settings began the watch on all leases anew, so that none ever ran out."""
    job = home.queue_job()
    home.claim(job)
    given = {"data": home.root / "data", "weights": home.root / "weights", "lease_s": 0.5}
    callers = [arguments_of(load_settings(given | {"training_cpus": cpus}), requires_keys=False) for cpus in (1.0, 2.0)]

    async def work(running: Dispatcher) -> None:
        async with asyncio.timeout(10):
            while not ray.begun:
                for caller in callers:
                    await running.adopt(caller.model_dump())
                    await asyncio.sleep(0.02)

    dispatching(home, work)
    assert ray.begun[0].abandoned is not None


def test_a_lease_of_another_length_is_watched_anew(home: JobHome, ray: FakeRay) -> None:
    job = home.queue_job()
    home.claim(job)
    given = {"data": home.root / "data", "weights": home.root / "weights", "lease_s": 0.5}

    async def work(running: Dispatcher) -> None:
        await running.adopt(arguments_of(load_settings(given), requires_keys=False).model_dump())
        await until(lambda: len(ray.begun) == 1)

    dispatching(home, work, lease_s=3600)


def test_stopping_cancels_every_task_and_begins_no_other(home: JobHome, ray: FakeRay) -> None:
    home.queue_job()

    async def work(running: Dispatcher) -> None:
        await until(lambda: len(ray.begun) == 1)
        await running.stop(1.0)
        assert ray.cancelled == [ray.begun[0].end]
        await asyncio.sleep(0.05)
        assert len(ray.begun) == 1

    dispatching(home, work)


def test_settings_that_change_hold_for_what_is_begun_afterwards(home: JobHome, ray: FakeRay) -> None:
    async def work(running: Dispatcher) -> None:
        given = {"data": home.root / "data", "weights": home.root / "weights", "training_cpus": 4.0}
        await running.adopt(arguments_of(load_settings(given), requires_keys=False).model_dump())
        home.queue_job()
        await until(lambda: len(ray.begun) == 1)

    dispatching(home, work)
    assert ray.options_given[-1]["num_cpus"] == 4.0


def test_without_a_figure_no_memory_is_reserved() -> None:
    assert task_options(load_settings()) == {"num_cpus": 1.0, "num_gpus": 0.0, "max_retries": 0}
