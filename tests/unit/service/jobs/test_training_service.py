"""Who trains, and how those are called who do it elsewhere."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from adavae.model.errors import AdaVAEError
from adavae.service.jobs import training_service
from adavae.service.jobs.backbone_description import BackboneDescription
from adavae.service.jobs.training_service import TrainingService, training_mode
from adavae.service.metrics import Metrics
from adavae.service.settings import Settings
from tests.tiny import TINY
from tests.unit.service.http_client import until
from tests.unit.service.stub_latent_service import stub_settings


def service(root: Path, call: Callable[[Settings], None]) -> TrainingService:
    settings = stub_settings(data=root / "data", weights=root / "weights", training="ray")
    return TrainingService(settings, Metrics(), lambda _settings: BackboneDescription(TINY, "d" * 64), call=call)


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, "embedded"),
        ({"queue_redis_url": "redis://h:1/0"}, "queued"),
        ({"training": "ray", "queue_redis_url": "redis://h:1/0"}, "ray"),
        ({"training": "off"}, "off"),
    ],
)
def test_who_trains_is_a_setting_or_follows_from_the_queue(fields: dict[str, str], mode: str) -> None:
    assert training_mode(stub_settings(**({"training": "auto"} | fields))) == mode


def test_trainers_of_a_cluster_are_called_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_service, "_LOOK_EVERY_S", 0.001)
    called: list[Settings] = []

    async def look() -> None:
        training = service(tmp_path, called.append)
        await training.start()
        await until(lambda: len(called) > 3)
        await training.stop()

    asyncio.run(look())


@pytest.mark.parametrize("error", [AdaVAEError("no cluster"), RuntimeError("of Ray's own")])
def test_a_service_starts_while_its_trainers_do_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """No replica came up for as long as the dispatcher was on its way to another machine."""
    monkeypatch.setattr(training_service, "_LOOK_EVERY_S", 0.001)
    num_called = 0

    def there_later(_settings: Settings) -> None:
        nonlocal num_called
        num_called += 1
        if num_called == 1:
            raise error

    async def look() -> None:
        training = service(tmp_path, there_later)
        await training.start()
        await until(lambda: num_called > 1)
        await training.stop()

    asyncio.run(look())


def test_trainers_that_go_later_leave_the_service_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_service, "_LOOK_EVERY_S", 0.001)
    num_called = 0

    def there_once(_settings: Settings) -> None:
        nonlocal num_called
        num_called += 1
        if num_called > 1:
            raise AdaVAEError("the cluster is away")

    async def look() -> None:
        training = service(tmp_path, there_once)
        await training.start()
        await until(lambda: num_called > 3)
        await training.stop()

    asyncio.run(look())


def test_a_worker_that_hangs_in_the_volume_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on: list[str] = []

    async def hang(_worker: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            went_on.append("ended")

    monkeypatch.setattr(training_service.Worker, "run", hang)

    async def scenario() -> None:
        settings = stub_settings(data=tmp_path / "data", weights=tmp_path / "weights", shutdown_s=0.01)
        training = TrainingService(settings, Metrics(), lambda _settings: BackboneDescription(TINY, "d" * 64))
        await training.start()
        async with asyncio.timeout(20):
            await training.stop()

    asyncio.run(scenario())
    assert went_on == ["ended"]
