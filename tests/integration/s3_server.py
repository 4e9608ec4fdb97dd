"""moto's S3 server as a process: conditions of puts are kept, one request after the other.

python -m tests.integration.s3_server PORT
"""

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_IS_HERE = all(importlib.util.find_spec(name) is not None for name in ("moto", "flask"))
_PYTHON = sys.executable if _IS_HERE else os.environ.get("CLIENTS_PYTHON")  # ``clients_environment`` has what that is


def _why_not() -> str | None:
    if importlib.util.find_spec("obstore") is None:
        return "obstore is not installed"
    return None if _PYTHON else "moto is not installed, and CLIENTS_PYTHON names no environment that has it"


WHY_NOT = _why_not()
"""Why tests that need a server skip; None where they need not."""

ACCESS_KEY, SECRET_KEY = "an-access-key", "a-secret-that-no-log-may-hold"
_REPOSITORY = Path(__file__).resolve().parents[2]
_START_S = 60.0


class S3Server:
    """A server with any number of buckets, which are gone when it ends."""

    def __init__(self, port: int) -> None:
        self.port = port
        assert _PYTHON is not None, WHY_NOT
        self._process = subprocess.Popen(
            [_PYTHON, "-m", "tests.integration.s3_server", str(port)],
            cwd=_REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                self.make_bucket("warm-up")  # the first request takes seconds
                return
            assert self._process.poll() is None, "the S3 server ended"
            time.sleep(0.05)
        raise AssertionError("the S3 server did not start")

    def make_bucket(self, name: str) -> None:
        request = urllib.request.Request(f"{self.url}/{name}", data=b"", method="PUT", headers=_signed())
        urllib.request.urlopen(request, timeout=_START_S).close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def variables(url: str) -> dict[str, str]:
    """What an S3 client reads of the environment to come here."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
    }


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running one."""
    server = S3Server(free_port())
    try:
        server.wait()
        yield server
    finally:
        server.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _signed() -> dict[str, str]:
    """moto takes the region out of it, and checks nothing."""
    scope = f"Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"}


class _OneAtATime:
    """An application whose requests do not overlap, so that a condition and the change it guards are one."""

    def __init__(self, application: Any) -> None:
        self._application, self._lock = application, threading.Lock()

    def __call__(self, environment: Any, start_response: Any) -> Any:
        with self._lock:
            return self._application(environment, start_response)


def main() -> None:
    os.environ["MOTO_S3_CUSTOM_ENDPOINTS"] = ""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = _OneAtATime(DomainDispatcherApplication(create_backend_app))
    make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
