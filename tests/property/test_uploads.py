"""Whatever bytes a client sends as data, in whatever form: taken or refused, never an error of ours."""

import asyncio
import json
import lzma
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.readers.preview import preview_of
from adavae.model.training.readers.reading import rows_of
from adavae.model.training.readers.row import Skipped
from adavae.service.errors import ServiceError
from adavae.service.jobs.data.check_pool import CheckTime
from adavae.service.jobs.data.dataset_report import report_on
from adavae.service.routes.upload_form import UploadForm

ENDINGS = (".txt", ".tsv", ".jsonl", ".txt.xz", ".tsv.xz", ".jsonl.xz")
FRAGMENTS = [
    *(b"label\ttext\n", b'{"text": "', b'", "label": "', b'"}\n', b'{"text": "\\ud800"}\n', b"[" * 3000, b"{" * 3000),
    *(b"n,comment\n", b'1,"a long ""text"""\n', b'2,so "lone\n', b'[{"text": "a"}', b', {"text": "b"}]'),
    *(b'{"text": "a", "label": 3}\n', b"\t\t\t", b"\n", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\x85"),
    *(b"a\n" * 20, b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"1e999", b"NaN\n", b'{"text": ' + b"9" * 5000 + b"}\n"),
    lzma.compress(b"a\nb\n"),
]
contents = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=40), max_size=12).map(b"".join)
FORMS = [
    *(b"--b\r\n", b"--b--\r\n", b"--b", b"\r\n", b"\r\n\r\n", b"--", b"\0", b"a" * 9000, b"some text\n"),
    *(b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n', b"Content-Disposition: form-data\r\n"),
    *(b'Content-Disposition: form-data; name="purpose"\r\n', b"fine-tune", b"Content-Disposition: ", b'; name="x"\r\n'),
    *(b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xff\xfe.txt"\r\n\r\nx\r\n', b": ", b"X: y\r\n"),
]
forms = st.lists(st.sampled_from(FORMS) | st.binary(max_size=20), max_size=14).map(b"".join)


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.encode()) for text in texts]


@settings(deadline=None)
@given(content=contents, ending=st.sampled_from(ENDINGS), is_packed=st.booleans())
def test_data_is_reported_on_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, is_packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"data{ending}"
    path.write_bytes(lzma.compress(content) if is_packed and ending.endswith(".xz") else content)
    try:
        report = _reported(path)
    except DatasetError as exc:
        assert str(path) in str(exc) and len(str(exc)) < 5000
    else:
        assert report["rows"] >= 2


@settings(deadline=None)
@given(content=contents, ending=st.sampled_from((*ENDINGS, ".csv", ".json")), max_rows=st.integers(1, 5))
def test_a_preview_is_the_beginning_of_what_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, max_rows: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"shown{ending}"
    path.write_bytes(lzma.compress(content) if ending.endswith(".xz") else content)
    bounds = Bounds(max_bytes=100_000, max_line_bytes=10_000, max_lines=1000)
    try:
        preview = preview_of(path, GUESSED, max_rows=max_rows, max_bytes=500, bounds=bounds)
    except DatasetError as exc:
        assert str(path) in str(exc) and len(str(exc)) < 5000
        return
    json.dumps([asdict(preview)], ensure_ascii=False).encode()
    assert len(preview.rows) + preview.has_more >= 1
    columns = GUESSED
    if preview.is_by_content and preview.read is not None:
        columns = Columns(preview.read.text, preview.read.label, preview.read.pair)
    read = (row for row in rows_of(path, Skipped(), columns, bounds) if row.text)
    assert list(islice(read, len(preview.rows))) == list(preview.rows)


def _reported(path: Path) -> dict[str, int]:
    return report_on(
        path,
        count_tokens=count_words,
        max_tokens=20,
        max_bytes=100_000,
        max_line_bytes=10_000,
        check_time=CheckTime(600),
    ).to_dict()


@settings(deadline=None)
@given(body=forms, size=st.integers(1, 50))
def test_a_form_is_read_or_refused(body: bytes, size: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def read() -> tuple[str, bytes]:
        form = UploadForm("multipart/form-data; boundary=b", pieces(), purpose="fine-tune")
        return await form.filename(), b"".join([piece async for piece in form.content()])

    try:
        name, content = asyncio.run(read())
    except ServiceError as exc:
        assert exc.status in (400, 415, 422)
    else:
        assert len(name) + len(content) <= len(body)


@settings(deadline=None)
@given(content_type=st.binary(max_size=100).map(lambda header: header.decode("latin-1")))
def test_a_content_type_is_understood_or_refused(content_type: str) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        for piece in ():
            yield piece

    try:
        UploadForm(content_type, nothing(), purpose="fine-tune")
    except ServiceError as exc:
        assert exc.status in (400, 415)
