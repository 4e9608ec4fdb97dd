"""HEAD is answered as GET is, without a body."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from adavae.service.jobs.records.job import JobStatus
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_training_service import FILE, JOB, StubTrainingService

PATHS = (
    *("/", "/healthz", "/readyz", "/version", "/docs", "/openapi.json", "/static/favicon.png", "/page/app.js"),
    *("/adapters", "/v1/models", "/v1/files", f"/v1/files/{FILE}", f"/v1/files/{FILE}/content"),
    *(f"/v1/fine_tuning/jobs/{JOB}/events?stream=true", "/adapters/own/archive", "/nothing", "/adapters/none"),
)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(training=StubTrainingService()) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_as_get_is(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    differing = {"x-request-id", "transfer-encoding"}
    assert head.status_code == whole.status_code
    assert {name: value for name, value in head.headers.items() if name not in differing} == {
        name: value for name, value in whole.headers.items() if name not in differing
    }
    assert head.content == b"" != whole.content


def test_head_of_a_stream_waits_for_nothing_and_leaves_nobody_watching() -> None:
    training = StubTrainingService()
    training.jobs.all[JOB] = replace(training.jobs.all[JOB], status=JobStatus.RUNNING)
    with client_of(training=training) as client:
        assert client.head(f"/v1/fine_tuning/jobs/{JOB}/events?stream=true").status_code == 200
    assert training.num_watching == 0


def test_head_is_counted_as_such_and_takes_no_route_that_changes_something(client: TestClient) -> None:
    refused = client.head("/encode")
    client.head("/version")
    metrics = client.get("/metrics").text
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert 'method="HEAD",route="/version",status="200"' in metrics


def test_what_a_path_takes_names_head_beside_get(client: TestClient) -> None:
    assert client.put("/adapters/own").headers["allow"] == "GET, DELETE, HEAD"
