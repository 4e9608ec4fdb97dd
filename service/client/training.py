"""A Python client of training as a service: files, jobs and their events, as the service's JSON.

What may be repeated without harm is repeated, as in ``latent``; a file and a job are made once, however often the
request is sent.
"""

import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import quote

import httpx2

from adavae.model.cleaning import storable
from adavae.service.client.retries import AdaVAEServiceError, Attempts, HttpClient, refusal_of
from adavae.service.client.stream_reading import event_content

Change = Literal["cancel", "pause", "resume"]
OnBytes = Callable[[int, int], None]
OnLost = Callable[[Exception], None]
_JOBS = "/v1/fine_tuning/jobs"
_DONE: dict[Change, tuple[str, ...]] = {
    "cancel": ("cancelled",),
    "pause": ("paused",),
    "resume": ("queued", "running"),
}
"""What a job is once it has been changed, where the reply that told so was lost."""
_PAGE = 100
_CHECK_S = 600.0  # an upload is answered after all of it has been checked, one upload at a time
_RECONNECTS = 10  # about a minute: a service that restarts is back by then


class TrainingClient(HttpClient):
    """Files and jobs; its key needs the scope ``train``. Every method raises AdaVAEServiceError."""

    def upload(
        self,
        path: Path,
        on_bytes: OnBytes = lambda _done, _total: None,
        *,
        text_column: str | None = None,
        label_column: str | None = None,
        pair_column: str | None = None,
    ) -> dict[str, Any]:
        """Sends a file of texts, read as it is sent; ``on_bytes`` is called with the bytes sent, and their total.

        The columns are guessed by their names where they are not named.

        Raises:
            OSError: The file cannot be read.
        """
        patience = httpx2.Timeout(self._timeout_s, read=max(self._timeout_s, _CHECK_S))
        columns = {"text_column": text_column, "label_column": label_column, "pair_column": pair_column}
        fields = {
            "purpose": "fine-tune",
            **{name: storable(value) for name, value in columns.items() if value is not None},
        }
        once = {"idempotency-key": uuid.uuid4().hex}
        with path.open("rb") as file:
            total = path.stat().st_size

            def send() -> httpx2.Response:
                counted = cast(BinaryIO, _CountedFile(file, lambda done: on_bytes(done, total)))
                form = {"file": (storable(path.name), counted, "application/octet-stream")}
                return self._http.post("/v1/files", data=fields, files=form, headers=once, timeout=patience)

            stored: dict[str, Any] = self._answer(send)
            return stored

    def delete_file(self, file_id: str) -> None:
        """Deletes an upload that no unfinished job needs."""
        attempts = Attempts(self._max_retries)
        try:
            self._answer(lambda: self._http.delete(f"/v1/files/{_quoted(file_id)}"), attempts)
        except AdaVAEServiceError as exc:
            if not (attempts.has_lost and exc.status == 404):  # else an earlier try has deleted it
                raise

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Makes a job."""
        once = {"idempotency-key": uuid.uuid4().hex}
        job: dict[str, Any] = self._answer(lambda: self._http.post(_JOBS, json=body, headers=once))
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        """One job as it stands."""
        job: dict[str, Any] = self._answer(lambda: self._http.get(f"{_JOBS}/{_quoted(job_id)}"))
        return job

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Every job, newest first, page by page."""
        params: dict[str, str | int] = {"limit": _PAGE}
        while True:
            page = self._answer(lambda: self._http.get(_JOBS, params=params))
            jobs = with_fields(page, "data", "has_more")["data"]
            yield from jobs
            if not page["has_more"] or not jobs:
                return
            params["after"] = with_fields(jobs[-1], "id")["id"]

    def change(self, job_id: str, change: Change) -> dict[str, Any]:
        """Tells a job to end, to wait, or to go on."""
        attempts = Attempts(self._max_retries)
        try:
            job: dict[str, Any] = self._answer(lambda: self._http.post(f"{_JOBS}/{_quoted(job_id)}/{change}"), attempts)
        except AdaVAEServiceError as exc:
            if not (attempts.has_lost and exc.status == 409):
                raise
            job = self.job(job_id)
            if with_fields(job, "status")["status"] not in _DONE[change]:
                raise
        return job

    def events(self, job_id: str, on_lost: OnLost = lambda _: None) -> Generator[dict[str, Any], None, None]:
        """A job's history from its beginning and as it happens, until it is finished; goes on where it broke off.

        Args:
            job_id: Which job.
            on_lost: Called with the reason, once for every time that the connection is lost after it had begun.
        """
        last: str | None = None
        is_lost = False
        attempts = Attempts(self._max_retries)
        while True:
            try:
                for event in self._stream(job_id, last):
                    if last is None or is_lost:
                        attempts, is_lost = Attempts(max(self._max_retries, _RECONNECTS)), False
                    last = str(event.get("id", ""))
                    yield event
                return
            except (httpx2.RequestError, AdaVAEServiceError) as exc:
                pause_s = attempts.pause_s(exc)
                if last is not None and not is_lost:
                    on_lost(exc)
                is_lost = True
                self._pause(pause_s)

    def _stream(self, job_id: str, last: str | None) -> Iterator[dict[str, Any]]:
        headers = {"last-event-id": last} if last is not None else {}
        url = f"{_JOBS}/{_quoted(job_id)}/events"
        with self._http.stream("GET", url, params={"stream": "true"}, headers=headers) as response:
            if not response.is_success:
                response.read()
                raise refusal_of(response)
            if response.status_code == httpx2.codes.NO_CONTENT:  # all was told before the connection was lost
                return
            for event in httpx2.EventSource(response):
                if event.data == "[DONE]":
                    return
                yield event_content(event, status=503)
        raise httpx2.RemoteProtocolError("the stream ended before the job did", request=response.request)


class _CountedFile:
    """A file that reports how much of it was read."""

    def __init__(self, file: BinaryIO, on_read: Callable[[int], None]) -> None:
        self._file, self._on_read = file, on_read

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        if piece:
            self._on_read(self._file.tell())
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(65536):
            yield piece


def with_fields(reply: Any, *names: str) -> dict[str, Any]:
    """``reply``, where it is an object with these fields; raises AdaVAEServiceError for another service's."""
    missing = [name for name in names if not isinstance(reply, dict) or name not in reply]
    if missing:
        message = f"the reply lacks {', '.join(missing)}: is it adavae's service?"
        raise AdaVAEServiceError(0, "unreadable_reply", message)
    fields: dict[str, Any] = reply
    return fields


def _quoted(job_id: str) -> str:
    """An id as one segment of a path, whatever was typed."""
    return quote(storable(job_id), safe="")
