"""Google Cloud Storage as far as records need it: conditions are kept by the generation of an object alone.

It stands for the XML API, of which the library speaks a part: objects are put, read, deleted and listed.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_MODIFIED = "Fri, 27 Nov 2026 00:00:00 GMT"
_KEPT = "x-goog-if-generation-match"


class FakeGoogle(ThreadingHTTPServer):
    """One bucket of that name after another, made by the first write; ``conditions`` are those that puts had."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.conditions: list[str | None] = []
        self.generations = itertools.count(1_000_000)
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeGoogle

    def do_PUT(self) -> None:
        content, wanted = self.rfile.read(int(self.headers["content-length"])), self.headers[_KEPT]
        with self.server.lock:
            self.server.conditions.append(wanted)
            there = self.server.objects.get(self._key, (0, b""))[0]
            if wanted is not None and int(wanted) != there:
                return self._answer(412)
            self.server.objects[self._key] = kept = next(self.server.generations), content
        return self._answer(200, b"", kept[0])

    def do_GET(self) -> None:
        if (parameters := parse_qs(urlsplit(self.path).query)) and "list-type" in parameters:
            return self._list(parameters["prefix"][0])
        if (found := self.server.objects.get(self._key)) is None:
            return self._answer(404)
        if self.headers["if-none-match"] == _e_tag(found[0]):
            return self._answer(304)
        return self._answer(200, found[1], found[0])

    def do_DELETE(self) -> None:
        was_there = self.server.objects.pop(self._key, None) is not None
        self._answer(204 if was_there else 404)

    def log_message(self, *_: Any) -> None:
        """Into no log."""

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _list(self, prefix: str) -> None:
        bucket = self._key.rstrip("/")
        keys = [key.removeprefix(f"{bucket}/") for key in self.server.objects if key.startswith(f"{bucket}/{prefix}")]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>1</Size><LastModified>2026-11-27T00:00:00Z</LastModified>"
            "</Contents>"
            for key in keys
        )
        self._answer(200, f"<ListBucketResult>{rows}</ListBucketResult>".encode())

    def _answer(self, status: int, content: bytes = b"", generation: int | None = None) -> None:
        self.send_response(status)
        if generation is not None:
            self.send_header("etag", _e_tag(generation))
            self.send_header("x-goog-generation", str(generation))
            self.send_header("last-modified", _MODIFIED)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _e_tag(generation: int) -> str:
    return f'"tag-of-{generation}"'


@contextmanager
def fake_google() -> Iterator[FakeGoogle]:
    """Answers until the end of the block."""
    server = FakeGoogle()
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield server
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
