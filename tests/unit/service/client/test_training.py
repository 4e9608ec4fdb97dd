"""The client of training against a service that says what it is told to say, and against a real server."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.client.training import Change, TrainingClient
from adavae.service.jobs.records.job import JobStatus
from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService
from tests.unit.service.stub_training_service import JOB, StubTrainingService, finished_job

Reply = httpx2.Response | Exception
BROKEN = httpx2.ReadError("connection reset")


class Service:
    """Answers with the replies in turn, and keeps the requests, and how long the client waited between them."""

    def __init__(self, *replies: Reply, max_retries: int = 4) -> None:
        self._replies = iter(replies)
        self.requests: list[httpx2.Request] = []
        self.pauses: list[float] = []
        transport = httpx2.MockTransport(self._answer)
        self.client = TrainingClient("http://adavae.test", max_retries=max_retries, transport=transport)
        self.client._pause = self.pauses.append

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply


def found(content: Any) -> httpx2.Response:
    return httpx2.Response(200, json=content)


def refused(status: int, code: str = "refused") -> httpx2.Response:
    error = {"message": "not now", "type": "conflict", "param": None, "code": code}
    return httpx2.Response(status, json={"error": error})


def told(*numbers: int, is_over: bool = False, error: str | None = None) -> httpx2.Response:
    """A stream of events; one that is not over breaks off."""
    content = ": keepalive\n\n"
    content += "".join(f"id: e-{number}\ndata: {json.dumps({'id': f'e-{number}'})}\n\n" for number in numbers)
    if error is not None:
        detail = {"error": {"message": error, "type": "not_ready", "param": None, "code": "shutting_down"}}
        content += f"event: error\ndata: {json.dumps(detail)}\n\n"
    content += "data: [DONE]\n\n" if is_over else ""
    return httpx2.Response(200, content=content.encode(), headers={"content-type": "text/event-stream"})


def test_a_file_is_sent_whole_and_its_progress_reported(tmp_path: Path) -> None:
    texts = b"the food was great\n" * 20_000
    path = tmp_path / "my texts.txt"
    path.write_bytes(texts)
    service, progress = Service(found({"id": "file-1"})), list[tuple[int, int]]()
    assert service.client.upload(path, lambda done, total: progress.append((done, total))) == {"id": "file-1"}
    (request,) = service.requests
    assert texts in request.content
    assert b'filename="my texts.txt"' in request.content
    assert b"fine-tune" in request.content
    assert int(request.headers["content-length"]) == len(request.content)
    assert len(progress) > 2, "the file was read in one piece"
    assert progress == sorted(set(progress))
    assert progress[-1] == (len(texts), len(texts))


def test_columns_that_are_named_are_fields_of_the_form(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes(b"body,stars\n")
    service = Service(found({"id": "file-1"}))
    service.client.upload(path, text_column="body", label_column="stars")
    (request,) = service.requests
    for name, column in ((b"text_column", b"body"), (b"label_column", b"stars")):
        assert b'name="' + name + b'"\r\n\r\n' + column + b"\r\n" in request.content
    assert b"pair_column" not in request.content


def test_a_file_is_sent_from_its_beginning_again(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"one\ntwo\n")
    service = Service(BROKEN, refused(503), found({"id": "file-1"}))
    assert service.client.upload(path)["id"] == "file-1"
    assert [b"one\ntwo\n" in request.content for request in service.requests] == [True] * 3
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 1


def test_a_job_is_asked_for_with_one_key_however_often() -> None:
    service = Service(BROKEN, refused(429), found({"id": "ftjob-1"}), found({"id": "ftjob-2"}))
    assert service.client.create({"suffix": "mine"}) == {"id": "ftjob-1"}
    assert service.client.create({"suffix": "mine"}) == {"id": "ftjob-2"}
    first, second, third, other = (request.headers["idempotency-key"] for request in service.requests)
    assert first == second == third != other
    assert {request.content for request in service.requests} == {b'{"suffix":"mine"}'}


def test_jobs_come_page_by_page() -> None:
    service = Service(
        found({"data": [{"id": "c"}, {"id": "b"}], "has_more": True}), found({"data": [{"id": "a"}], "has_more": False})
    )
    assert [job["id"] for job in service.client.jobs()] == ["c", "b", "a"]
    assert [request.url.params.get("after") for request in service.requests] == [None, "b"]


@pytest.mark.parametrize("status", [401, 404, 409, 422])
def test_a_refusal_is_not_asked_about_again(status: int) -> None:
    service = Service(refused(status))
    with pytest.raises(AdaVAEServiceError, match="not now") as caught:
        service.client.change("ftjob-1", "cancel")
    assert (caught.value.status, service.pauses) == (status, [])
    assert service.requests[0].url.path == "/v1/fine_tuning/jobs/ftjob-1/cancel"


@pytest.mark.parametrize("lost", [BROKEN, httpx2.ReadTimeout("slow"), httpx2.Response(502, text="bad gateway")])
@pytest.mark.parametrize(
    ("change", "status"), [("cancel", "cancelled"), ("pause", "paused"), ("resume", "queued"), ("resume", "running")]
)
def test_what_was_done_though_its_reply_was_lost_is_no_conflict(change: Change, status: str, lost: Reply) -> None:
    """A job whose change was made was reported as one that cannot be changed: the second try found it done."""
    service = Service(lost, refused(409), found({"id": "ftjob-1", "status": status}))
    assert service.client.change("ftjob-1", change)["status"] == status
    assert [request.method for request in service.requests] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    ("change", "status"), [("cancel", "succeeded"), ("pause", "running"), ("resume", "cancelled"), ("resume", "paused")]
)
def test_what_was_not_done_is_a_conflict_after_a_lost_reply_too(change: Change, status: str) -> None:
    service = Service(BROKEN, refused(409, "job_conflict"), found({"id": "ftjob-1", "status": status}))
    with pytest.raises(AdaVAEServiceError, match="not now") as caught:
        service.client.change("ftjob-1", change)
    assert (caught.value.status, caught.value.code) == (409, "job_conflict")


def test_a_conflict_after_a_refusal_that_did_nothing_stands() -> None:
    service = Service(refused(503), refused(409))
    with pytest.raises(AdaVAEServiceError, match="not now"):
        service.client.change("ftjob-1", "resume")
    assert len(service.requests) == 2


def test_a_file_whose_deletion_was_not_told_is_deleted() -> None:
    """The second try found no file, and what had been done was reported as a failure."""
    service = Service(BROKEN, refused(404, "file_not_found"))
    service.client.delete_file("file-1")
    other = Service(refused(404, "file_not_found"))
    with pytest.raises(AdaVAEServiceError, match="not now"):
        other.client.delete_file("file-1")


def test_an_id_is_one_segment_of_the_address() -> None:
    service = Service(found({}), found({}))
    service.client.job("../files?x")
    service.client.delete_file("a/b")
    assert [(request.method, request.url.raw_path) for request in service.requests] == [
        ("GET", b"/v1/fine_tuning/jobs/..%2Ffiles%3Fx"),
        ("DELETE", b"/v1/files/a%2Fb"),
    ]


def test_events_continue_after_the_last_one_that_came() -> None:
    service, lost = Service(told(1, 2), BROKEN, told(3, error="going down"), told(4, is_over=True)), list[str]()
    events = service.client.events("ftjob-1", on_lost=lambda why: lost.append(str(why)))
    assert [event["id"] for event in events] == ["e-1", "e-2", "e-3", "e-4"]
    assert [request.headers.get("last-event-id") for request in service.requests] == [None, "e-2", "e-2", "e-3"]
    assert len(service.pauses) == 3
    assert [why.split(" [")[0] for why in lost] == ["the stream ended before the job did", "going down"]


def test_a_history_whose_end_alone_was_lost_is_over() -> None:
    service = Service(told(1), httpx2.Response(204))
    assert [event["id"] for event in service.client.events("ftjob-1")] == ["e-1"]


def test_a_stream_that_had_begun_is_waited_for_longer_than_one_that_had_not() -> None:
    service = Service(BROKEN, BROKEN, max_retries=1)
    with pytest.raises(AdaVAEServiceError, match="connection reset"):
        list(service.client.events("ftjob-1"))
    assert len(service.pauses) == 1
    service = Service(told(1), *[BROKEN] * 9, told(2, is_over=True), max_retries=1)
    assert [event["id"] for event in service.client.events("ftjob-1")] == ["e-1", "e-2"]
    assert sum(service.pauses) > 1
    service = Service(told(1), *[BROKEN] * 10)
    with pytest.raises(AdaVAEServiceError, match="connection reset"):
        list(service.client.events("ftjob-1"))


def test_events_of_a_job_that_is_not_there_are_refused() -> None:
    service = Service(refused(404, "job_not_found"))
    with pytest.raises(AdaVAEServiceError) as caught:
        list(service.client.events("ftjob-1"))
    assert caught.value.code == "job_not_found"


@pytest.fixture
def training() -> StubTrainingService:
    return StubTrainingService()


@pytest.fixture
def connect(training: StubTrainingService) -> Iterator[Callable[[], TrainingClient]]:
    with capture_logs(), serving(StubLatentService(), training) as url:
        yield lambda: TrainingClient(url)


def test_more_jobs_than_a_page_are_all_listed(
    connect: Callable[[], TrainingClient], training: StubTrainingService
) -> None:
    ids = [f"ftjob-{number:024x}" for number in range(250)]
    training.jobs.all = {job_id: replace(finished_job(), id=job_id) for job_id in ids}
    with connect() as client:
        assert [job["id"] for job in client.jobs()] == ids[::-1]


def test_news_is_waited_for_and_a_service_that_goes_down_is_asked_again(
    connect: Callable[[], TrainingClient], training: StubTrainingService
) -> None:
    training.jobs.all[JOB] = replace(finished_job(), status=JobStatus.RUNNING)
    pauses: list[float] = []

    def service_is_back(seconds: float) -> None:
        pauses.append(seconds)
        training.jobs.in_server(training.jobs.ends_watching.clear)
        training.jobs.in_server(training.jobs.tell, JOB, "The end", JobStatus.SUCCEEDED)

    with connect() as client:
        client._pause = service_is_back
        messages = list[str]()
        for event in client.events(JOB):
            messages.append(event["message"])
            if len(messages) == 3:
                training.jobs.in_server(training.jobs.tell, JOB, "One more")
            if len(messages) == 4:
                training.jobs.in_server(training.jobs.ends_watching.set)
    assert messages == ["The job is created", "Step 1 of 1", "Done", "One more", "The end"]
    assert len(pauses) == 1


def test_names_that_are_not_utf8_are_sent_with_escapes(tmp_path: Path) -> None:
    path = tmp_path / "reviews\udcff.txt"
    path.write_bytes(b"the food was great\n")
    service = Service(found({"id": "file-1"}), found({"id": "a"}))
    service.client.upload(path, text_column="body\udcff")
    content = service.requests[0].content
    assert rb"udcff.txt" in content
    assert rb"body\udcff" in content
    service.client.job("a\udcff")
    assert service.requests[1].url.raw_path.endswith(b"/a%5Cudcff")


def test_a_reply_that_cannot_be_unpacked_is_the_clients_error() -> None:
    service = Service(httpx2.DecodingError("broken gzip"))
    with pytest.raises(AdaVAEServiceError, match="broken gzip"):
        service.client.job("a")


@pytest.mark.parametrize("content", [[], {"jobs": []}, {"data": [{}], "has_more": True}])
def test_a_list_of_another_service_is_the_clients_error(content: object) -> None:
    with pytest.raises(AdaVAEServiceError, match="is it adavae's service") as refused:
        list(Service(found(content)).client.jobs())
    assert refused.value.code == "unreadable_reply"
