"""One service of a compose file as a local process: command, environment, health, end, memory."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compose_file import seconds

_POLL_S = 0.02
_DEFAULT_GRACE = "10s"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a container runs here, everything mapped to this machine.

    Attributes:
        name: ``service-1``.
        definition: The service in the compose file.
        command: In exec form.
        healthcheck: In exec form.
        environment: All of it.
        working_directory: Where it starts, its home as well.
        log: What it says.
    """

    name: str
    definition: Mapping[str, Any]
    command: Sequence[str]
    healthcheck: Sequence[str]
    environment: Mapping[str, str]
    working_directory: Path
    log: Path


class Container:
    """The process of a plan: started, ended as an engine would, killed, started again."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.peak_bytes = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        return self.plan.log.read_text(encoding="utf-8", errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def grace_s(self) -> float:
        """Seconds between the signal to end and the one that kills."""
        return seconds(self.plan.definition.get("stop_grace_period", _DEFAULT_GRACE))

    def start(self) -> None:
        assert not self.is_running
        with self.plan.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.plan.command,
                env=self.plan.environment,
                cwd=self.plan.working_directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_healthy(self) -> None:
        """Runs the healthcheck as it stands until it passes, as long as the file allows."""
        check = self.plan.definition["healthcheck"]
        allowed_s = seconds(check["start_period"]) + check["retries"] * seconds(check["interval"])
        pause_s, deadline_s = seconds(check["start_interval"]), time.monotonic() + allowed_s
        while not self.is_healthy():
            if not self.is_running or time.monotonic() > deadline_s:
                pytest.fail(f"{self.plan.name} did not become healthy; it said:\n{self.output[-4000:]}")
            time.sleep(min(pause_s, 0.5))

    def is_healthy(self) -> bool:
        """Whether the healthcheck passes, in its time."""
        try:
            done = subprocess.run(
                self.plan.healthcheck,
                env=self.plan.environment,
                cwd=self.plan.working_directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds(self.plan.definition["healthcheck"]["timeout"]),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def ask_to_end(self) -> None:
        """SIGTERM or what the file has in its place, to the first process alone, as an engine sends it."""
        if self._process is not None and self.is_running:
            self.note_memory()
            self._process.send_signal(signal.Signals[self.plan.definition.get("stop_signal", "SIGTERM")])

    def wait_ended(self) -> int:
        """The exit code; fails where the grace period does not suffice."""
        assert self._process is not None
        try:
            return self._process.wait(self.grace_s)
        except subprocess.TimeoutExpired:
            pytest.fail(
                f"{self.plan.name} still runs {self.grace_s} s after it was asked to end:\n{self.output[-4000:]}"
            )

    def kill(self) -> None:
        """kill -9 of everything in it."""
        if self._process is not None:
            for pid in _tree(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def note_memory(self) -> int:
        """Bytes that all its processes have needed at most, each by itself; kept in ``peak_bytes``."""
        if self._process is not None:
            now = sum(_memory(pid, "VmHWM") for pid in _tree(self._process.pid))
            self.peak_bytes = max(self.peak_bytes, now)
        return self.peak_bytes

    def resident_bytes(self) -> int:
        """What all its processes have in memory now."""
        return sum(_memory(pid, "VmRSS") for pid in _tree(self._process.pid)) if self._process is not None else 0


def _tree(pid: int) -> list[int]:
    """The process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(found for child in children for found in _tree(int(child)))]


def _memory(pid: int, field: str) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0
