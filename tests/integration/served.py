"""``adavae serve`` over a tiny installation, in a process of its own."""

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.tiny_home import tiny_settings

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 180.0  # many times what it takes, for machines that are busy


class Served:
    """Started at once; ``url`` waits until it is ready."""

    def __init__(self, home: Path, *options: str, before: Callable[[], None] | None = None, **variables: str) -> None:
        """``before`` is called in the new process, before the program begins."""
        settings = tiny_settings(home)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAVAE_")}
        chosen = {"ADAVAE_WEIGHTS": str(settings.weights), "ADAVAE_DATA": str(settings.data), "ADAVAE_THREADS": "1"}
        chosen |= {"ADAVAE_DEFAULT_ADAPTER": "prefixed", "ADAVAE_MAX_TOKENS": "16", "ADAVAE_DECODE_ROWS": "1"}
        chosen |= {"ADAVAE_TRAINING_THREADS": "1"}
        command = [sys.executable, "-m", "adavae.service", "serve", "--port", "0", *options]
        self.process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=environment | chosen | variables,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        self.lines: list[str] = []
        self._incoming: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._incoming.put(line)

    def url(self) -> str:
        while True:
            if found := re.search(r"serves at (http://\S+)", self._incoming.get(timeout=_START_S)):
                return found[1]

    def ended(self) -> tuple[int, str]:
        """(exit code, stderr)"""
        code = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code, "".join(self.lines)


@contextlib.contextmanager
def served(home: Path, **variables: str) -> Iterator[Served]:
    """A server that has ended cleanly when this is left."""
    server = Served(home, before=None, **variables)
    try:
        yield server
        server.process.terminate()
        code, stderr = server.ended()
        assert code == 0, stderr
        assert "Traceback" not in stderr, stderr
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.ended()
