"""``adavae health``, as container health checks run it."""

import gc
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from adavae.service.cli import main


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught:
        main(["health", *arguments])
    return caught.value.code


def test_a_process_that_answers_is_well(url: str) -> None:
    assert exit_code(f"{url}/readyz") == 0


@pytest.mark.parametrize("path", ["/loading"])
def test_one_that_is_not_ready_is_not(url: str, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(url + path) == 1
    assert "503" in capsys.readouterr().err
    gc.collect()  # a connection left open would be a ResourceWarning here


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "file:///etc/hosts", "http://", "http://256.0.0.1/"])
def test_no_answer_is_one_line_and_no_traceback(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(address) == 1
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
