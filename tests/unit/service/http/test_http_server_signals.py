"""The server's own answer to signals; what it finishes meanwhile is for tests/integration."""

import logging
import signal
from collections.abc import Iterator

import pytest

from adavae.service.http.http_server import HttpServer, http_config


@pytest.fixture
def server_log() -> Iterator[logging.Logger]:
    log = logging.getLogger("uvicorn.error")
    yield log
    log.disabled = False


def new_server(told: list[str]) -> HttpServer:
    async def app(*_: object) -> None: ...

    return HttpServer(http_config(app, shutdown_s=10), lambda: told.append("ends"))


def test_the_first_signal_tells_that_it_ends_and_silences_nothing(server_log: logging.Logger) -> None:
    told: list[str] = []
    server = new_server(told)
    server.handle_exit(signal.SIGINT, None)
    assert told == ["ends"] and server.should_exit and not server.force_exit
    assert not server_log.disabled


def test_an_impatient_second_one_shows_no_traceback(server_log: logging.Logger) -> None:
    """Ctrl-C twice printed the traceback of the application's own end, which it cuts off."""
    server = new_server([])
    for _ in range(2):
        server.handle_exit(signal.SIGINT, None)
    assert server.force_exit
    assert server_log.disabled
