"""The Serve application, in Serve's local testing mode: a replica in this process, as Serve builds and asks it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray.serve", reason="Ray Serve is not installed (pip install 'adavae[ray]')")
from ray import serve

from adavae.service.cluster.application import build, deployment_options, drain_s
from adavae.service.cluster.arguments import ClusterArguments, arguments_of
from adavae.service.cluster.replica import NotHealthy, Replica, on_a_cluster
from adavae.service.cluster.scaling import QUEUE_ROWS
from adavae.service.settings import SettingsError, load_settings
from tests.tiny_home import tiny_settings


@pytest.fixture
def arguments(tmp_path: Path) -> ClusterArguments:
    return arguments_of(tiny_settings(tmp_path, training="off", threads=1), requires_keys=False)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_replica_is_built_is_healthy_and_reports_its_queue(arguments: ClusterArguments) -> None:
    handle = serve.run(build(arguments), name="local", _local_testing_mode=True)
    handle.check_health.remote().result(timeout_s=60)
    assert handle.record_autoscaling_stats.remote().result(timeout_s=60) == {QUEUE_ROWS: 0.0}


def test_a_replica_whose_model_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, training="off", threads=1)
    missing = settings.model_copy(update={"weights": tmp_path / "nowhere"})
    arguments = ClusterArguments(
        settings=arguments_of(missing, requires_keys=False).settings, requires_keys=False
    ).model_dump()

    async def look() -> None:
        replica = Replica(arguments)
        app = await replica.__serve_build_asgi_app__()
        async with app.router.lifespan_context(app):
            await replica.check_health()

    with pytest.raises(Exception, match="nowhere"):
        asyncio.run(look())


def test_what_stops_answering_is_not_healthy(arguments: ClusterArguments) -> None:
    async def look() -> None:
        replica = Replica(arguments.model_dump())
        app = await replica.__serve_build_asgi_app__()
        async with app.router.lifespan_context(app):
            await replica.check_health()
            await app.state.latent.stop()
            with pytest.raises(NotHealthy, match="shutting down"):
                await replica.check_health()

    asyncio.run(look())


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"num_replicas": 1, "ray_actor_options": {"num_cpus": 1.0}}),
        ({"min_replicas": 3}, {"num_replicas": 3}),
        ({"replica_gpus": 0.5}, {"ray_actor_options": {"num_cpus": 1.0, "num_gpus": 0.5}}),
        ({"max_queued_rows": 100}, {"max_ongoing_requests": 100, "max_queued_requests": 100}),
    ],
)
def test_settings_become_what_serve_is_told(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    options = deployment_options(load_settings(given))
    assert {name: options[name] for name in wanted} == wanted


def test_between_two_numbers_of_replicas_the_load_decides() -> None:
    scaling = deployment_options(load_settings({"max_replicas": 4, "decode_rows": 32}))["autoscaling_config"]
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (1, 4, 32)
    assert scaling.policy.get_policy()(**scaling.policy.policy_kwargs) is not None


def test_a_replica_that_leaves_has_as_long_as_a_request_may_take() -> None:
    assert drain_s(load_settings({"deadline_s": 90.5, "shutdown_s": 30})) == 91.0
    assert drain_s(load_settings({"deadline_s": 10, "shutdown_s": 30})) == 30.0


def test_on_a_cluster_ray_trains_and_threads_are_the_cores_that_were_reserved() -> None:
    chosen = on_a_cluster(load_settings({"replica_cpus": 1.5}))
    assert (chosen.training, chosen.threads) == ("ray", 2)
    kept = on_a_cluster(load_settings({"training": "off", "threads": 5}))
    assert (kept.training, kept.threads) == ("off", 5)


def test_wrong_settings_are_refused_before_anything_is_deployed() -> None:
    with pytest.raises(SettingsError, match="ADAVAE_DECODE_ROWS"):
        build(ClusterArguments(settings={"decode_rows": 0}))
