"""A service and a worker as processes that share an S3 server's bucket and no disk."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from adavae.model.training.corpus import Dataset
from tests.integration.faulty_store import FaultyStore, faulty_store
from tests.integration.s3_server import SECRET_KEY, WHY_NOT, s3_server, variables
from tests.integration.served import Served, served
from tests.integration.training_home import WorkerProcess
from tests.tiny_home import tiny_settings
from tests.tiny_text import reviews

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
DEADLINE_S, BUCKET, ADDRESS = 300.0, "shared", "s3://shared/here"
HYPERPARAMETERS: dict[str, Any] = {"steps": 20, "batch_size": 8, "latent_size": 4, "adapter_size": 5, "validations": 1}
HYPERPARAMETERS |= {"learning_rate": 0.02, "beta": 0.01}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with s3_server() as server, faulty_store(server.url) as proxy:
        server.make_bucket(BUCKET)
        for name, value in variables(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy


@contextmanager
def running(root: Path, cache: str) -> Iterator[tuple[httpx2.Client, Served]]:
    """A service and a worker, each with an empty disk of its own under ``cache``."""
    shared = {"ADAVAE_DATA": ADDRESS, "ADAVAE_TRAINING": "queued", "ADAVAE_STORE_TIMEOUT_S": "5"}
    settings = tiny_settings(root, data=Path(ADDRESS), store_cache=root / cache / "worker", training_threads=1)
    settings.directory.mkdir(parents=True)
    worker = WorkerProcess(settings, None)
    try:
        with (
            served(root, ADAVAE_STORE_CACHE=str(root / cache / "service"), **shared) as server,
            httpx2.Client(base_url=server.url(), timeout=DEADLINE_S) as client,
        ):
            yield client, server
        assert worker.stop() == 0, worker.output
        assert SECRET_KEY not in worker.output + "".join(server.lines)
    finally:
        worker.kill()


def finished(client: httpx2.Client, job_id: str) -> dict[str, Any]:
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        job: dict[str, Any] = client.get(f"/v1/fine_tuning/jobs/{job_id}").json()
        if job["status"] not in ("queued", "running"):
            assert job["status"] == "succeeded", job
            return job
        time.sleep(0.1)
    raise AssertionError(job)


def code_of(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def as_parquet(dataset: Dataset) -> bytes:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    sink = io.BytesIO()
    parquet.write_table(arrow.table({"text": dataset.texts, "label": dataset.labels}), sink)
    return sink.getvalue()


def test_what_is_trained_is_served_and_survives_a_restart_of_both(store: FaultyStore, tmp_path: Path) -> None:
    """The file is parquet, which is read from its end: from a store in pieces."""
    assert store.num_requests == 0
    texts = as_parquet(reviews(36))
    form = {"file": ("reviews.parquet", texts)}
    with running(tmp_path, "first") as (client, _):
        stored = client.post("/v1/files", files=form, data={"purpose": "fine-tune"}).json()
        body = {"model": "bundled", "training_file": stored["id"], "suffix": "mine", "hyperparameters": HYPERPARAMETERS}
        made = client.post("/v1/fine_tuning/jobs", json=body).json()
        job = finished(client, made["id"])
        encode = {"text": "the food was great", "adapter": job["fine_tuned_model"]}
        first = client.post("/encode", json=encode)
        assert first.status_code == 200, first.text

    with running(tmp_path, "second") as (client, _):
        assert client.get(f"/v1/fine_tuning/jobs/{job['id']}").json()["fine_tuned_model"] == job["fine_tuned_model"]
        assert client.get(f"/v1/files/{stored['id']}/content").content == texts
        events = client.get(f"/v1/fine_tuning/jobs/{job['id']}/events").json()["data"]
        assert events[0]["message"] == "The job has succeeded"
        again = client.post("/encode", json=encode)
        assert again.json()["data"] == first.json()["data"]


def test_while_the_store_is_gone_what_is_loaded_serves_and_the_rest_says_so(store: FaultyStore, tmp_path: Path) -> None:
    shared = {"ADAVAE_DATA": ADDRESS, "ADAVAE_STORE_CACHE": str(tmp_path / "cache"), "ADAVAE_STORE_TIMEOUT_S": "2"}
    with (
        served(tmp_path, ADAVAE_TRAINING="queued", **shared) as server,
        httpx2.Client(base_url=server.url(), timeout=DEADLINE_S) as client,
    ):
        assert client.post("/encode", json={"text": "the food was great"}).status_code == 200
        store.is_gone = True
        assert client.post("/encode", json={"text": "the staff was rude"}).status_code == 200
        assert code_of(client.get("/v1/files")) == (503, "storage_unreachable")
        assert code_of(client.get("/v1/fine_tuning/jobs")) == (503, "storage_unreachable")
        ready = client.get("/readyz").json()
        while "warning" not in ready:
            ready = client.get("/readyz").json()
        assert (ready["status"], "goes on serving" in ready["warning"]) == ("ready", True)
        store.is_gone = False
        while "warning" in ready:
            ready = client.get("/readyz").json()
        assert client.get("/v1/files").json()["data"] == []


def test_a_bucket_that_is_not_there_keeps_the_service_from_starting(store: FaultyStore, tmp_path: Path) -> None:
    assert store.num_requests >= 0
    server = Served(tmp_path, ADAVAE_DATA="s3://elsewhere/here", ADAVAE_STORE_CACHE=str(tmp_path / "cache"))
    code, said = server.ended()
    assert code == 1
    assert "s3://elsewhere/here is not there" in said and "make the bucket, or correct ADAVAE_DATA" in said
    assert "Traceback" not in said and SECRET_KEY not in said
