"""The other processes of a training run: started, waited for, asked what ended them, and never left behind."""

import contextlib
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
import torch.distributed as dist

from adavae.model.errors import ConfigError, TrainingProcessLost
from adavae.model.training.processes.group import OneProcess, ProcessGroup, SeveralProcesses
from adavae.model.training.processes.handed_run import HandedRun, Place

COMMAND = (sys.executable, "-m", "adavae.model.training.processes.member")
READY = b"ready\n"
TIMEOUT_S = 300.0  # far longer than the slowest step, a checkpoint included
_MOST = 64
_PRIVATE = ".processes-"  # begins the name of the directory that the processes share
_ENDING_S = 5.0  # one that ended by itself may still be on its way out
_SHOWN = 300  # characters of what it complained of


@contextlib.contextmanager
def processes(run: HandedRun, num_processes: int, *, timeout_s: float = TIMEOUT_S) -> Iterator[ProcessGroup]:
    """Starts the others, and yields the group that this process leads; none of them outlives the block.

    While it lasts the threads that this process had for its CPU computations are divided among all.

    Args:
        run: What they all work on.
        num_processes: Of the run, this one included.
        timeout_s: How long one waits for another.

    Raises:
        ConfigError: There cannot be so many here.
        TrainingProcessLost: One of them ended, or did not answer in time.
    """
    device = run.backbone.wte.weight.device
    _check(num_processes, device)
    _remove_leftovers(run.directory)
    if num_processes == 1:
        yield OneProcess()
        return
    run.directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=_PRIVATE, dir=run.directory) as made,
        _threads_divided(num_processes) as num_threads,
    ):
        directory = Path(made)
        run.write(directory)
        places = [
            Place(
                directory=directory,
                rank=rank,
                size=num_processes,
                device=str(_device_of(rank, device)),
                num_threads=num_threads,
                timeout_s=timeout_s,
            )
            for rank in range(num_processes)
        ]
        with _Members.started(places[1:]) as members:
            members.wait_until_ready(timeout_s)
            yield SeveralProcesses.join(places[0].meeting, 0, num_processes, timeout_s=timeout_s)


class _Members:
    """Every process of a run but its leader."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._complaints: dict[int, Path] = {}

    @classmethod
    @contextlib.contextmanager
    def started(cls, places: Sequence[Place]) -> Iterator[Self]:
        """Kills them in the end: they hold nothing that the leader has not written."""
        members = cls()
        try:
            for place in places:
                members._start(place)
            yield members
        except TrainingProcessLost as exc:
            raise members._what_happened(exc) from exc
        finally:
            members._end()

    def _start(self, place: Place) -> None:
        """In a session of its own, so that Ctrl-C reaches the leader alone, which stops all in order."""
        self._complaints[place.rank] = place.directory / f"complaints-{place.rank}"
        with self._complaints[place.rank].open("wb") as complaints:
            self._running[place.rank] = subprocess.Popen(
                [*COMMAND, place.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )

    def wait_until_ready(self, timeout_s: float) -> None:
        """Until all have read what they were handed; raises TrainingProcessLost if one does not come so far."""
        until = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            for rank, process in self._running.items():
                assert process.stdout is not None  # _start opened it
                selector.register(process.stdout, selectors.EVENT_READ, rank)
            while selector.get_map():
                ready = selector.select(max(0.0, until - time.monotonic()))
                if not ready:
                    raise TrainingProcessLost(f"not every training process was ready within {timeout_s:g} s")
                for key, _ in ready:
                    process = self._running[key.data]
                    assert process.stdout is not None
                    if process.stdout.readline() != READY:
                        raise TrainingProcessLost(f"training process {key.data} did not start")
                    selector.unregister(key.fileobj)

    def _what_happened(self, exc: TrainingProcessLost) -> TrainingProcessLost:
        """The error, with how the first process that ended came to its end, and what is left to do."""
        kept = "its checkpoints were kept, and any number of processes can go on from the newest"
        for rank, process in self._running.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=_ENDING_S)
                how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                return TrainingProcessLost(f"training process {rank} {how}: {kept}", self._complaint(rank))
        return TrainingProcessLost(f"{exc}: {kept}")

    def _complaint(self, rank: int) -> str:
        """The last line of its standard error."""
        lines = self._complaints[rank].read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:_SHOWN] if lines else ""

    def _end(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _remove_leftovers(directory: Path) -> None:
    """Of a leader that was killed; a run has one at a time."""
    for path in directory.glob(f"{_PRIVATE}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _threads_divided(num_processes: int) -> Iterator[int]:
    before = torch.get_num_threads()
    share = max(1, before // num_processes)
    torch.set_num_threads(share)
    try:
        yield share
    finally:
        torch.set_num_threads(before)


def _check(num_processes: int, device: torch.device) -> None:
    if not 1 <= num_processes <= _MOST:
        raise ConfigError("num_processes", num_processes, f"must be from 1 to {_MOST}")
    if num_processes == 1:
        return
    if not (dist.is_available() and dist.is_gloo_available()):
        raise ConfigError("num_processes", num_processes, "must be 1: this installation of torch has no gloo")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError("num_processes", num_processes, f"must be 1 on the device {device}")
    if device.type == "cuda" and num_processes > torch.cuda.device_count():
        rule = f"must be at most the number of GPUs, {torch.cuda.device_count()}, or train on the CPU"
        raise ConfigError("num_processes", num_processes, rule)


def _device_of(rank: int, leaders: torch.device) -> torch.device:
    """The leader's GPU is whichever it has; the others take the next ones, around the end."""
    if leaders.type == "cpu":
        return leaders
    return torch.device("cuda", ((leaders.index or 0) + rank) % torch.cuda.device_count())
