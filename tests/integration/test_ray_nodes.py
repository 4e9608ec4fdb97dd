"""Two nodes of a Ray cluster as real processes: scaled and replaced under load, trained on, and one of them lost."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from adavae.service.jobs.records.job import JobStatus
from tests.integration.ray_cluster import HOST, RayCluster, ray_cluster
from tests.integration.ray_load import ClusterLoad
from tests.integration.training_home import TrainingHome

pytest.importorskip("ray.serve", reason="Ray Serve is not installed (pip install 'adavae[ray]')")

_NUM_CLIENTS = 3
_SEEN_S = 2.0
_OF_THE_HOME = ("weights", "data", "lease_s", "training_threads")
_SMALL = {"DEFAULT_ADAPTER": "prefixed", "MAX_TOKENS": "16", "DECODE_ROWS": "4", "REFRESH_S": "0.2"}
_SHARES = {"REPLICA_CPUS": "2", "TRAINING_CPUS": "1"}  # of a node's three: it has room for one replica and one job


@pytest.fixture
def home(tmp_path: Path) -> TrainingHome:
    return TrainingHome(tmp_path)


@pytest.fixture
def cluster(home: TrainingHome) -> Iterator[RayCluster]:
    chosen = {name.upper(): str(getattr(home.settings, name)) for name in _OF_THE_HOME}
    variables = {f"ADAVAE_{name}": value for name, value in (chosen | _SMALL | _SHARES).items()}
    with ray_cluster(variables, cpus_a_node=3) as started:
        yield started


@pytest.mark.slow
def test_two_nodes_serve_and_train_and_one_of_them_may_be_lost(cluster: RayCluster, home: TrainingHome) -> None:
    """One drill for all of it, because a cluster takes longer to start than any of this to happen."""
    worker, worker_port = cluster.add_node()
    urls = [f"http://{HOST}:{port}" for port in (cluster.http_port, worker_port)]
    command(cluster, "up", ADAVAE_MIN_REPLICAS="1")
    with ClusterLoad(urls[0], num_clients=_NUM_CLIENTS) as load:
        job = home.queue_job("fresh", max_steps=30)
        command(cluster, "up", ADAVAE_MIN_REPLICAS="2")  # one becomes two, and the one is replaced
        load.more(20)
        assert load.account.failed == []
        assert json.loads(command(cluster, "status", "--json"))["replicas"] == {"RUNNING": 2}

        home.wait_for(lambda: home.versions("fresh"))
        assert_served_everywhere(urls, "fresh")
        home.wait_for(lambda: home.status(job) is JobStatus.SUCCEEDED)

        worker.lose()
        load.more(50)
    assert load.account.lost == []
    assert len(load.account.failed) <= _NUM_CLIENTS, load.account.failed

    unfinished = home.queue_job("later", max_steps=5000)
    home.wait_for(lambda: home.checkpointed_step(unfinished) > 0)
    command(cluster, "down")
    assert home.status(unfinished) is JobStatus.QUEUED
    assert "goes on from its checkpoint" in home.told(unfinished)[-1], home.told(unfinished)


def command(cluster: RayCluster, *arguments: str, **variables: str) -> str:
    """Stdout of ``adavae cluster``."""
    done = subprocess.run(
        [sys.executable, "-m", "adavae.service", "cluster", *arguments],
        env=cluster.environment | {"RAY_ADDRESS": cluster.address, "ADAVAE_PORT": str(cluster.http_port)} | variables,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr + cluster.log()
    return done.stdout


def assert_served_everywhere(urls: list[str], adapter: str) -> None:
    """At every node, within two seconds from now."""
    deadline_s = time.monotonic() + _SEEN_S
    for url in urls:
        while (reply := _encoded(url, adapter)).status_code != 200:
            assert time.monotonic() < deadline_s, f"{url}: {reply.text}"


def _encoded(url: str, adapter: str) -> httpx2.Response:
    return httpx2.post(f"{url}/encode", json={"text": "it was great !", "adapter": adapter}, timeout=30.0)
