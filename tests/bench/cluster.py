"""The service on Ray Serve beside plain uvicorn, on one replica and more, and on nodes that are lost.

    python -m tests.bench.cluster routing              # one replica: `adavae serve`, Serve's proxy, Serve's HAProxy
    python -m tests.bench.cluster replicas             # one replica, then two on two nodes
    python -m tests.bench.cluster nodes --nodes 4      # a replica a node: scaled, replaced, one lost, a new set

Writes one JSON object a line to stdout; every process it starts has ended when it ends.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.bench.load import Answer, Body, closed_loop
from tests.bench.served import served
from tests.bench.subjects import BUNDLED
from tests.integration.ray_cluster import HOST, RayCluster, ray_cluster
from tests.integration.ray_load import ClusterLoad
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_text import NAMED

HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2"}
_SHARED = {"training": "off", "threads": "1", "log_level": "error", "cache_bytes": "0"}
_WARM_UP, _SEEN_S, _PATIENCE_S = 40, 10.0, "600"
_PAUSE_S = 0.2


def report(what: str, **figures: Any) -> None:
    """One line."""
    sys.stdout.write(json.dumps({"what": what, **figures}) + "\n")
    sys.stdout.flush()


def encode(number: int) -> tuple[str, Body]:
    """A text that was not sent before."""
    return "/encode", {"text": f"the food was great and table number {number} was ours ."}


def timed(port: int, *, num_clients: int, num_requests: int) -> dict[str, float]:
    """Milliseconds until the answer, and answers a second; every answer must be one."""

    def ask(number: int, times: int) -> list[Answer]:
        offset = time.monotonic_ns() + number
        shifted = lambda each: encode(offset + each)  # noqa: E731
        return asyncio.run(closed_loop(HOST, port, shifted, num_clients=num_clients, num_requests=times))

    ask(0, _WARM_UP)
    began = time.perf_counter()
    answers = ask(1, num_requests)
    seconds = time.perf_counter() - began
    assert all(answer.status == 200 for answer in answers), {answer.status for answer in answers}
    cuts = statistics.quantiles((answer.seconds * 1e3 for answer in answers), n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2), "a_second": round(num_requests / seconds, 1)}


@contextmanager
def clustered(settings: dict[str, str], variables: dict[str, str]) -> Iterator[RayCluster]:
    """A cluster of one node whose replicas have these settings."""
    chosen = {f"ADAVAE_{name.upper()}": value for name, value in (_SHARED | settings).items()}
    with ray_cluster(chosen | variables) as cluster:
        yield cluster


def command(cluster: RayCluster, *arguments: str, **settings: str) -> str:
    """``adavae cluster``; its stdout."""
    chosen = {f"ADAVAE_{name.upper()}": value for name, value in settings.items()}
    variables = {"RAY_ADDRESS": cluster.address, "ADAVAE_PORT": str(cluster.http_port), **chosen}
    done = subprocess.run(
        [sys.executable, "-m", "adavae.service", "cluster", *arguments],
        env=cluster.environment | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def routing(home: dict[str, str], num_requests: int) -> None:
    """What each way to one replica costs, one client and eight; the ways take turns, to be compared in one run."""
    data = Path(home["data"])
    kept = {name: value for name, value in home.items() if name != "data"}
    ports: dict[str, int] = {}
    with (
        served(data, **_SHARED, **kept) as plain,
        clustered(home, {}) as by_proxy,
        clustered(home, HAPROXY) as by_haproxy,
    ):
        for cluster in (by_proxy, by_haproxy):
            command(cluster, "up", "--wait", _PATIENCE_S)
        ports = {"uvicorn": plain.port, "serve": by_proxy.http_port, "serve+haproxy": by_haproxy.http_port}
        for num_clients in (1, 8):
            found = {way: list[dict[str, float]]() for way in ports}
            for _ in range(3):
                for way, port in ports.items():
                    found[way].append(timed(port, num_clients=num_clients, num_requests=num_requests))
            medians = {way: _median(rounds) for way, rounds in found.items()}
            for way, figures in medians.items():
                ratios = {f"{name}_ratio": round(figures[name] / medians["uvicorn"][name], 3) for name in figures}
                report("routing", way=way, clients=num_clients, **figures, **ratios)


def replicas(home: dict[str, str], num_requests: int) -> None:
    """Answers a second of one replica and of two, sixteen clients."""
    with clustered(home, HAPROXY) as cluster:
        cluster.add_node()
        found = []
        for num in (1, 2):
            command(cluster, "up", "--wait", _PATIENCE_S, min_replicas=str(num))
            found.append(timed(cluster.http_port, num_clients=16, num_requests=num_requests))
            report("replicas", replicas=num, **found[-1])
        report("replicas", ratio=round(found[1]["a_second"] / found[0]["a_second"], 2), cores=os.cpu_count())


def nodes(home: Path, num_nodes: int, variables: dict[str, str]) -> None:
    """A replica a node, tiny weights: scaled, replaced, a set published, a node lost, all under load.

    The load is light: on few cores a heavy one keeps replicas from coming up, which takes some ten seconds of a core
    each. Each change has ten minutes.
    """
    settings = tiny_settings(home)
    chosen = {"weights": str(settings.weights), "data": str(settings.data), "default_adapter": "prefixed"}
    with clustered(chosen | {"max_tokens": "16", "refresh_s": "0.2"}, variables) as cluster:
        others = [cluster.add_node() for _ in range(num_nodes - 1)]
        url = f"http://{HOST}:{cluster.http_port}"
        report("up", replicas=1, seconds=_took(cluster, 1))
        with ClusterLoad(url, num_clients=2, num_streams=1, pause_s=_PAUSE_S) as load:
            report("scaled", replicas=num_nodes, seconds=_took(cluster, num_nodes), **_outcome(load))
            report("replaced", replicas=num_nodes, seconds=_took(cluster, num_nodes), **_outcome(load))
            fewer = num_nodes - 1
            report("scaled down", replicas=fewer, seconds=_took(cluster, fewer), **_outcome(load))
            report("scaled again", replicas=num_nodes, seconds=_took(cluster, num_nodes), **_outcome(load))
            publish_tiny(settings.own_adapters, settings.weights, "fresh", NAMED["plain"], 77)
            own_ports = [] if variables else [port for _, port in others]  # HAProxy has one for the whole machine
            ports = [cluster.http_port, *own_ports]
            report("published", seconds_until_served=[_until_served(port, "fresh") for port in ports])
            others[0][0].lose()
            load.more(200)
            report("lost a node", **_outcome(load))
        report("status", **json.loads(command(cluster, "status", "--json")))
        began = time.perf_counter()
        command(cluster, "down")
        report("down", seconds=round(time.perf_counter() - began, 1))


def _took(cluster: RayCluster, num_replicas: int) -> float:
    began = time.perf_counter()
    command(cluster, "up", "--wait", _PATIENCE_S, min_replicas=str(num_replicas))
    return round(time.perf_counter() - began, 1)


def _outcome(load: ClusterLoad) -> dict[str, Any]:
    """Since the last time."""
    account = load.account
    outcome = {"answered": account.answered, "streamed": account.streamed}
    outcome |= {"failed": list(account.failed), "lost": list(account.lost)}
    account.answered, account.streamed, account.failed, account.lost = 0, 0, [], []
    return outcome


def _until_served(port: int, adapter: str) -> float | None:
    """Seconds; None where it is not, in the end."""
    began = time.perf_counter()
    while time.perf_counter() - began < _SEEN_S:
        body = {"text": "it was great !", "adapter": adapter}
        if httpx2.post(f"http://{HOST}:{port}/encode", json=body).status_code == 200:
            return round(time.perf_counter() - began, 2)
    return None


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["routing", "replicas", "nodes"])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--haproxy", action="store_true", help="nodes: by HAProxy instead of Serve's own proxy")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before it was done"))  # by way of every finally
    directory = Path(tempfile.mkdtemp(prefix="ray-bench-"))
    home = {"data": str(directory / "data"), "weights": str(BUNDLED.parent)}
    try:
        match options.what:
            case "routing":
                routing(home, options.requests)
            case "replicas":
                replicas(home, options.requests)
            case "nodes":
                nodes(directory, options.nodes, HAPROXY if options.haproxy else {})
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
