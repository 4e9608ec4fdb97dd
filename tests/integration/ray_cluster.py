"""Machines of a Ray cluster as process groups on this one: started, lost, ended."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

HOST = "127.0.0.1"
_OBJECT_STORE_BYTES = 80_000_000
_READY_S, _POLL_S = 120.0, 0.05
_STARTED = "Ray runtime started"
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "20000",  # a slow machine is no lost one; that refuses connections at once
    "RAY_health_check_failure_threshold": "4",
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "1",
    "OMP_NUM_THREADS": "1",
}


class RayNode:
    """One ``ray start``, with everything that Ray starts for it."""

    def __init__(self, options: list[str], log: IO[bytes], environment: dict[str, str]) -> None:
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
        self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def lose(self) -> None:
        """kill -9 of every process, as when a machine loses power; they are all of one session, not of one group."""
        while left := _of_session(self._process.pid):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.poll()
        self._process.wait()


class RayCluster:
    """A head and workers, each with a core to give away; every worker's proxy has a port of its own."""

    def __init__(self, root: Path, environment: dict[str, str], *, cpus_a_node: float = 1.0) -> None:
        """Starts the head; ``environment`` are more variables for every node."""
        self._root, self._cpus = root, cpus_a_node
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ADAVAE_", "RAY_"))}
        self.environment = plain | _QUIET | environment
        self.port, self.http_port = free_port(), free_port()
        self.address = f"{HOST}:{self.port}"
        self._log = (root / "ray.log").open("wb")
        head = ["--head", "--port", str(self.port), "--include-dashboard=false", "--ray-client-server-port"]
        self.nodes: list[RayNode] = []
        self.head = self._start([*head, str(free_port()), "--temp-dir", str(root / "r")], {})

    def add_node(self) -> tuple[RayNode, int]:
        """The node, and the port of its proxy, if it gets one."""
        http_port = free_port()
        node = self._start(["--address", self.address], {"RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(http_port)})
        return node, http_port

    def log(self) -> str:
        return (self._root / "ray.log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        for node in reversed(self.nodes):
            node.lose()
        self._log.close()

    def _start(self, options: list[str], variables: dict[str, str]) -> RayNode:
        """Waits until it is up: of two that start at once on one machine, one takes the other's names and ports."""
        num_started = self.log().count(_STARTED)
        ports = ("--dashboard-agent-listen-port", "--dashboard-agent-grpc-port", "--metrics-export-port")
        own = [part for name in ports for part in (name, str(free_port()))]
        small = ["--num-cpus", f"{self._cpus:g}", "--num-gpus", "0", "--object-store-memory", str(_OBJECT_STORE_BYTES)]
        common = ["--node-ip-address", HOST, "--disable-usage-stats", "--include-log-monitor", "false"]
        node = RayNode([*options, *own, *small, *common], self._log, self.environment | variables)
        self.nodes.append(node)
        _wait_for(lambda: self.log().count(_STARTED) > num_started, node, self.log)
        return node


@contextlib.contextmanager
def ray_cluster(environment: dict[str, str], *, cpus_a_node: float = 1.0) -> Iterator[RayCluster]:
    """A cluster of one node, which has ended when this is left, however many there are then."""
    root = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a short path: Ray's sockets lie below it
    cluster = RayCluster(root, environment, cpus_a_node=cpus_a_node)
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(root, ignore_errors=True)


def _of_session(leader: int) -> list[int]:
    """Processes of the session that ``leader`` began, the dead ones left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, _group, session = path.read_text(encoding="ascii").rsplit(")", 1)[1].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(path.parent.name))
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _wait_for(condition: Callable[[], bool], node: RayNode, explain: Callable[[], str]) -> None:
    deadline_s = time.monotonic() + _READY_S
    while time.monotonic() < deadline_s and node.is_running:
        if condition():
            return
        time.sleep(_POLL_S)
    raise AssertionError(f"a node of the cluster did not start:\n{explain()}")
