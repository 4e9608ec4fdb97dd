"""Uploads that must not be taken, sent to a real ``adavae serve``: a clear error, flat memory, nothing left behind."""

import gzip
import io
import lzma
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.served import Served, served
from tests.tiny_text import as_tsv, reviews

pytestmark = pytest.mark.slow

MIB = 1024**2
LIMIT, GROWTH, IN_FLIGHT = 64 * MIB, 24 * MIB, 16 * MIB
FILES, JOBS = "/v1/files", "/v1/fine_tuning/jobs"
FORM = {"content-type": "multipart/form-data; boundary=x"}
HEAD = (
    b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'
)
END = b"\r\n--x--\r\n"
DEADLINE_S = 60.0


class Target:
    """The server, a client of it, and what stands in its directory of files."""

    def __init__(self, server: Served, data: Path) -> None:
        self.url = server.url()
        self.client = httpx2.Client(base_url=self.url, timeout=DEADLINE_S)
        self._files, self._process = data / "files", Path(f"/proc/{server.process.pid}")

    @property
    def left(self) -> list[str]:
        if not self._files.is_dir():
            return []
        return sorted(path.name for path in self._files.iterdir() if path.name != ".lock")

    def forget_peak(self) -> int:
        """Bytes in memory now; the highest number is counted from here on."""
        (self._process / "clear_refs").write_text("5", encoding="ascii")
        return self._status("VmRSS")

    def peak(self) -> int:
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = (self._process / "status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    def send(self, name: str, content: bytes) -> httpx2.Response:
        return self.client.post(FILES, data={"purpose": "fine-tune"}, files={"file": (name, content)})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    home = tmp_path_factory.mktemp("home")
    with served(home, ADAVAE_MAX_UPLOAD_BYTES=str(LIMIT)) as server:
        target = Target(server, home / "data")
        with target.client:
            first = target.send("reviews.tsv", as_tsv(reviews(60)).encode())  # reads the tokenizer
            assert target.client.delete(f"{FILES}/{first.json()['id']}").status_code == 200
            yield target


@pytest.fixture
def target(running: Target) -> Iterator[Target]:
    """Whatever a test sends, nothing of it stays, and good texts are taken as before."""
    yield running
    wait_for(lambda: running.left == [])
    reply = running.send("good.txt", b"the food was great\nthe staff was rude\n")
    assert reply.status_code == 200
    assert running.left == [reply.json()["id"]]
    running.client.delete(f"{FILES}/{reply.json()['id']}")


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def check_error(reply: httpx2.Response, status: int, *told: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    for each in told:
        assert each in error["message"]
    return error


class Gigabyte:
    """A form with 1 GiB of text, made as it is sent; ``num_sent`` says how far that came."""

    def __init__(self) -> None:
        self.num_sent = 0

    @property
    def num_bytes(self) -> int:
        return len(HEAD % b"big.txt") + 1024 * MIB + len(END)

    def __iter__(self) -> Iterator[bytes]:
        block = b"the food was great\n" * (MIB // 19) + b"\n" * (MIB % 19)
        yield HEAD % b"big.txt"
        for _ in range(1024):
            yield block
            self.num_sent += len(block)
        yield END


def test_a_gigabyte_that_is_declared_is_refused_unread(target: Target) -> None:
    before, body = target.forget_peak(), Gigabyte()
    headers = FORM | {"content-length": str(body.num_bytes)}
    reply = target.client.post(FILES, content=iter(body), headers=headers)
    error = check_error(reply, 413, f"{body.num_bytes} bytes", str(LIMIT), "ADAVAE_MAX_UPLOAD_BYTES", "split the file")
    assert error["code"] == "body_too_large"
    assert body.num_sent < IN_FLIGHT
    assert target.peak() - before < GROWTH


def test_a_gigabyte_in_chunks_is_refused_while_it_comes(target: Target) -> None:
    before, body = target.forget_peak(), Gigabyte()
    reply = target.client.post(FILES, content=iter(body), headers=FORM)
    check_error(reply, 413, f"more than {LIMIT} bytes", "ADAVAE_MAX_UPLOAD_BYTES", "split")
    assert LIMIT <= body.num_sent < LIMIT + IN_FLIGHT
    assert target.peak() - before < GROWTH


def test_megabytes_under_a_wrong_name_are_refused_while_they_come(target: Target) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield HEAD % b"big.docx"
        for _ in range(LIMIT // MIB):
            yield b"a" * MIB
            sent += MIB

    check_error(target.client.post(FILES, content=body(), headers=FORM), 422, "'big.docx', must end in .csv")
    assert sent < IN_FLIGHT


def test_one_endless_line_is_never_held(target: Target) -> None:
    before = target.forget_peak()
    pieces = [HEAD % b"line.txt", *[b"a" * MIB] * 60, END]
    check_error(target.client.post(FILES, content=iter(pieces), headers=FORM), 422, "line.txt:1", "262,144 bytes")
    assert target.peak() - before < GROWTH


@pytest.mark.parametrize("line", [b"\0" * 4096, b'{"text": "the food was great"}\n'])
def test_bombs_go_off_nowhere(target: Target, line: bytes) -> None:
    """A gigabyte in some kilobytes, packed in four ways."""
    content = line * (8 * MIB // len(line))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for place in range(2):
            zipped.writestr(f"{place}.jsonl", content)
    xz = lzma.compress(content, preset=0)
    before = target.forget_peak()
    check_error(target.send("bomb.jsonl", archive.getvalue()), 422, "bomb.jsonl", "is a zip archive: unpack it")
    check_error(target.send("bomb.jsonl", gzip.compress(content)), 422, "compressed with gzip and not named .gz")
    check_error(target.send("bomb.jsonl", xz), 422, "compressed with xz and not named .xz")
    check_error(target.send("bomb.jsonl.xz", xz * 128), 422, "bomb.jsonl.xz")
    assert target.peak() - before < GROWTH


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("junk.txt", bytes(range(256)) * 100, "junk.txt:3: is not UTF-8 (byte 0x80)"),
        ("junk.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(1000), "junk.jsonl:1: is not UTF-8"),
        ("windows.txt", "the food\r\nwas bad\r\n".encode("utf-16-le"), "windows.txt:1: holds a NUL character"),
        (
            "windows.csv",
            "text\ncaf\u00e9\n".encode("cp1252"),
            "windows.csv:2: is not UTF-8 (byte 0xe9): convert the file",
        ),
        ("endless.csv", b'text\n"never' + b" closed\n" * 9, "endless.csv:2: a quoted cell begins here and never ends"),
        ("deep.json", b'[{"text": ' + b"[" * 100_000, "deep.json:1: is not JSON (nested too deeply)"),
        ("half.txt.gz", gzip.compress(b"a\nb\n" * 99, mtime=0)[:-9], "cannot be decompressed"),
        ("a.parquet", b"PAR1", "a.parquet: cannot be read as parquet"),
        ("empty.jsonl", b"", "empty.jsonl is empty: send at least 2 texts"),
        ("blank.txt", b"\n \n\t\n", "blank.txt: is empty"),
        ("broken.jsonl", b'{"text": "a"}\n{"text": \n', "broken.jsonl:2"),
        ("half.jsonl.xz", lzma.compress(b'{"text": "a"}\n' * 99)[:-20], "cannot be decompressed"),
        ("nul\0.txt", b"a\nb\n", "cannot be shown: rename it"),
        ("../../../.bashrc", b"a\nb\n", "'.bashrc', must end in"),
        ("..", b"a\nb\n", "must end in"),
        ("x" * 300 + ".txt", b"a\nb\n", "has 304 characters, must have 1 to 255"),
    ],
)
def test_junk_is_called_what_it_is(target: Target, name: str, content: bytes, told: str) -> None:
    body = HEAD % name.encode() + content + END
    error = check_error(target.client.post(FILES, content=body, headers=FORM), 422, told)
    assert error["param"] == "file"
    assert str(Path.cwd()) not in error["message"]


def test_a_name_with_folders_leads_nowhere(target: Target) -> None:
    content = HEAD % b"../../../../tmp/adapters/evil.txt" + b"the food\nthe staff\n" + END
    stored = target.client.post(FILES, content=content, headers=FORM).json()
    assert stored["filename"] == "evil.txt"
    assert target.left == [stored["id"]]
    assert target.client.delete(f"{FILES}/{stored['id']}").json()["deleted"] is True


@pytest.mark.parametrize("framing", ["content-length: 1000000", "transfer-encoding: chunked"])
def test_nothing_stays_of_a_client_that_hangs_up(target: Target, framing: str) -> None:
    address = (target.client.base_url.host, target.client.base_url.port or 0)
    piece = HEAD % b"half.txt" + b"the food was great\n" * 1000
    if "chunked" in framing:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    head = f"POST {FILES} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM['content-type']}\r\n{framing}\r\n\r\n"
    with socket.create_connection(address, timeout=DEADLINE_S) as connection:
        connection.sendall(head.encode() + piece)
        wait_for(lambda: len(target.left) == 1)
        assert target.left[0].startswith(".staging-")
        assert target.client.get(FILES).json()["data"] == []
    wait_for(lambda: target.left == [])


def test_a_file_in_use_stays_until_its_job_is_over(target: Target) -> None:
    file_id = target.send("reviews.tsv", as_tsv(reviews(60)).encode()).json()["id"]
    good = {"model": "bundled", "training_file": file_id, "suffix": "mine", "hyperparameters": {"steps": 1_000_000}}
    for wrong, status, told in (
        ({"model": "gpt2"}, 422, "model is 'gpt2', this service has the backbone 'bundled'"),
        ({"model": "../../etc"}, 422, "'../../etc'"),
        ({"training_file": "file-" + "0" * 24}, 422, "there is no such file: upload it with POST /v1/files"),
        ({"training_file": "../jobs"}, 422, "there is no such file"),
        ({"validation_file": "file-none"}, 422, "validation_file"),
        ({"suffix": "../../escape"}, 422, "'../../escape'"),
    ):
        check_error(target.client.post(JOBS, json=good | wrong), status, told)
    assert target.client.get(JOBS).json()["data"] == []
    job = target.client.post(JOBS, json=good).json()
    check_error(target.client.delete(f"{FILES}/{file_id}"), 409, file_id, job["id"], "wait for that job, or cancel it")
    assert target.left == [file_id]
    assert target.client.post(f"{JOBS}/{job['id']}/cancel").status_code == 200
    wait_for(lambda: target.client.get(f"{JOBS}/{job['id']}").json()["status"] == "cancelled")
    assert target.client.delete(f"{FILES}/{file_id}").status_code == 200
