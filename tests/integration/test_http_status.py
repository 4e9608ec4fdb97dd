"""Every row of the status-code paragraph of the interface, asked of a real server; the latent service is a stub."""

import asyncio
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from model.errors import AdapterSetMismatch, LogitsNotFinite
from service.errors import DeadlineExceeded, EngineStopped, Overloaded
from tests.integration.real_server import serving
from tests.tiny_home import tiny_settings
from tests.unit.service.stub_latent_service import StubLatentService, Z

KEY, LIMIT = "the-key", 20_000
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def latent() -> StubLatentService:
    return StubLatentService()


@pytest.fixture
def client(latent: StubLatentService) -> Iterator[httpx2.Client]:
    """Of a server with a key for inference only, and small limits."""
    fields = {"max_body_bytes": LIMIT, "max_texts": 4, "max_steps": 8, "max_samples": 4}
    with (
        serving(latent, api_keys=f"{KEY}:infer boss:admin", **fields) as url,
        httpx2.Client(base_url=url, headers={"x-api-key": KEY}, timeout=30) as client,
    ):
        wait_for(lambda: client.get("/readyz").status_code == 200)
        yield client


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def check_error(reply: httpx2.Response, status: int, kind: str) -> None:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == kind
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", reply.headers["x-request-id"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/encode", {"texts": ["a", "b"]}),
        ("/decode", {"samples": 2}),
        ("/decode", {"z": [[0.1] * Z]}),
        ("/interpolate", {"source": "a", "target": "b"}),
        ("/analogy", {"a": "a", "b": "b", "c": "c"}),
        ("/classify", {"text": "a"}),
    ],
)
def test_200(client: httpx2.Client, path: str, body: Any) -> None:
    reply = client.post(path, json=body, headers={"x-request-id": "mine"})
    assert reply.status_code == 200
    assert reply.headers["x-request-id"] == "mine"
    assert reply.json()["adapter"]["name"] == "yelp"


@pytest.mark.parametrize("raw", [b"{", b"", b"[" * 15_000, b'{"a":' * 3000, b"\xff"])
def test_400_malformed(client: httpx2.Client, raw: bytes) -> None:
    reply = client.post("/encode", content=raw, headers={"content-type": "application/json"})
    check_error(reply, 400, "invalid_request_error")


def test_401_no_or_wrong_key(client: httpx2.Client) -> None:
    for headers in ({"x-api-key": ""}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}):
        check_error(client.post("/encode", json={"text": "a"}, headers=headers), 401, "authentication_error")


def test_403_key_without_the_scope(client: httpx2.Client) -> None:
    check_error(client.delete("/adapters/own"), 403, "permission_error")
    check_error(client.get("/adapters", headers={"x-api-key": "boss"}), 403, "permission_error")


def test_403_another_host_name_without_keys() -> None:
    with serving(StubLatentService()) as url, httpx2.Client(base_url=url) as client:
        check_error(client.get("/adapters", headers={"host": "evil.example"}), 403, "permission_error")
        assert client.get("/adapters").status_code == 200


def test_404_unknown_adapter_or_route(client: httpx2.Client) -> None:
    check_error(client.post("/encode", json={"text": "a", "adapter": "nope"}), 404, "not_found")
    check_error(client.get("/adapters/nope"), 404, "not_found")
    check_error(client.delete("/adapters/nope", headers={"x-api-key": "boss"}), 404, "not_found")
    check_error(client.get("/nope"), 404, "not_found")


def test_405_another_method(client: httpx2.Client) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
        reply = client.request(method, "/encode")
        check_error(reply, 405, "invalid_request_error")
        assert reply.headers["allow"] == "POST"


def test_409_conflict(client: httpx2.Client, latent: StubLatentService) -> None:
    check_error(client.post("/classify", json={"text": "a", "adapter": "own"}), 409, "conflict")
    check_error(client.delete("/adapters/yelp", headers={"x-api-key": "boss"}), 409, "conflict")
    latent.error = AdapterSetMismatch("another backbone")
    check_error(client.post("/encode", json={"text": "a"}), 409, "conflict")


def test_413_body_too_large(client: httpx2.Client) -> None:
    large = json.dumps({"text": "a" * 5_000_000}).encode()
    headers = {"content-type": "application/json"}
    check_error(client.post("/encode", content=large, headers=headers), 413, "invalid_request_error")
    chunks = (large[start : start + 5000] for start in range(0, len(large), 5000))
    check_error(client.post("/encode", content=chunks, headers=headers), 413, "invalid_request_error")
    assert client.post("/encode", json={"text": "a"}).status_code == 200


def test_413_comes_before_the_body_has(client: httpx2.Client) -> None:
    """A declared length over the limit is answered at once, an endless body as soon as it exceeds the limit."""
    for declared, body in (
        ("content-length: 9999999", b""),
        ("transfer-encoding: chunked", b"1000\r\n" + b"a" * 4096 + b"\r\n"),
    ):
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
            head = (
                f"POST /encode HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n{declared}"
            )
            connection.sendall(head.encode() + b"\r\n\r\n" + body * (LIMIT // 4096 + 1))
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_415_content_type(client: httpx2.Client) -> None:
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        reply = client.post("/encode", content=b'{"text": "a"}', headers={"content-type": kind})
        check_error(reply, 415, "invalid_request_error")


@pytest.mark.parametrize(
    ("path", "raw", "param"),
    [
        ("/encode", '{"texts": ["a","a","a","a","a"]}', "texts"),
        ("/encode", f'{{"text": "{"a" * 1001}"}}', "texts[0]"),
        ("/encode", '{"texts": ["a", ""]}', "texts[1]"),
        ("/encode", '{"text": "\\ud800"}', "text"),
        ("/encode", '{"text": "a", "txet": "b"}', "txet"),
        ("/decode", '{"z": [[1, 2]]}', "z[0]"),
        ("/decode", '{"z": [[NaN]]}', "z[0][0]"),
        ("/decode", '{"z": [[-Infinity]]}', "z[0][0]"),
        ("/decode", '{"z": [[1e400]]}', "z[0][0]"),
        ("/decode", '{"samples": 5}', "samples"),
        ("/decode", '{"samples": 1, "decoding": {"max_tokens": 129}}', "decoding.max_tokens"),
        ("/interpolate", '{"source": "a", "target": "b", "steps": 9}', "steps"),
        ("/interpolate", '{"source": "a", "target": "b", "steps": 1}', "steps"),
        ("/analogy", '{"a": "a", "b": "b", "c": "c", "scale": Infinity}', "scale"),
    ],
)
def test_422_out_of_range(client: httpx2.Client, path: str, raw: str, param: str) -> None:
    reply = client.post(path, content=raw, headers={"content-type": "application/json"})
    check_error(reply, 422, "invalid_request_error")
    assert reply.json()["error"]["param"] == param


def test_422_not_finite(client: httpx2.Client, latent: StubLatentService) -> None:
    latent.error = LogitsNotFinite((0,))
    check_error(client.post("/decode", json={"samples": 1}), 422, "invalid_request_error")


def test_429_queue_full(client: httpx2.Client, latent: StubLatentService) -> None:
    latent.error = Overloaded("2048 rows wait", retry_after_s=3)
    for body in ({"samples": 1}, {"samples": 1, "stream": True}):
        reply = client.post("/decode", json=body)
        check_error(reply, 429, "overloaded")
        assert reply.headers["retry-after"] == "3"


def test_429_rate_limit() -> None:
    with serving(StubLatentService(), rate_limit="1/hour") as url, httpx2.Client(base_url=url) as client:
        assert client.get("/adapters").status_code == 200
        reply = client.get("/adapters")
        check_error(reply, 429, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1


def test_500_is_only_for_failures_of_ours(client: httpx2.Client, latent: StubLatentService) -> None:
    latent.error = ZeroDivisionError("secret")
    reply = client.post("/encode", json={"text": "a"})
    check_error(reply, 500, "internal_error")
    assert "secret" not in reply.text
    latent.error = None
    assert client.post("/encode", json={"text": "a"}).status_code == 200


def test_503_not_ready_and_engine_dead(client: httpx2.Client, latent: StubLatentService) -> None:
    latent.problem = "the device thread died"
    for reply in (client.get("/readyz"), client.post("/encode", json={"text": "a"}), client.get("/adapters")):
        check_error(reply, 503, "not_ready")
        assert int(reply.headers["retry-after"]) >= 1
    assert client.get("/healthz").status_code == 200
    latent.problem, latent.error = None, EngineStopped("stopping")
    check_error(client.post("/encode", json={"text": "a"}), 503, "not_ready")


def test_504_deadline_passed(client: httpx2.Client, latent: StubLatentService) -> None:
    latent.error = DeadlineExceeded(60)
    check_error(client.post("/encode", json={"text": "a"}), 504, "timeout")


@pytest.mark.parametrize("body", [{"samples": 1}, {"samples": 1, "stream": True}])
def test_a_client_that_hangs_up_frees_its_rows(client: httpx2.Client, latent: StubLatentService, body: Any) -> None:
    latent.hold = asyncio.Event()
    raw = json.dumps(body).encode()
    head = (
        f"POST /decode HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(raw)}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(head.encode() + raw)
        wait_for(lambda: latent.num_running == 1)
    wait_for(lambda: latent.num_running == 0)
    assert client.get("/healthz").status_code == 200


class Served:
    """``adavae serve`` in a process of its own."""

    def __init__(self, home: Path, *options: str, **variables: str) -> None:
        settings = tiny_settings(home)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAVAE_")}
        own = {"ADAVAE_WEIGHTS": str(settings.weights), "ADAVAE_DATA": str(settings.data), "ADAVAE_THREADS": "1"}
        own |= {"ADAVAE_DEFAULT_ADAPTER": "prefixed", "ADAVAE_MAX_TOKENS": "16", "ADAVAE_DECODE_ROWS": "1"}
        command = [sys.executable, "-c", "from service.cli import main; main()", "serve", "--port", "0", *options]
        self.process = subprocess.Popen(
            command, cwd=_ROOT, env=environment | own | variables, stderr=subprocess.PIPE, text=True
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
            if found := re.search(r"serves at (http://\S+)", self._incoming.get(timeout=60)):
                return found[1]

    def ended(self) -> tuple[int, str]:
        """(exit code, stderr)"""
        code = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code, "".join(self.lines)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_an_open_stream_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    served = Served(tmp_path)
    with httpx2.Client(base_url=served.url(), timeout=60) as client:
        assert client.post("/encode", json={"text": "the food was great"}).json()["adapter"]["name"] == "prefixed"
        body = {"samples": 40, "stream": True, "decoding": {"strategy": "sample"}}
        with client.stream("POST", "/decode", json=body) as reply:
            lines = reply.iter_lines()
            first = next(lines)
            served.process.send_signal(number)
            rest = [line for line in lines if line]
    assert first.startswith("data: {")
    assert rest[-1] == "data: [DONE]"
    assert len(json.loads(rest[-2].removeprefix("data: "))["data"]) == 40
    code, stderr = served.ended()
    assert code == 0, stderr
    assert "Traceback" not in stderr


@pytest.mark.slow
def test_a_port_in_use_ends_the_command_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, stderr = Served(tmp_path, "--port", str(taken.getsockname()[1])).ended()
    assert code == 1
    assert stderr.startswith("error: cannot listen on 127.0.0.1 port")
    assert len(stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_backbone_that_is_missing_ends_the_command(tmp_path: Path) -> None:
    code, stderr = Served(tmp_path, ADAVAE_BACKBONE=str(tmp_path / "none")).ended()
    assert code == 1
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [("ADAVAE_HOST", "0.0.0.0"), ("ADAVAE_RATE_LIMIT", "lots"), ("ADAVAE_API_KEYS", "k:everything")],
)
def test_settings_that_cannot_be_served_are_wrong_usage(tmp_path: Path, name: str, value: str) -> None:
    code, stderr = Served(tmp_path, **{name: value}).ended()
    assert code == 2
    assert name in stderr
    assert "Traceback" not in stderr
