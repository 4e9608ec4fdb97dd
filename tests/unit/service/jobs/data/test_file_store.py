"""Stored files: there whole and checked, or not at all, whatever is sent and whatever fails."""

import asyncio
import errno
import hashlib
import io
import json
import lzma
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from adavae.model.errors import StorageFull
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.corpus import read_dataset
from adavae.model.training.readers.columns import Columns
from adavae.service.errors import InvalidRequest, ServiceError
from adavae.service.jobs.data import check_pool, file_store, upload
from adavae.service.jobs.data.check_pool import NUM_THREADS
from adavae.service.jobs.data.dataset_report import DatasetReport
from adavae.service.jobs.data.file_store import FileStore
from adavae.service.jobs.data.token_counter import TokenCounter, open_token_counter
from adavae.service.jobs.records.job import StoredFile
from tests.tiny_home import tiny_settings
from tests.tiny_text import N_POSITIONS, tiny_tokenizer
from tests.unit.service.http_client import until
from tests.unit.service.jobs.file_home import (
    LABELLED,
    MAX_TOKENS,
    TEXTS,
    FileHome,
    count_with_tiny_tokenizer,
    home,
    in_pieces,
)
from tests.unit.service.jobs.hostile import PLANTS, planted

__all__ = ["home"]
pytestmark = pytest.mark.asyncio

NO_IDS = ["", "file-0", "../files", "..", ".lock", "/etc/passwd", "file-" + "0" * 24, "file-" + "G" * 24, "file-\0"]


async def content_of(home: FileHome, file_id: str) -> bytes:
    download = await home.store.download(file_id)
    content = b"".join(download.pieces)
    assert len(content) == download.num_bytes
    download.close()
    return content


async def refused(home: FileHome, status: int, content: bytes = TEXTS, name: str = "texts.txt") -> ServiceError:
    """Sends what must not be taken; nothing may be left of it."""
    before = home.left
    with pytest.raises(ServiceError) as caught:
        await home.stored(content, name)
    assert caught.value.status == status, caught.value
    assert home.left == before
    return caught.value


async def test_an_upload_is_stored_as_it_came_with_what_was_found(home: FileHome) -> None:
    stored = await home.stored(LABELLED, "reviews.jsonl")
    assert (stored.filename, stored.purpose) == ("reviews.jsonl", "fine-tune")
    assert stored.num_bytes == len(LABELLED)
    assert stored.sha256 == hashlib.sha256(LABELLED).hexdigest()
    assert (stored.num_rows, stored.labels) == (2, {"no": 1, "yes": 1})
    assert stored.report["max_tokens"] == MAX_TOKENS
    assert stored.report["warnings"][0].startswith("there are only 2 texts")
    assert await home.store.get(stored.id) == stored
    assert await content_of(home, stored.id) == LABELLED
    assert home.store.path_of(stored.id) == home.settings.files / stored.id / "content.jsonl"
    assert home.left == [stored.id]


async def test_columns_that_are_named_are_read_and_remembered(home: FileHome) -> None:
    content = b"stars,body,other\nyes,the food was great,a\nno,the staff was rude,b\n"
    store = home.store
    stored = await store.create("a.csv", "fine-tune", in_pieces(content), lambda: Columns("body", "stars"))
    assert stored.columns == Columns("body", "stars")
    assert stored.labels == {"no": 1, "yes": 1}
    assert (await store.get(stored.id)).columns == stored.columns
    assert store.columns_of(stored.id) == Columns("body", "stars")
    assert store.columns_of((await home.stored()).id) == Columns()
    paired = await store.create("a.csv", "fine-tune", in_pieces(content), lambda: Columns("body", pair="other"))
    assert (paired.num_rows, paired.labels, paired.columns) == (2, {}, Columns("body", pair="other"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (lambda: Columns("bod"), r"a\.csv:1: there is no column named 'bod'; there are 'stars', 'body'"),
        (lambda: Columns("body", "star"), "label_column over HTTP"),
        (lambda: Columns("body", pair="second"), "pair_column over HTTP"),
    ],
)
async def test_columns_that_are_not_there_are_told(home: FileHome, columns: Callable[[], Columns], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        await home.store.create("a.csv", "fine-tune", in_pieces(b"stars,body\n1,x\n2,y\n"), columns)
    assert home.left == []


async def test_another_process_finds_the_same_files(home: FileHome) -> None:
    stored = await home.stored()
    other = FileStore(home.settings, home.users, count_with_tiny_tokenizer)
    assert await other.get(stored.id) == stored
    assert (await other.list(limit=10, after=None)).items == [stored]


async def test_large_uploads_are_written_in_blocks(home: FileHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_BLOCK_BYTES", 100)
    content = b"".join(b"text number %d\n" % number for number in range(200))
    stored = await home.store.create("a.txt", "fine-tune", in_pieces(content, 33))
    assert await content_of(home, stored.id) == content
    assert stored.sha256 == hashlib.sha256(content).hexdigest()


async def test_compressed_files_keep_their_ending(home: FileHome) -> None:
    content = lzma.compress(LABELLED)
    stored = await home.stored(content, "Reviews.JSONL.xz")
    assert home.store.path_of(stored.id).name == "content.jsonl.xz"
    assert stored.num_rows == 2
    assert await content_of(home, stored.id) == content


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("../../etc/texts.txt", "texts.txt"),
        ("/abs/olute/texts.txt", "texts.txt"),
        ("..\\..\\windows\\texts.txt", "texts.txt"),
        ("naïve — 文.txt", "naïve — 文.txt"),
        ("'; rm -rf ~ #.txt", "'; rm -rf ~ #.txt"),
        ("x" * 251 + ".txt", "x" * 251 + ".txt"),
    ],
)
async def test_a_clients_name_is_shown_and_never_part_of_a_path(home: FileHome, filename: str, shown: str) -> None:
    stored = await home.stored(name=filename)
    assert stored.filename == shown
    assert home.left == [stored.id]
    written = sorted(path.name for path in (home.settings.files / stored.id).iterdir())
    assert written == ["content.txt", "file.json", "lock"]


@pytest.mark.parametrize(
    ("filename", "told"),
    [
        ("", "has 0 characters"),
        ("folder/", "has 0 characters"),
        ("..", "must end in .csv, .tsv, .txt, .jsonl or .json"),
        ("a.txt/..", "must end in"),
        ("a.docx", "must end in"),
        ("a.parquet.gz", "must end in"),
        ("a.txt.bz2", "must end in"),
        ("txt", "must end in"),
        ("a.txt\n", "cannot be shown"),
        ("a\0.txt", "cannot be shown"),
        ("a\x1b[2J.txt", "cannot be shown"),
        ("a\u202etxt.txt", "cannot be shown"),
        ("a\ud800.txt", "cannot be shown"),
        ("x" * 296 + ".txt", "has 300 characters, must have 1 to 255"),
    ],
)
async def test_a_bad_name_is_refused_before_anything_is_read(home: FileHome, filename: str, told: str) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("must not be read")
        yield b""

    with pytest.raises(ServiceError, match=told) as caught:
        await home.store.create(filename, "fine-tune", unread())
    assert (caught.value.status, caught.value.code, caught.value.param) == (422, "invalid_filename", "file")
    assert home.left == []


async def test_parquet_is_kept_as_it_came_and_read_as_lines(home: FileHome) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    sink = io.BytesIO()
    parquet.write_table(arrow.table({"body": ["the food", "the staff"], "stars": [5, 1], "id": [1, 2]}), sink)
    content = sink.getvalue()
    stored = await home.store.create("a.parquet", "fine-tune", in_pieces(content), lambda: Columns("body", "stars"))
    assert (stored.num_rows, stored.labels, stored.num_bytes) == (2, {"1": 1, "5": 1}, len(content))
    assert "columns that are not read: 'id'" in stored.report["warnings"]
    assert await content_of(home, stored.id) == content
    dataset = read_dataset(home.store.path_of(stored.id), columns=home.store.columns_of(stored.id))
    assert (dataset.texts, dataset.labels) == (("the food", "the staff"), ("5", "1"))
    broken = await refused(home, 422, b"PAR1 and nothing else", "b.parquet")
    assert broken.message.startswith("b.parquet: cannot be read as parquet")


async def test_parquet_without_its_library_is_refused_unread(home: FileHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "reads_parquet", lambda: False)
    with pytest.raises(ServiceError, match=r"this service has no pyarrow to read parquet with: send it as \.jsonl"):
        await home.stored(b"PAR1", "a.parquet")


async def test_another_purpose_is_refused(home: FileHome) -> None:
    with pytest.raises(ServiceError, match="purpose is 'batch', must be 'fine-tune'"):
        await home.store.create("a.txt", "batch", in_pieces(TEXTS))


async def test_an_empty_file_is_refused(home: FileHome) -> None:
    assert "texts.txt is empty: send at least 2 texts" in (await refused(home, 422, b"")).message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"text": "a"}\n{"text": "b"\n', "mine.jsonl:2: is not JSON"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "mine.jsonl:1: is not UTF-8"),
        ('{"text": "a"}\n'.encode("utf-16-le"), "mine.jsonl:1: holds a NUL"),
        (
            b'{"text": "caf\xe9"}\n',
            "mine.jsonl:1: is not UTF-8 (byte 0xe9): convert the file, perhaps by `iconv -f WINDOWS",
        ),
        (b'{"text": "a"}\n', "mine.jsonl: has 1 texts"),
    ],
)
async def test_a_fault_in_the_data_is_named_by_the_clients_name_and_line(
    home: FileHome, content: bytes, told: str
) -> None:
    error = await refused(home, 422, content, "folder/mine.jsonl")
    assert error.message.startswith(told)
    assert (error.code, error.param) == ("invalid_data", "file")
    assert str(home.settings.data) not in error.message


async def test_more_bytes_than_allowed_are_refused_while_they_come(tmp_path: Path) -> None:
    home = FileHome(tmp_path, max_upload_bytes=2000)
    num_sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal num_sent
        while True:
            num_sent += 100
            yield b"a" * 100

    with pytest.raises(ServiceError, match=r"more than 2000 bytes.*ADAVAE_MAX_UPLOAD_BYTES") as caught:
        await home.store.create("a.txt", "fine-tune", endless())
    assert (caught.value.status, num_sent) == (413, 2100)
    assert home.left == []


async def test_a_file_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    content = (b"one\n" * 500).replace(b"one", b"two", 1)
    home = FileHome(tmp_path, max_upload_bytes=len(content))
    assert (await home.stored(content)).num_bytes == 2000
    await refused(home, 413, content + b"\n")


async def test_the_limit_counts_for_what_is_decompressed_too(tmp_path: Path) -> None:
    home = FileHome(tmp_path, max_upload_bytes=100_000)
    bomb = lzma.compress(b"some text\n" * 100_000)
    assert len(bomb) < 1000
    assert "bomb.txt.xz: holds more than 100,000 bytes" in (await refused(home, 422, bomb, "bomb.txt.xz")).message


async def test_nothing_is_left_of_an_upload_that_breaks_off(home: FileHome) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield TEXTS
        assert len(home.left) == 1
        assert home.left[0].startswith(".staging-")
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await home.store.create("a.txt", "fine-tune", broken())
    assert home.left == []


async def test_an_upload_is_not_to_be_seen_before_it_is_whole(home: FileHome) -> None:
    async def watched() -> AsyncIterator[bytes]:
        yield TEXTS
        assert (await home.store.list(limit=10, after=None)).items == []

    stored = await home.store.create("a.txt", "fine-tune", watched())
    assert (await home.store.list(limit=10, after=None)).items == [stored]


async def test_nothing_is_left_of_an_upload_that_is_cancelled_while_it_comes(home: FileHome) -> None:
    never = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield TEXTS
        await never.wait()

    storing = asyncio.create_task(home.store.create("a.txt", "fine-tune", stuck()))
    await until(lambda: len(home.left) == 1)
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert home.left == []


async def test_nothing_is_left_of_an_upload_that_is_cancelled_while_it_is_checked(
    home: FileHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking, go_on = threading.Event(), threading.Event()

    def slow(path: Path, **fields: Any) -> DatasetReport:
        checking.set()
        assert go_on.wait(10)
        assert path.is_file(), "its directory was removed under a thread that still reads it"
        return real(path, **fields)

    real = file_store.report_on
    monkeypatch.setattr(file_store, "report_on", slow)
    storing = asyncio.create_task(home.stored())
    await until(checking.is_set)
    storing.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert home.left == []


async def test_a_few_files_are_checked_at_once(home: FileHome, monkeypatch: pytest.MonkeyPatch) -> None:
    num_running, most = 0, 0
    lock, real = threading.Lock(), file_store.report_on

    def counted(path: Path, **fields: Any) -> DatasetReport:
        nonlocal num_running, most
        with lock:
            num_running += 1
            most = max(most, num_running)
        report = real(path, **fields)
        with lock:
            num_running -= 1
        return report

    monkeypatch.setattr(file_store, "report_on", counted)
    stored = await asyncio.gather(*(home.stored() for _ in range(8)))
    assert most <= NUM_THREADS
    assert home.left == sorted(each.id for each in stored)
    assert len(set(home.left)) == 8


async def test_files_that_are_slow_to_check_keep_nobody_else_waiting(
    home: FileHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: twelve lines of a megabyte, 1,956 bytes of xz, held everybody's uploads up for 32 s."""
    num_slow, go_on, real = 0, threading.Event(), file_store.report_on

    def slow(path: Path, **fields: Any) -> DatasetReport:
        nonlocal num_slow
        if path.suffix == ".tsv":
            num_slow += 1
            assert go_on.wait(60)
        return real(path, **fields)

    async def sent(name: str, owner: str) -> StoredFile:
        return await home.store.create(name, "fine-tune", in_pieces(b"label\ttext\nx\ta\ny\tb\n"), owner=owner)

    monkeypatch.setattr(file_store, "report_on", slow)
    slow_ones = [asyncio.create_task(sent("slow.tsv", "greedy")) for _ in range(4)]
    await until(lambda: num_slow == 1)
    async with asyncio.timeout(60):
        assert [await sent("quick.txt", owner) for owner in ("one", "other")]
    assert num_slow == 1
    go_on.set()
    await asyncio.gather(*slow_ones)


async def test_more_uploads_than_may_wait_for_their_check_are_refused(
    home: FileHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, real = threading.Event(), file_store.report_on

    def slow(path: Path, **fields: Any) -> DatasetReport:
        assert go_on.wait(60)
        return real(path, **fields)

    monkeypatch.setattr(check_pool, "MAX_WAITING", 3)
    monkeypatch.setattr(file_store, "report_on", slow)
    sent = [asyncio.create_task(home.stored()) for _ in range(8)]
    await until(lambda: sum(each.done() for each in sent) == 5)
    go_on.set()
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, ServiceError)]
    assert [(each.status, each.code) for each in refused] == [(429, "overloaded")] * 5
    assert len(home.left) == 3
    assert await home.stored()


async def test_one_key_leaves_others_room_to_wait(home: FileHome, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, real = threading.Event(), file_store.report_on

    def slow(path: Path, **fields: Any) -> DatasetReport:
        assert go_on.wait(60)
        return real(path, **fields)

    async def sent(owner: str) -> StoredFile:
        return await home.store.create("a.txt", "fine-tune", in_pieces(b"one\ntwo\n"), owner=owner)

    monkeypatch.setattr(check_pool, "MAX_WAITING", 5)
    monkeypatch.setattr(file_store, "report_on", slow)
    greedy = [asyncio.create_task(sent("greedy")) for _ in range(6)]
    try:
        await until(lambda: sum(each.done() for each in greedy) == 2)
        other = asyncio.create_task(sent("other"))
    finally:
        go_on.set()
    assert await other
    refused = [each for each in await asyncio.gather(*greedy, return_exceptions=True) if isinstance(each, ServiceError)]
    assert [(each.status, each.code) for each in refused] == [(429, "overloaded")] * 2
    assert "your key has 4 uploads that wait to be checked, the limit is 4" in refused[0].message
    assert await sent("greedy")


async def test_a_check_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    home = FileHome(tmp_path, check_timeout_s=1e-9)
    error = await refused(home, 422)
    assert error.message.startswith("texts.txt: could not be checked within 1e-09 s (ADAVAE_CHECK_TIMEOUT_S)")


@pytest.mark.parametrize("line", ["1!", "a", " a", "\U0001f600", "the ", "\t", "\u0301"])
async def test_long_lines_cost_what_the_context_is_worth(home: FileHome, line: str) -> None:
    """However long a text is, no more of it is tokenized than could fit."""
    counter = count_with_tiny_tokenizer(home.settings)
    seen = []

    class Counted:
        longest_token = counter.tokenizer.longest_token

        def encode_many(self, texts: list[str]) -> list[list[int]]:
            seen.extend(map(len, texts))
            return counter.tokenizer.encode_many(texts)

    bounded = TokenCounter(cast(Tokenizer, Counted()), MAX_TOKENS)
    text = (line * 1_000_000)[:1_000_000] + "x"
    assert bounded.count([text, "short"])[0] > MAX_TOKENS
    assert max(seen) <= MAX_TOKENS * counter.tokenizer.longest_token + 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_reported_and_nothing_is_left(
    home: FileHome, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(_upload: upload.Upload) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(upload.Upload, "write", full)
        error = await refused(home, 503)
    assert error.code == "storage_full"
    assert error.retry_after_s is not None
    assert "the data volume (ADAVAE_DATA) is full" in error.message
    assert await home.stored()


@pytest.mark.parametrize("step", ["write_atomically", "publish_directory"])
async def test_a_disk_that_is_full_at_the_end_leaves_nothing(
    home: FileHome, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_arguments: object) -> None:
        raise StorageFull("/secret/place is full")

    monkeypatch.setattr(file_store, step, full)
    error = await refused(home, 503)
    assert (error.code, "secret" in error.message) == ("storage_full", False)


async def test_another_failure_of_the_disk_is_not_called_a_full_one(
    home: FileHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_upload: upload.Upload) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(upload.Upload, "write", broken)
    assert (await refused(home, 503)).code == "storage_failed"


async def test_no_more_files_than_allowed_are_stored(tmp_path: Path) -> None:
    home = FileHome(tmp_path, max_files=2)
    stored = [await home.stored() for _ in range(2)]
    error = await refused(home, 409)
    assert error.code == "too_many_files"
    assert "2 files are stored or on their way, the limit is 2 (ADAVAE_MAX_FILES): delete some" in error.message
    await home.store.delete(stored[0].id)
    assert await home.stored()


async def test_uploads_under_way_count_as_files(tmp_path: Path) -> None:
    home = FileHome(tmp_path, max_files=3)
    outcomes = await asyncio.gather(*(home.stored() for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, ServiceError) and each.code == "too_many_files" for each in outcomes) == 5
    assert len(home.left) == 3


@pytest.mark.parametrize("file_id", NO_IDS)
async def test_what_is_no_file_is_not_found(home: FileHome, file_id: str) -> None:
    await home.stored()
    before = home.left
    for asked in (home.store.get, home.store.download, home.store.delete):
        with pytest.raises(ServiceError) as caught:
            await asked(file_id)
        assert (caught.value.status, caught.value.code) == (404, "file_not_found")
    with pytest.raises(ServiceError, match="there is no file"):
        home.store.path_of(file_id)
    assert home.left == before
    assert (home.settings.files / ".lock").is_file()


async def test_lists_are_ordered_and_continue_after_a_file(home: FileHome) -> None:
    assert (await home.store.list(limit=2, after=None)).items == []
    stored = [await home.stored() for _ in range(5)]
    newest = await home.store.list(limit=2, after=None)
    assert (newest.items, newest.has_more) == (stored[:2:-1], True)
    rest = await home.store.list(limit=3, after=stored[3].id)
    assert (rest.items, rest.has_more) == (stored[2::-1], False)
    oldest = await home.store.list(limit=10, after=stored[1].id, newest_first=False)
    assert (oldest.items, oldest.has_more) == (stored[2:], False)
    with pytest.raises(ServiceError, match="after is 'x'") as caught:
        await home.store.list(limit=1, after="x")
    assert (caught.value.status, caught.value.param) == (422, "after")


async def test_a_list_continues_after_a_file_that_was_deleted_meanwhile(home: FileHome) -> None:
    stored = [await home.stored() for _ in range(4)]
    await home.store.delete(stored[2].id)
    page = await home.store.list(limit=10, after=stored[2].id)
    assert page.items == [stored[1], stored[0]]


async def test_a_damaged_record_hides_no_other_file(home: FileHome) -> None:
    damaged, good = await home.stored(), await home.stored()
    for content in (b"{", b"[]", b"{}", json.dumps({"id": 1}).encode()):
        (home.settings.files / damaged.id / "file.json").write_bytes(content)
        assert (await home.store.list(limit=10, after=None)).items == [good]
        with pytest.raises(ServiceError, match="is damaged") as caught:
            await home.store.get(damaged.id)
        assert caught.value.status == 503
    await home.store.delete(damaged.id)
    assert home.left == [good.id]


async def test_a_deleted_file_is_gone(home: FileHome) -> None:
    stored = await home.stored()
    await home.store.delete(stored.id)
    assert home.left == []
    with pytest.raises(ServiceError, match="there is no file"):
        await home.store.delete(stored.id)


async def test_a_file_that_a_job_needs_stays(home: FileHome) -> None:
    stored = await home.stored()
    home.users.jobs[stored.id] = ["ftjob-1", "ftjob-2"]
    with pytest.raises(ServiceError, match="is used by ftjob-1, which is not finished") as caught:
        await home.store.delete(stored.id)
    assert (caught.value.status, caught.value.code) == (409, "file_in_use")
    assert await content_of(home, stored.id) == TEXTS
    del home.users.jobs[stored.id]
    await home.store.delete(stored.id)
    assert home.left == []


async def test_one_of_many_who_delete_a_file_at_once_has_done_it(home: FileHome) -> None:
    stored = await home.stored()
    outcomes = await asyncio.gather(*(home.store.delete(stored.id) for _ in range(6)), return_exceptions=True)
    assert sum(each is None for each in outcomes) == 1
    assert {each.status for each in outcomes if isinstance(each, ServiceError)} == {404}
    assert home.left == []


@pytest.mark.parametrize("hours", [-2, 2, 24 * 365])
async def test_what_killed_processes_left_is_removed_and_uploads_under_way_are_not(
    home: FileHome, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Regression: a clock that was set forward by two hours removed an upload under way; no clock is asked now."""
    abandoned = home.settings.files / ".staging-abandoned"
    abandoned.mkdir(parents=True)
    (abandoned / "lock").touch()
    (abandoned / "content.txt").write_bytes(b"half a te")
    has_begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield TEXTS
        has_begun.set()
        await may_go_on.wait()
        yield TEXTS.upper()

    under_way = asyncio.create_task(home.store.create("slow.txt", "fine-tune", slowly()))
    await has_begun.wait()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + hours * 3600)
    monkeypatch.setattr(time, "time_ns", lambda: int((now + hours * 3600) * 1e9))
    other = await FileStore(home.settings, home.users, count_with_tiny_tokenizer).create(
        "quick.txt", "fine-tune", in_pieces(TEXTS)
    )
    assert not abandoned.exists()
    assert len(home.left) == 2
    may_go_on.set()
    slow = await under_way
    assert home.left == [other.id, slow.id]
    assert (await home.store.list(limit=9, after=None)).items == [slow, other]


async def test_files_sort_as_they_came_whatever_is_done_to_the_clock(
    home: FileHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns, stored = time.time_ns(), []
    for hours in (0, 5, -5, -24 * 365, 0):
        monkeypatch.setattr(time, "time_ns", lambda hours=hours: now_ns + hours * 3600 * 10**9)
        stored.append(await home.stored())
    assert (await home.store.list(limit=9, after=None, newest_first=False)).items == stored


@pytest.mark.parametrize("name", PLANTS)
async def test_a_bad_record_hides_no_other_file(home: FileHome, name: str) -> None:
    bad, good = await home.stored(), await home.stored()
    planted(home.settings.files / bad.id / "file.json", PLANTS[name])
    fresh = FileStore(home.settings, home.users, count_with_tiny_tokenizer)
    assert (await fresh.list(limit=10, after=None)).items == [good]
    for ask in (fresh.get, fresh.download):
        with pytest.raises(ServiceError) as caught:
            await ask(bad.id)
        assert caught.value.status in (404, 503)
    assert await fresh.create("a.txt", "fine-tune", in_pieces(TEXTS), owner="alice")
    await fresh.delete(bad.id)
    assert bad.id not in home.left


@pytest.mark.parametrize("name", PLANTS)
async def test_bad_content_is_reported_or_not_found(home: FileHome, name: str) -> None:
    stored = await home.stored()
    planted(home.settings.files / stored.id / "content.txt", PLANTS[name])
    try:
        assert len(await content_of(home, stored.id)) < 10**7
    except ServiceError as exc:
        assert exc.status in (404, 503)


@pytest.mark.parametrize("name", PLANTS)
async def test_what_stands_among_the_files_hides_none(home: FileHome, name: str) -> None:
    stored = await home.stored()
    for stray in (f"file-{'f' * 24}", ".staging-stray"):
        planted(home.settings.files / stray, PLANTS[name])
    fresh = FileStore(home.settings, home.users, count_with_tiny_tokenizer)
    other = await fresh.create("a.txt", "fine-tune", in_pieces(TEXTS))
    assert stored.id in {each.id for each in (await fresh.list(limit=10, after=None)).items}
    assert await fresh.get(other.id) == other


async def test_texts_are_counted_with_the_configured_backbones_tokenizer(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    counter = open_token_counter(settings)
    assert isinstance(counter, TokenCounter)
    assert counter.max_tokens == N_POSITIONS - 1
    texts = ["the food was great", "a"]
    assert counter.count(texts) == [len(tiny_tokenizer().encode(text)) for text in texts]
    long_row = "the food was great and " * 20
    stored = await FileStore(settings, FileHome(tmp_path).users).create(
        "a.txt", "fine-tune", in_pieces(TEXTS + long_row.encode())
    )
    assert stored.report["rows_over_max_tokens"] == 1
    assert stored.report["tokens"]["longest"] == len(tiny_tokenizer().encode(long_row.strip()))
