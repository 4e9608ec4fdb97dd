"""/v1/fine_tuning/jobs over a stub: shapes, pages, events as they happen, and what is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from starlette.types import Message
from structlog.testing import capture_logs

from adavae.service.errors import Overloaded
from adavae.service.jobs.protocol import TrainingOperations
from adavae.service.jobs.records.job import JobStatus, NewJob
from adavae.service.main import create_app
from tests.unit.service.http_client import client_of, until
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings
from tests.unit.service.stub_training_service import FILE, JOB, NOW, StubTrainingService

JOBS = "/v1/fine_tuning/jobs"
NEW = {"model": "bundled", "training_file": FILE, "suffix": "mine"}
OPENAI_FIELDS = {
    *("id", "object", "created_at", "finished_at", "model", "fine_tuned_model", "organization_id", "status"),
    *("training_file", "validation_file", "hyperparameters", "method", "trained_tokens", "result_files", "seed"),
    *("error", "estimated_finish", "integrations", "metadata"),
}


@pytest.fixture
def training() -> StubTrainingService:
    return StubTrainingService()


@pytest.fixture(scope="module")
def shared() -> Iterator[TestClient]:
    with client_of(training=StubTrainingService()) as client:
        yield client


@pytest.fixture
def client(shared: TestClient, training: StubTrainingService) -> TestClient:
    """One app for all tests, the training behind it of each test's own."""
    shared.app.state.training = training  # type: ignore[attr-defined]
    return shared


def created(client: TestClient, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    reply = client.post(JOBS, json=NEW | fields, headers=headers or {})
    assert reply.status_code == 200, reply.text
    job: dict[str, Any] = reply.json()
    return job


def error_of(reply: httpx2.Response, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"}
    assert reply.headers["x-request-id"]
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def events_of(text: str) -> list[dict[str, str]]:
    """The fields of each event; a comment has none."""
    blocks = text.removesuffix("\n\n").split("\n\n")
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_a_job_has_every_field_of_openais_shape_and_ours(client: TestClient) -> None:
    job = created(client, metadata={"team": "a"}, seed=5, hyperparameters={"n_epochs": 2, "batch_size": "auto"})
    assert job.keys() >= OPENAI_FIELDS
    assert (job["object"], job["status"], job["model"], job["suffix"]) == (
        "fine_tuning.job",
        "queued",
        "bundled",
        "mine",
    )
    assert (job["seed"], job["metadata"], job["created_at"]) == (5, {"team": "a"}, NOW)
    assert (job["hyperparameters"]["n_epochs"], job["hyperparameters"]["preset"]) == (2, "generation")
    assert isinstance(job["hyperparameters"]["batch_size"], int)
    assert job["method"] == {"type": "supervised", "supervised": {"hyperparameters": job["hyperparameters"]}}
    assert job["report"]["training_file"]["labels"] == {"no": 4, "yes": 5}
    assert client.get(f"{JOBS}/{job['id']}").json() == job


def test_a_finished_job_names_what_it_made(client: TestClient) -> None:
    job = client.get(f"{JOBS}/{JOB}").json()
    assert (job["status"], job["fine_tuned_model"]) == ("succeeded", "reviews@0123456789ab")
    assert (job["metrics"], job["trained_tokens"], job["error"]) == ({"kl": 7.5}, 123, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 0.5}},
        {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}},
        {"method": {"type": "supervised"}},
        {"hyperparameters": None, "method": None, "seed": None, "validation_file": None, "metadata": None},
        {"integrations": []},
    ],
)
def test_both_places_of_the_hyperparameters_are_taken(
    client: TestClient, training: StubTrainingService, fields: dict[str, Any]
) -> None:
    created(client, **fields)
    asked = training.asked[-1][0]
    method = (fields.get("method") or {}).get("supervised", {})
    assert asked.hyperparameters == (fields.get("hyperparameters") or method.get("hyperparameters") or {})


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"suffix": None}, "suffix", "is missing: name the adapter set that the job makes"),
        ({"suffix": ""}, "suffix", "at least 1 character"),
        ({"suffix": "../../etc"}, "suffix", "'../../etc'"),
        ({"suffix": "a/b"}, "suffix", "'a/b'"),
        ({"suffix": "A b"}, "suffix", "'A b'"),
        ({"suffix": "a" * 65}, "suffix", "at most 64 characters"),
        ({"suffix": "a\n"}, "suffix", ""),
        ({"sufix": "a"}, "sufix", "unknown field: did you mean suffix?"),
        ({"model": None}, "model", "valid string"),
        ({"model": ""}, "model", "at least 1 character"),
        ({"training_file": 7}, "training_file", "valid string"),
        ({"training_file": "f" * 201}, "training_file", "at most 200 characters"),
        ({"seed": -1}, "seed", "greater than or equal to 0, not -1"),
        ({"seed": 2**63}, "seed", "less than or equal to"),
        ({"seed": "7"}, "seed", "valid integer"),
        ({"metadata": {"a": 1}}, "metadata.a", "valid string"),
        ({"metadata": {"k" * 65: "v"}}, None, "at most 64 characters"),
        ({"metadata": {"a": "v" * 513}}, "metadata.a", "at most 512 characters"),
        ({"metadata": {str(number): "v" for number in range(17)}}, "metadata", "the limit is 16"),
        ({"integrations": [{"type": "wandb"}]}, "integrations", "the limit is 0"),
        ({"method": {"type": "dpo"}}, "method.type", "'supervised'"),
        ({"method": {"type": "supervised"}, "hyperparameters": {}}, "method", "not both"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", 'from 0.01 to 100 or "auto", not 0'),
        ({"hyperparameters": {"steps": 10**7}}, "hyperparameters.steps", "from 1 to 1,000,000, not 10000000"),
        ({"hyperparameters": {"batch_size": 0}}, "hyperparameters.batch_size", "from 1 to 1,024"),
        ({"hyperparameters": {"learning_rate": 2}}, "hyperparameters.learning_rate", "from 1e-07 to 1"),
        ({"hyperparameters": {"latent_size": 4096}}, "hyperparameters.latent_size", "from 1 to 1,024, not 4096"),
        ({"hyperparameters": {"adapter_size": 0}}, "hyperparameters.adapter_size", "from 1 to 1,024, not 0"),
        ({"hyperparameters": {"free_bits": -1}}, "hyperparameters.free_bits", "from 0 to 100, not -1"),
        ({"hyperparameters": {"beta": 101}}, "hyperparameters.beta", "from 0 to 100, not 101"),
        ({"hyperparameters": {"beta": True}}, "hyperparameters.beta", "from 0 to 100, not True"),
        ({"hyperparameters": {"preset": "fast"}}, "hyperparameters.preset", "'generation'"),
        ({"hyperparameters": {"epoch": 1}}, "hyperparameters.epoch", "did you mean epochs?"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 101}}}},
            "method.supervised.hyperparameters.n_epochs",
            "from 0.01 to 100",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_field_and_limits(
    client: TestClient, training: StubTrainingService, fields: dict[str, Any], param: str | None, told: str
) -> None:
    error = error_of(client.post(JOBS, json=NEW | fields), 422)
    assert told in error["message"]
    if param is not None:
        assert error["param"] == param
    assert not training.asked


@pytest.mark.parametrize("raw", ['{"seed": NaN}', '{"hyperparameters": {"beta": NaN}}', '{"hyperparameters": 1e999}'])
def test_what_is_no_number_is_refused(client: TestClient, raw: str) -> None:
    whole = json.dumps(NEW)[:-1] + ", " + raw[1:]
    error_of(client.post(JOBS, content=whole, headers={"content-type": "application/json"}), 422)


def test_a_body_that_is_not_json_is_refused(client: TestClient) -> None:
    assert error_of(client.post(JOBS, content="{}", headers={"content-type": "text/plain"}), 415)["code"] == "not_json"
    assert error_of(client.post(JOBS, content="{", headers={"content-type": "application/json"}), 400)


def test_an_unknown_file_is_refused(client: TestClient) -> None:
    assert error_of(client.post(JOBS, json=NEW | {"training_file": "file-1"}), 422)["param"] == "training_file"


def test_a_request_sent_again_with_its_key_makes_no_second_job(
    client: TestClient, training: StubTrainingService
) -> None:
    headers = {"idempotency-key": "k-1"}
    first, again = created(client, headers), created(client, headers)
    assert first == again
    assert [key for _, key in training.asked] == ["k-1", "k-1"]
    assert len(training.jobs.all) == 2
    error = error_of(client.post(JOBS, json=NEW | {"suffix": "other"}, headers=headers), 409)
    assert error["type"] == "conflict"


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_a_bad_key_is_refused(client: TestClient, key: str) -> None:
    assert error_of(client.post(JOBS, json=NEW, headers={"idempotency-key": key}), 422)["param"] == "idempotency-key"


def test_jobs_are_listed_page_by_page_newest_first(client: TestClient) -> None:
    made = [created(client)["id"] for _ in range(4)]
    seen: list[str] = []
    while True:
        page = client.get(JOBS, params={"limit": 2} | ({"after": seen[-1]} if seen else {})).json()
        seen += [job["id"] for job in page["data"]]
        assert len(page["data"]) <= 2
        if not page["has_more"]:
            break
    assert seen == [*reversed(made), JOB]


def test_jobs_are_filtered_by_metadata(client: TestClient) -> None:
    both = created(client, metadata={"team": "b", "run x": "1=2&"})["id"]
    created(client, metadata={"team": "b"})
    for query, found in (
        ({"metadata[team]": "a"}, [JOB]),
        ({"metadata[team]": "b", "metadata[run x]": "1=2&"}, [both]),
        ({"metadata[team]": "b", "limit": "1", "after": "ftjob-" + "0" * 23 + "2"}, [both]),
        ({"metadata[none]": ""}, []),
    ):
        assert [job["id"] for job in client.get(JOBS, params=query).json()["data"]] == found


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("limt=1", "limt"),
        ("after=" + "a" * 201, "after"),
        ("after=ftjob-none", "after"),
        ("metadata=a", "metadata"),
        ("metadata[]=a", "metadata[]"),
        ("metadata[" + "k" * 65 + "]=a", "metadata[" + "k" * 65 + "]"),
        ("metadata[a]=1&metadata[a]=2", "metadata[a]"),
    ],
)
def test_a_query_that_is_wrong_is_refused(client: TestClient, query: str, param: str) -> None:
    assert error_of(client.get(f"{JOBS}?{query}"), 422)["param"] == param


def test_a_job_is_paused_resumed_and_cancelled(client: TestClient) -> None:
    path = f"{JOBS}/{created(client)['id']}"
    for change, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        reply = client.post(f"{path}/{change}")
        assert (reply.status_code, reply.json()["status"]) == (200, status)
    for change in ("cancel", "pause", "resume"):
        assert error_of(client.post(f"{path}/{change}"), 409)["type"] == "conflict"


@pytest.mark.parametrize("step", ["x", float("inf"), [3], None])
def test_a_record_that_somebody_damaged_has_a_checkpoint_all_the_same(
    client: TestClient, training: StubTrainingService, step: Any
) -> None:
    training.jobs.all[JOB] = replace(training.jobs.all[JOB], progress={"step": step})
    (checkpoint,) = client.get(f"{JOBS}/{JOB}/checkpoints").json()["data"]
    assert checkpoint["step_number"] == 0


@pytest.mark.parametrize("job_id", ["ftjob-1", "..", "%2e%2e%2fjob.json", "%00", "a" * 200])
def test_an_unknown_job_is_not_found(client: TestClient, job_id: str) -> None:
    for method, rest in (("GET", ""), ("GET", "/events"), ("GET", "/events?stream=true"), ("POST", "/cancel")):
        assert error_of(client.request(method, f"{JOBS}/{job_id}{rest}"), 404)["type"] == "not_found"


def test_a_finished_jobs_set_is_its_checkpoint_and_an_unfinished_job_has_none(client: TestClient) -> None:
    listed = client.get(f"{JOBS}/{JOB}/checkpoints").json()
    (checkpoint,) = listed["data"]
    assert (checkpoint["object"], checkpoint["fine_tuning_job_id"]) == ("fine_tuning.job.checkpoint", JOB)
    assert checkpoint["fine_tuned_model_checkpoint"] == "reviews@0123456789ab"
    assert checkpoint["metrics"]["step"] == checkpoint["step_number"]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (checkpoint["id"], checkpoint["id"], False)
    assert client.get(f"{JOBS}/{JOB}/checkpoints", params={"after": checkpoint["id"]}).json()["data"] == []
    assert client.get(f"{JOBS}/{created(client)['id']}/checkpoints").json()["data"] == []
    assert error_of(client.get(f"{JOBS}/{JOB}/checkpoints?limit=0"), 422)["param"] == "limit"
    assert error_of(client.get(f"{JOBS}/ftjob-1/checkpoints"), 404)["type"] == "not_found"


def test_events_are_paged_newest_first(client: TestClient) -> None:
    page = client.get(f"{JOBS}/{JOB}/events", params={"limit": 2}).json()
    assert [event["message"] for event in page["data"]] == ["Done", "Step 1 of 1"]
    assert page["has_more"] is True
    assert page["data"][1] == {
        "object": "fine_tuning.job.event",
        "id": "ftevent-000000002",
        "created_at": NOW + 2,
        "level": "info",
        "type": "metrics",
        "message": "Step 1 of 1",
        "data": {},
    }
    rest = client.get(f"{JOBS}/{JOB}/events", params={"after": page["data"][-1]["id"]}).json()
    assert ([event["message"] for event in rest["data"]], rest["has_more"]) == (["The job is created"], False)


@pytest.mark.parametrize(
    ("query", "headers", "param"),
    [
        ("after=7", {}, "after"),
        ("after=ftevent-", {}, "after"),
        ("limit=101", {}, "limit"),
        ("stream=perhaps", {}, "stream"),
        ("streem=true", {}, "streem"),
        ("stream=true", {"last-event-id": "7"}, "Last-Event-ID"),
    ],
)
def test_a_query_for_events_that_is_wrong_is_refused(
    client: TestClient, query: str, headers: dict[str, str], param: str
) -> None:
    assert error_of(client.get(f"{JOBS}/{JOB}/events?{query}", headers=headers), 422)["param"] == param


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?stream=true", {}),
        ("", {"accept": "text/event-stream"}),
        ("", {"accept": "text/html, text/event-stream;q=0.9"}),
    ],
)
def test_events_are_streamed_oldest_first_with_their_ids(
    client: TestClient, query: str, headers: dict[str, str]
) -> None:
    reply = client.get(f"{JOBS}/{JOB}/events{query}", headers=headers)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    *events, last = events_of(reply.text)
    assert last == {"data": "[DONE]"}
    assert [event["id"] for event in events] == [f"ftevent-{number:09d}" for number in (1, 2, 3)]
    listed = client.get(f"{JOBS}/{JOB}/events").json()["data"]
    assert [json.loads(event["data"]) for event in events] == listed[::-1]


def test_one_stream_too_many_has_a_status_of_its_own(
    client: TestClient, training: StubTrainingService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Overloaded("32 streams are open: close one", retry_after_s=5)

    monkeypatch.setattr(training.jobs, "watch", refuse)
    reply = client.get(f"{JOBS}/{JOB}/events?stream=true")
    assert (error_of(reply, 429)["code"], reply.headers["retry-after"]) == ("overloaded", "5")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"last-event-id": "ftevent-000000002"}),
        ("&after=ftevent-000000002", {}),
        ("&after=ftevent-000000001", {"last-event-id": "ftevent-000000002"}),
    ],
)
def test_a_stream_goes_on_behind_the_last_event(client: TestClient, query: str, headers: dict[str, str]) -> None:
    events = events_of(client.get(f"{JOBS}/{JOB}/events?stream=true{query}", headers=headers).text)
    assert [event.get("id") for event in events] == ["ftevent-000000003", None]


def test_a_browser_that_was_told_everything_is_told_to_stop(client: TestClient) -> None:
    """An EventSource connects again whenever a stream ends, for ever, until it is answered 204."""
    told = events_of(client.get(f"{JOBS}/{JOB}/events", headers={"accept": "text/event-stream"}).text)
    headers = {"accept": "text/event-stream", "last-event-id": told[-2]["id"]}
    reply = client.get(f"{JOBS}/{JOB}/events", headers=headers)
    assert (reply.status_code, reply.content) == (204, b"")
    without = client.get(f"{JOBS}/{JOB}/events", headers={"accept": "text/event-stream"})
    assert without.status_code == 200, "who comes for the first time is told all of it"


class Watcher:
    """A client that speaks ASGI, reads a job's events as they come, and may break off."""

    def __init__(self, app: Any, job_id: str, last_event_id: str | None = None) -> None:
        self._text, self._leaving = "", asyncio.Event()
        headers = [(b"host", b"localhost"), (b"accept", b"text/event-stream")]
        if last_event_id is not None:
            headers.append((b"last-event-id", last_event_id.encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"{JOBS}/{job_id}/events",
            "raw_path": f"{JOBS}/{job_id}/events".encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    @property
    def events(self) -> list[dict[str, str]]:
        return events_of(self._text) if self._text else []

    @property
    def messages(self) -> list[str]:
        return [json.loads(event["data"])["message"] for event in self.events if "id" in event]

    def leave(self) -> None:
        self._leaving.set()

    async def _receive(self) -> Message:
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self._text += message.get("body", b"").decode()


@asynccontextmanager
async def started(training: TrainingOperations) -> AsyncIterator[Any]:
    """The app; nothing in it may fail unnoticed."""
    latent = StubLatentService()
    app = create_app(stub_settings(), latent, training=training)
    with capture_logs() as logs:
        async with app.router.lifespan_context(app):
            await until(lambda: latent.is_ready)
            yield app
    assert not [entry for entry in logs if entry["log_level"] == "error"]


async def _queued(training: StubTrainingService) -> str:
    return (await training.jobs.create(NewJob(training_file=FILE, adapter_name="mine"))).id


@pytest.mark.asyncio
async def test_a_watcher_that_comes_back_misses_nothing_and_hears_nothing_twice(training: StubTrainingService) -> None:
    job = await _queued(training)
    async with started(training) as app:
        first = Watcher(app, job)
        training.jobs.tell(job, "Step 1", JobStatus.RUNNING)
        await until(lambda: len(first.messages) == 2)
        first.leave()
        await first.task
        await until(lambda: training.num_watching == 0)
        training.jobs.tell(job, "Step 2")
        second = Watcher(app, job, last_event_id=first.events[-1]["id"])
        await until(lambda: len(second.messages) == 1)
        training.jobs.tell(job, "Done", JobStatus.SUCCEEDED)
        await second.task
    assert first.messages + second.messages == ["The job is created", "Step 1", "Step 2", "Done"]
    assert second.events[-1] == {"data": "[DONE]"}
    assert training.num_watching == 0


@pytest.mark.asyncio
async def test_watching_ends_with_an_error_that_says_to_come_back(training: StubTrainingService) -> None:
    job = await _queued(training)
    async with started(training) as app:
        watchers = [Watcher(app, job) for _ in range(3)]
        await until(lambda: all(watcher.messages for watcher in watchers))
        training.end_watching()
        await asyncio.gather(*(watcher.task for watcher in watchers))
    for watcher in watchers:
        last = watcher.events[-1]
        assert last["event"] == "error"
        assert json.loads(last["data"])["error"]["code"] == "shutting_down"
        assert "Last-Event-ID" in json.loads(last["data"])["error"]["message"]
    assert training.num_watching == 0
    assert training.is_stopped


def test_without_training_every_route_says_so() -> None:
    with client_of(training=None) as client:
        for method, path, body in (
            ("POST", JOBS, NEW),
            ("GET", JOBS, None),
            ("GET", f"{JOBS}/{JOB}", None),
            ("GET", f"{JOBS}/{JOB}/events?stream=true", None),
            ("POST", f"{JOBS}/{JOB}/cancel", None),
            ("GET", "/v1/files", None),
            ("POST", "/v1/files", None),
            ("GET", f"/v1/files/{FILE}/content", None),
            ("DELETE", f"/v1/files/{FILE}", None),
        ):
            error = error_of(client.request(method, path, json=body), 503)
            assert error["code"] == "training_off"
            assert "ADAVAE_TRAINING" in error["message"]


def test_a_key_needs_the_scope_train(training: StubTrainingService) -> None:
    with client_of(
        training=training, api_keys="user-of-the-test-keys:infer,admin trainer-of-the-test-keys:train"
    ) as client:
        for method, path in (
            ("GET", JOBS),
            ("POST", JOBS),
            ("GET", f"{JOBS}/{JOB}"),
            ("GET", f"{JOBS}/{JOB}/events"),
            ("POST", f"{JOBS}/{JOB}/cancel"),
            ("GET", "/v1/files"),
            ("POST", "/v1/files"),
            ("GET", f"/v1/files/{FILE}"),
            ("GET", f"/v1/files/{FILE}/content"),
            ("DELETE", f"/v1/files/{FILE}"),
        ):
            assert error_of(client.request(method, path), 401)["type"] == "authentication_error"
            error = error_of(
                client.request(method, path, headers={"authorization": "Bearer user-of-the-test-keys"}), 403
            )
            assert (error["code"], "the scope train" in error["message"]) == ("missing_scope", True)
        bearer = {"authorization": "Bearer trainer-of-the-test-keys"}
        assert client.get(JOBS, headers=bearer).status_code == 200
        assert client.post(JOBS, json=NEW, headers=bearer).status_code == 200
        assert client.get("/adapters", headers=bearer).status_code == 403
    assert FILE in training.files.all


def test_too_many_jobs_are_refused_with_when_to_come_back(client: TestClient, training: StubTrainingService) -> None:
    training.error = Overloaded("100 jobs are open", retry_after_s=60)
    reply = client.post(JOBS, json=NEW)
    assert (error_of(reply, 429)["type"], reply.headers["retry-after"]) == ("overloaded", "60")


BESIDE_LIMITS = {"beta_zero_share": {"beta_rise_share": 0}, "beta_rise_share": {"beta_zero_share": 0}}


def test_the_documented_limits_of_hyperparameters_are_those_that_hold(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"]["Hyperparameters"]
    assert schema["additionalProperties"] is False
    for name, described in schema["properties"].items():
        for rule in described.get("anyOf", []):
            if "minimum" not in rule:
                continue
            kind = int if rule["type"] == "integer" else float
            low, high = kind(rule["minimum"]), kind(rule["maximum"])
            for value in (low, high):
                body = NEW | {"hyperparameters": {name: value} | BESIDE_LIMITS.get(name, {})}
                if name == "encoder_layers" and value == high:
                    continue  # the backbone has fewer
                assert client.post(JOBS, json=body).status_code == 200, (name, value)
            for value in (low - 1, high + 1):
                body = NEW | {"hyperparameters": {name: value}}
                assert error_of(client.post(JOBS, json=body), 422)["param"] == f"hyperparameters.{name}"
