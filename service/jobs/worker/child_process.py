"""A training process as its worker holds it: started, listened to, told to stop, killed."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Self

from adavae.service.jobs.worker.child_protocol import STOP, Line, Order
from adavae.service.settings import environment_of_child

COMMAND = (sys.executable, "-m", "adavae.service.jobs.worker.child")
_LONGEST_LINE = 1024**2
_KEPT_LINES = 40


class ChildProcess:
    """One running process; it dies with whoever holds this, for its standard input closes then."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._complaints: deque[str] = deque(maxlen=_KEPT_LINES)
        self._listening = asyncio.create_task(self._keep_complaints())

    @classmethod
    async def start(cls, order: Order, command: Sequence[str] = COMMAND) -> Self:
        """Raises OSError where no process can be had.

        In a session of its own, so that Ctrl-C reaches the worker alone, which then stops it in order.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment_of_child(uses_store=order.uses_store),
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        child = cls(process)
        child._send(order.to_line())
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def complaints(self) -> list[str]:
        """The last lines of its standard error: warnings and tracebacks."""
        return list(self._complaints)

    async def lines(self) -> AsyncIterator[Line]:
        """What it says, until it ends."""
        assert self._process.stdout is not None
        async for content in self._process.stdout:
            if (line := Line.decode(content)) is not None:
                yield line

    def stop(self) -> None:
        """Asks it to end after the current step."""
        self._send(STOP)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> int:
        """Its exit code; negative where a signal ended it."""
        code = await self._process.wait()
        await self._listening
        return code

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line)

    async def _keep_complaints(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # a line longer than any of ours
            async for content in self._process.stderr:
                self._complaints.append(content.decode(errors="replace").rstrip())
