"""Real redis-server processes of a test's own: started, killed, stopped and continued at will."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_START_DEADLINE_S = 20.0
_POLL_S = 0.02


class RedisServer:
    """One server on a port of 127.0.0.1 and on a Unix socket; nothing is written to disk, so a restart starts empty.

    Args:
        binary: The redis-server program.
        directory: For its socket and its log; short, for a socket's path may have 107 bytes.
        options: More of its command line, as ``("--maxmemory", "2mb")``.
    """

    def __init__(self, binary: str, directory: Path, *options: str) -> None:
        self._binary, self._directory, self._options = binary, directory, options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_path(self) -> Path:
        return self._directory / "redis.sock"

    def start(self) -> None:
        """Starts the server, on the same port as before, and waits until it answers."""
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        places = ["--unixsocket", str(self.socket_path), "--dir", str(self._directory), "--logfile", "redis.log"]
        self._process = subprocess.Popen([*command, *places, *self._options], stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + _START_DEADLINE_S
        while not self._is_answering():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                log = self._directory / "redis.log"
                pytest.fail(f"redis-server did not start: {log.read_text() if log.exists() else 'no log'}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """kill -9; returns when the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """SIGSTOP: connections are still accepted by the kernel, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _is_answering(self) -> bool:
        """Whether PING is answered; that a password is missing is an answer, too."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False


StartRedis = Callable[..., RedisServer]


@pytest.fixture
def start_redis() -> Iterator[StartRedis]:
    """Starts servers with the options given, as many as wanted, and kills them after the test."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="redis-") as directory, contextlib.ExitStack() as servers:

        def start(*options: str, is_started: bool = True) -> RedisServer:
            own_directory = Path(tempfile.mkdtemp(dir=directory))
            server = RedisServer(binary, own_directory, *options)
            servers.callback(server.kill)
            if is_started:
                server.start()
            return server

        yield start


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
