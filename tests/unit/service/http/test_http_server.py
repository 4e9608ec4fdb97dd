"""The end of a server under load: whoever had come by then is answered."""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adavae.service.commands.serve import open_listener
from adavae.service.http import http_server
from adavae.service.http.http_server import HttpServer, http_config
from tests.unit.service.stub_latent_service import stub_settings

NUM_CLIENTS = 20
DEADLINE_S = 30.0


async def answer_ok(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(app: Any = answer_ok) -> Iterator[tuple[HttpServer, int]]:
    with open_listener(stub_settings()) as listener:
        config = http_config(app, shutdown_s=10)
        config.lifespan = "off"
        server = HttpServer(config, lambda: None)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def connected(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    connection.connect()
    return connection


def wait_until_nobody_is_let_in(port: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
        except ConnectionError:
            return
    pytest.fail("connections are still accepted")


def test_who_was_let_in_before_the_end_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections whose request came a moment after the signal were reset: to a balancer, a failed request."""
    monkeypatch.setattr(http_server, "_PATIENCE_S", DEADLINE_S)
    with serving() as (server, port):
        clients = [connected(port) for _ in range(NUM_CLIENTS)]
        clients[0].request("POST", "/", body=b"a text")
        assert clients[0].getresponse().read() == b"ok"
        server.should_exit = True
        wait_until_nobody_is_let_in(port)
        for client in clients:
            client.request("POST", "/", body=b"another text")
        for client in clients:
            reply = client.getresponse()
            assert (reply.read(), reply.getheader("connection")) == (b"ok", "close")
            client.close()


def test_a_connection_that_says_nothing_does_not_hold_up_the_end() -> None:
    with serving() as (server, port):
        silent = connected(port)
        server.should_exit = True
        assert silent.sock.recv(1) == b""
        silent.close()


def test_a_thread_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume did not answer one look at it, and the service ended when it was killed."""
    monkeypatch.setattr(http_server, "_PATIENCE_WITH_THREADS_S", 0.05)
    began, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        go_on.wait(2 * DEADLINE_S)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        looking.append(asyncio.create_task(asyncio.to_thread(hang)))
        await answer_ok(scope, receive, send)

    looking: list[asyncio.Task[None]] = []
    with serving(app) as (_, port):
        client = connected(port)
        client.request("POST", "/", body=b"a text")
        assert client.getresponse().read() == b"ok"
        client.close()
        assert began.wait(DEADLINE_S)
    assert looking[0].cancelled() and not go_on.is_set()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("adavae-thread"))
    go_on.set()
