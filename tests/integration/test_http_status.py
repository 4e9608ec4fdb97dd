"""Every row of the status-code paragraph of the interface, asked of a real server; the latent service is a stub."""

import asyncio
import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from adavae.model.errors import AdapterSetMismatch, LogitsNotFinite
from adavae.service.errors import DeadlineExceeded, EngineStopped, Overloaded, ServiceError
from tests.integration.real_server import serving
from tests.integration.served import Served
from tests.tiny_text import as_tsv, reviews
from tests.unit.service.stub_latent_service import StubLatentService, Z
from tests.unit.service.stub_training_service import FILE, JOB, StubTrainingService

KEY, LIMIT = "the-key-of-the-tests", 20_000
_KEYS = f"{KEY}:infer the-boss-of-the-tests:admin trainer-of-the-tests:train"
TRAINER, BOSS = {"x-api-key": "trainer-of-the-tests"}, {"x-api-key": "the-boss-of-the-tests"}
FILES, JOBS = "/v1/files", "/v1/fine_tuning/jobs"
NEW = {"model": "bundled", "training_file": FILE, "suffix": "mine"}


@pytest.fixture
def latent() -> StubLatentService:
    return StubLatentService()


@pytest.fixture
def training() -> StubTrainingService:
    return StubTrainingService()


@pytest.fixture
def client(latent: StubLatentService, training: StubTrainingService) -> Iterator[httpx2.Client]:
    """Of a server with a key for inference only, and small limits."""
    fields = {"max_body_bytes": LIMIT, "max_texts": 4, "max_steps": 8, "max_samples": 4}
    with (
        serving(latent, training, api_keys=_KEYS, **fields) as url,
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


def test_200_of_training(client: httpx2.Client) -> None:
    upload = client.post(FILES, data={"purpose": "fine-tune"}, files={"file": ("a.txt", b"a\nb\n")}, headers=TRAINER)
    assert upload.json()["object"] == "file"
    job = client.post(JOBS, json=NEW, headers=TRAINER)
    assert job.json()["object"] == "fine_tuning.job"
    for path in (FILES, f"{FILES}/{FILE}", f"{FILES}/{FILE}/content", JOBS, f"{JOBS}/{JOB}", f"{JOBS}/{JOB}/events"):
        reply = client.get(path, headers=TRAINER | {"x-request-id": "mine"})
        assert (reply.status_code, reply.headers["x-request-id"]) == (200, "mine")
    for change in ("pause", "resume", "cancel"):
        assert client.post(f"{JOBS}/{job.json()['id']}/{change}", headers=TRAINER).status_code == 200


@pytest.mark.parametrize("raw", [b"{", b"", b"[" * 15_000, b'{"a":' * 3000, b"\xff"])
def test_400_malformed(client: httpx2.Client, raw: bytes) -> None:
    reply = client.post("/encode", content=raw, headers={"content-type": "application/json"})
    check_error(reply, 400, "invalid_request_error")


def test_400_malformed_form(client: httpx2.Client) -> None:
    headers = TRAINER | {"content-type": "multipart/form-data; boundary=x"}
    for raw in (b"", b"--y\r\n\r\n", b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\na'):
        check_error(client.post(FILES, content=raw, headers=headers), 400, "invalid_request_error")


def test_401_no_or_wrong_key(client: httpx2.Client) -> None:
    for headers in ({"x-api-key": ""}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}):
        check_error(client.post("/encode", json={"text": "a"}, headers=headers), 401, "authentication_error")


def test_403_key_without_the_scope(client: httpx2.Client) -> None:
    check_error(client.delete("/adapters/own"), 403, "permission_error")
    check_error(client.get("/adapters", headers=BOSS), 403, "permission_error")


def test_403_key_without_the_scope_train(client: httpx2.Client) -> None:
    for path in (FILES, JOBS, f"{JOBS}/{JOB}/events"):
        check_error(client.get(path), 403, "permission_error")
        check_error(client.get(path, headers=BOSS), 403, "permission_error")
    check_error(client.post(JOBS, json=NEW), 403, "permission_error")
    check_error(client.post("/encode", json={"text": "a"}, headers=TRAINER), 403, "permission_error")


def test_403_another_site_without_keys(training: StubTrainingService) -> None:
    with serving(StubLatentService(), training) as url, httpx2.Client(base_url=url) as client:
        form: dict[str, Any] = {"data": {"purpose": "fine-tune"}, "files": {"file": ("a.txt", b"a\nb\n")}}
        reply = client.post(FILES, headers={"origin": "https://evil.example"}, **form)
        check_error(reply, 403, "permission_error")
        assert client.post(FILES, **form).status_code == 200


def test_403_another_host_name_without_keys() -> None:
    with serving(StubLatentService()) as url, httpx2.Client(base_url=url) as client:
        check_error(client.get("/adapters", headers={"host": "evil.example"}), 403, "permission_error")
        assert client.get("/adapters").status_code == 200


def test_404_unknown_adapter_or_route(client: httpx2.Client) -> None:
    check_error(client.post("/encode", json={"text": "a", "adapter": "nope"}), 404, "not_found")
    check_error(client.get("/adapters/nope"), 404, "not_found")
    check_error(client.delete("/adapters/nope", headers=BOSS), 404, "not_found")
    check_error(client.get("/nope"), 404, "not_found")


def test_404_unknown_file_or_job(client: httpx2.Client) -> None:
    for method, path in (
        ("GET", f"{FILES}/file-1"),
        ("GET", f"{FILES}/file-1/content"),
        ("DELETE", f"{FILES}/file-1"),
        ("GET", f"{JOBS}/ftjob-1"),
        ("GET", f"{JOBS}/ftjob-1/events?stream=true"),
        ("POST", f"{JOBS}/ftjob-1/cancel"),
        ("GET", "/v1/engines"),
    ):
        check_error(client.request(method, path, headers=TRAINER), 404, "not_found")


def test_405_another_method(client: httpx2.Client) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
        reply = client.request(method, "/encode")
        check_error(reply, 405, "invalid_request_error")
        assert reply.headers["allow"] == "POST"


def test_409_conflict(client: httpx2.Client, latent: StubLatentService) -> None:
    check_error(client.post("/classify", json={"text": "a", "adapter": "own"}), 409, "conflict")
    check_error(client.delete("/adapters/yelp", headers=BOSS), 409, "conflict")
    latent.error = AdapterSetMismatch("another backbone")
    check_error(client.post("/encode", json={"text": "a"}), 409, "conflict")


def test_409_conflict_of_training(client: httpx2.Client) -> None:
    client.post(JOBS, json=NEW, headers=TRAINER)
    check_error(client.delete(f"{FILES}/{FILE}", headers=TRAINER), 409, "conflict")
    for change in ("cancel", "pause", "resume"):
        check_error(client.post(f"{JOBS}/{JOB}/{change}", headers=TRAINER), 409, "conflict")


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


def test_415_no_form(client: httpx2.Client) -> None:
    for kind in ("application/json", "application/octet-stream", "multipart/mixed; boundary=x"):
        reply = client.post(FILES, content=b"a", headers=TRAINER | {"content-type": kind})
        check_error(reply, 415, "invalid_request_error")
    reply = client.post(JOBS, content=b"{}", headers=TRAINER | {"content-type": "text/plain"})
    check_error(reply, 415, "invalid_request_error")


@pytest.mark.parametrize(
    ("path", "raw", "param"),
    [
        ("/encode", '{"texts": ["a","a","a","a","a"]}', "texts"),
        ("/encode", f'{{"text": "{"a" * 1001}"}}', "text"),
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


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", JOBS, NEW | {"suffix": "../up"}, "suffix"),
        ("POST", JOBS, NEW | {"training_file": "file-1"}, "training_file"),
        ("POST", JOBS, NEW | {"hyperparameters": {"latent_size": 0}}, "hyperparameters.latent_size"),
        ("POST", JOBS, NEW | {"hyperparameters": {"n_epoch": 1}}, "hyperparameters.n_epoch"),
        ("GET", f"{JOBS}?limit=0", None, "limit"),
        ("GET", f"{JOBS}?metadata[=1", None, "metadata["),
        ("GET", f"{JOBS}/{JOB}/events?after=1", None, "after"),
        ("GET", f"{FILES}?order=up", None, "order"),
    ],
)
def test_422_of_training(client: httpx2.Client, method: str, path: str, body: Any, param: str) -> None:
    reply = client.request(method, path, json=body, headers=TRAINER)
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


def test_429_and_503_of_training(client: httpx2.Client, training: StubTrainingService) -> None:
    for error, status, kind in (
        (Overloaded("100 jobs are open", retry_after_s=60), 429, "overloaded"),
        (ServiceError(503, "storage_full", "the volume is full", retry_after_s=60), 503, "not_ready"),
    ):
        training.error = error
        reply = client.post(JOBS, json=NEW, headers=TRAINER)
        check_error(reply, status, kind)
        assert reply.headers["retry-after"] == "60"


def test_503_training_is_off() -> None:
    with serving(StubLatentService()) as url, httpx2.Client(base_url=url) as client:
        for reply in (client.get(FILES), client.post(JOBS, json=NEW), client.get(f"{JOBS}/{JOB}/events?stream=true")):
            check_error(reply, 503, "not_ready")
            assert reply.json()["error"]["code"] == "training_off"


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
def test_a_signal_ends_those_who_watch_a_job_and_hands_the_job_back(tmp_path: Path) -> None:
    """They would have held the server until its patience was over."""
    served = Served(tmp_path, ADAVAE_SHUTDOWN_S="20")
    with httpx2.Client(base_url=served.url(), timeout=60) as client:
        form: dict[str, Any] = {"data": {"purpose": "fine-tune"}}
        stored = client.post(FILES, files={"file": ("reviews.tsv", as_tsv(reviews(60)).encode())}, **form).json()
        hyperparameters = {"steps": 1_000_000, "batch_size": 8, "latent_size": 4, "adapter_size": 5}
        body = NEW | {"training_file": stored["id"], "hyperparameters": hyperparameters}
        job = client.post(JOBS, json=body).json()
        with client.stream("GET", f"{JOBS}/{job['id']}/events?stream=true") as reply:
            lines = reply.iter_lines()
            assert any('"type":"metrics"' in line for line in lines)
            served.process.terminate()
            rest = [line for line in lines if line]
    assert rest[-2] == "event: error"
    error = json.loads(rest[-1].removeprefix("data: "))["error"]
    assert (error["code"], "Last-Event-ID" in error["message"]) == ("shutting_down", True)
    code, stderr = served.ended()
    assert code == 0, stderr
    assert "Traceback" not in stderr
    record = json.loads((tmp_path / "data" / "jobs" / job["id"] / "job.json").read_bytes())
    assert record["status"] == "queued"
    assert list((tmp_path / "data" / "jobs" / job["id"]).glob("**/step-*.safetensors"))


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
    [("ADAVAE_HOST", "0.0.0.0"), ("ADAVAE_RATE_LIMIT", "lots"), ("ADAVAE_API_KEYS", "a-key-of-the-tests:everything")],
)
def test_settings_that_cannot_be_served_are_wrong_usage(tmp_path: Path, name: str, value: str) -> None:
    code, stderr = Served(tmp_path, **{name: value}).ended()
    assert code == 2
    assert name in stderr
    assert "Traceback" not in stderr
