"""A stand-in for the Hugging Face Hub: the few endpoints that pushing and pulling use, over repositories in memory.

Every file comes inside its commit; the Hub itself takes large ones by protocols of their own, before it.
"""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import yaml


@dataclass
class Repository:
    """Files of its newest commit, and the titles of all."""

    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    is_private: bool = False


class HubStandIn(ThreadingHTTPServer):
    """The server; every request it gets is in ``asked``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Request(BaseHTTPRequestHandler):
    server: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        path = self._asked()
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        repository = self.server.repositories.get("/".join(parts[2:4] if is_api else parts[:2]))
        if repository is None:
            self._answer({"error": "Repository not found"}, 404, {"x-error-code": "RepoNotFound"})
        elif is_api and "tree" in parts:
            self._answer([_entry(name, content) for name, content in repository.files.items()])
        elif is_api:
            self._answer({"_id": "0", "id": "/".join(parts[2:4]), "sha": "0" * 40})
        elif (content := repository.files.get("/".join(parts[4:]))) is not None:
            self._send(200, content, {"content-type": "application/octet-stream"})
        else:
            self._answer({"error": "Entry not found"}, 404, {"x-error-code": "EntryNotFound"})

    def do_POST(self) -> None:
        path = self._asked()
        body = self._body()
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.repositories:
                self._answer({"error": "You already created this model repo", "url": f"{self.server.url}/{name}"}, 409)
                return
            self.server.repositories[name] = Repository(is_private=asked.get("visibility") == "private")
            self._answer({"url": f"{self.server.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._answer({"errors": _errors_of(json.loads(body)["content"]), "warnings": []})
        elif "/preupload/" in path:
            named = [each["path"] for each in json.loads(body)["files"]]
            self._answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in named]})
        elif "/commit/" in path:
            self._commit("/".join(path.split("/")[3:5]), [json.loads(line) for line in body.splitlines()])
        else:
            self._answer({"error": "no such endpoint"}, 404)

    def _commit(self, name: str, lines: list[dict[str, dict[str, str]]]) -> None:
        repository = self.server.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            else:
                repository.files[value["path"]] = base64.b64decode(value["content"])
        self._answer({"commitUrl": f"{self.server.url}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40})

    def _asked(self) -> str:
        path = urlsplit(self.path).path
        self.server.asked.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), {"content-type": "application/json", **(headers or {})})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _entry(name: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


def _errors_of(card: str) -> list[dict[str, str]]:
    """What the Hub says of a card's metadata: here only whether it is there."""
    _, edge, rest = card.partition("---\n")
    values = yaml.safe_load(rest.partition("\n---\n")[0]) if edge else None
    return [] if isinstance(values, dict) and "license" in values else [{"message": "no metadata"}]


@contextlib.contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """Serves until this is left."""
    with HubStandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
