"""A proxy before an S3 server that does what stores do on bad days: slow, throttling, cut off, old, gone."""

import contextlib
import http.client
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class FaultyStore:
    """What it does to the requests that come from now on.

    Attributes:
        delay_s: Before each answer.
        num_throttled: How many are answered 503 yet; -1 for all.
        num_cut: How many bodies of GETs end too early yet.
        num_lost: How many puts are carried out and not answered yet.
        is_denied: Everything is 403.
        is_gone: Connections end without an answer.
        is_stale: Listings are those of the first time.
        ignores_conditions: Puts count whatever their headers say.
        num_requests: Since the beginning.
    """

    def __init__(self, target: str) -> None:
        self.delay_s, self.num_throttled, self.num_cut, self.num_lost = 0.0, 0, 0, 0
        self.is_denied = self.is_gone = self.is_stale = self.ignores_conditions = False
        self.num_requests = 0
        self._target, self._lists = urlsplit(target).netloc, dict[str, tuple[int, Any, bytes]]()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                outer._handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

            def log_message(self, *_arguments: Any) -> None:
                """Nobody reads it."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _takes(self, name: str) -> bool:
        """Whether one more of these faults is due."""
        with self._lock:
            left = getattr(self, name)
            setattr(self, name, left - 1 if left > 0 else left)
            return bool(left)

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        self.num_requests += 1
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        time.sleep(self.delay_s)
        if self.is_gone:
            request.close_connection = True
            return None
        if self._takes("num_throttled"):
            return _answer(request, 503, {"retry-after": "0"}, SLOW_DOWN)
        if self.is_denied:
            return _answer(request, 403, {}, DENIED)
        is_list = request.command == "GET" and "list-type" in request.path
        status, headers, content = self._forwarded(request, body)
        if is_list:
            status, headers, content = self._listed(request.path, (status, headers, content))
        if request.command == "PUT" and self._takes("num_lost"):
            request.close_connection = True
            return None
        is_cut = request.command == "GET" and not is_list and status in (200, 206) and self._takes("num_cut")
        return _answer(request, status, headers, content, is_cut=is_cut)

    def _listed(self, path: str, fresh: tuple[int, Any, bytes]) -> tuple[int, Any, bytes]:
        if not self.is_stale:
            self._lists[path] = fresh
        return self._lists.get(path, fresh)

    def _forwarded(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        sent = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        if self.ignores_conditions:
            sent = {name: value for name, value in sent.items() if name.lower() not in ("if-match", "if-none-match")}
        connection = http.client.HTTPConnection(self._target, timeout=30)
        with contextlib.closing(connection):
            connection.request(request.command, request.path, body, sent | {"content-length": str(len(body))})
            reply = connection.getresponse()
            content = reply.read()
            headers = {name: value for name, value in reply.getheaders() if name.lower() not in _HOP}
            if request.command == "HEAD":
                headers["content-length"] = reply.getheader("content-length", "0")
            return reply.status, headers, content


class _Server(ThreadingHTTPServer):
    """Clients that are killed are nothing to tell of."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _answer(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes, *, is_cut: bool = False
) -> None:
    request.send_response_only(status)
    for name, value in headers.items():
        request.send_header(name, value)
    if "content-length" not in headers:
        request.send_header("content-length", str(len(content)))
    request.end_headers()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if request.command != "HEAD":
            request.wfile.write(content[: len(content) // 2] if is_cut else content)
    if is_cut:
        request.close_connection = True


@contextlib.contextmanager
def faulty_store(target: str) -> Iterator[FaultyStore]:
    """One before the server at ``target``."""
    store = FaultyStore(target)
    try:
        yield store
    finally:
        with contextlib.suppress(OSError):
            store.close()
