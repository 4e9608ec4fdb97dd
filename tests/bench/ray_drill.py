"""The fault drill where tasks of a Ray cluster train: two nodes, of which one may be lost with all that runs on it.

    python -m tests.bench.fault_drill --ray --faults 100

Faults of its own beside those of ``fault_drill``: a node is lost and another one joins, the dispatcher is killed,
training is dismissed with checkpoints and called again.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from adavae.service.cluster.reaching import NoCluster, reached
from adavae.service.cluster.trainers import call_trainers, dismiss_trainers
from adavae.service.settings import load_settings
from tests.bench.drill_verdict import Summary
from tests.bench.fault_drill import Drill, Trainer
from tests.integration.ray_cluster import RayCluster, ray_cluster
from tests.integration.training_home import TrainingHome

LEASE_S = 3.0
_PATIENCE_S = 30.0
_HEARD_S = 180.0
_TASK, _DISPATCHER = "ray::train ", "ray::Dispatcher"
_SETTINGS = ("weights", "data", "lease_s", "training_threads", "training_silence_s")


class TaskProcess:
    """A process of Ray's that carries out a training task."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def child(self) -> int | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            path = Path(f"/proc/{self._pid}/task/{self._pid}/children")
            return int(path.read_text(encoding="ascii").split()[0])
        return None

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def interrupt(self) -> None:
        """What Ray's cancelling of the task does."""
        self._send(signal.SIGINT)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


class RayDrill(Drill):
    """Two nodes, of one core each."""

    def __init__(self, home: TrainingHome, cluster: RayCluster, call: Callable[[], None], seed: int) -> None:
        """``call`` sees to it that somebody trains, as the service does every few seconds."""
        super().__init__(home, seed)
        self._cluster, self._call_once = cluster, call
        self._other, _ = cluster.add_node()
        self._call()
        self._faults += [self._lose_node, self._kill_dispatcher, self._dismiss_all]

    @property
    def _workers(self) -> Sequence[TaskProcess]:
        return [TaskProcess(pid) for pid in _named(_TASK)]

    def _replaced(self, worker: Trainer) -> None:
        """By Ray."""

    def _stop_worker(self) -> bool:
        if not (workers := self._workers):
            return False
        self._random.choice(workers).interrupt()
        return True

    def _stop_all(self) -> list[int]:
        dismiss_trainers(_PATIENCE_S)
        return []

    def _call(self) -> None:
        """Until it is heard: a dispatcher that was on a lost node is made anew when Ray has missed the node."""
        until = time.monotonic() + _HEARD_S
        while True:
            try:
                return self._call_once()
            except NoCluster:
                if time.monotonic() > until:
                    raise

    def _lose_node(self) -> bool:
        self._other.lose()
        self._other, _ = self._cluster.add_node()
        self._call()
        return True

    def _kill_dispatcher(self) -> bool:
        for pid in _named(_DISPATCHER):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def _dismiss_all(self) -> bool:
        dismiss_trainers(_PATIENCE_S)
        self._call()
        return True


def ray_drill(root: Path, *, num_faults: int, seed: int) -> Summary:
    """Runs one drill; every process it started has ended when it returns."""
    home = TrainingHome(root / "home", lease_s=LEASE_S)
    chosen = {f"ADAVAE_{name.upper()}": str(getattr(home.settings, name)) for name in _SETTINGS}
    with ray_cluster(chosen) as cluster, reached(cluster.address):
        settings = load_settings({name: getattr(home.settings, name) for name in _SETTINGS})
        return RayDrill(home, cluster, lambda: call_trainers(settings), seed).run(num_faults)


def _named(beginning: str) -> Iterator[int]:
    """Processes of this machine whose title begins so."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().decode(errors="replace").startswith(beginning):
                yield int(path.parent.name)
