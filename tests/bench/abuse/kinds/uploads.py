"""Uploads that are bombs, garbage, in another encoding, or no form at all; nothing of them may stay behind."""

import bz2
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path

from tests.bench.abuse import odd
from tests.bench.abuse.process_use import MIB
from tests.bench.abuse.stage import FILES, Stage, until
from tests.bench.abuse.tries import Kind, Try
from tests.bench.abuse.verdict import complaint, first
from tests.bench.abuse.written import FORM, PURPOSE, file_part, form

_LINE = b'{"text": "the food was great", "label": "yes"}\n'
Content = Callable[[random.Random], tuple[str, bytes]]
"""A name and what is under it."""


def tries(stage: Stage, draw: random.Random) -> Generator[Try, None, None]:
    """Hostile contents in a good form, or good contents in a hostile one."""
    while True:
        if draw.random() < 0.75:
            make = draw.choice(CONTENTS)
            name, content = make(draw)
            body, told = form([PURPOSE, file_part(name.encode(), content)]), f"{make.__name__.strip('_')} {name[:40]!r}"
        else:
            told, body = _hostile_form(draw)
        yield Try(f"{told}, {len(body)} bytes", lambda body=body: _send(stage, body))  # type: ignore[misc]


def _send(stage: Stage, body: bytes) -> str | None:
    client = stage.client("alice")
    reply = client.post(FILES, content=body, headers=FORM)
    gone = None
    if reply.status_code == 200:
        gone = complaint(client.delete(f"{FILES}/{reply.json()['id']}"))
    return first(complaint(reply), gone, _left(stage.settings.files))


def _left(files: Path) -> str | None:
    """Whether something stays in the directory of files."""

    def left() -> list[str]:
        return [path.name for path in files.glob("*") if path.name != ".lock"] if files.is_dir() else []

    try:
        until(lambda: not left())
    except TimeoutError:
        return f"left behind: {left()[:3]}"
    return None


def _xz_bomb(draw: random.Random) -> tuple[str, bytes]:
    """Some kilobytes that are many megabytes: of long lines, of short ones, or in many streams."""
    match draw.randrange(4):
        case 0:
            return "bomb.txt.xz", lzma.compress((b"a" * MIB + b"\n") * draw.randrange(1, 24))
        case 1:
            return "bomb.jsonl.xz", lzma.compress(_LINE * (8 * MIB // len(_LINE)), preset=0) * draw.choice((1, 4, 64))
        case 2:
            return "bomb.txt.xz", lzma.compress(bytes(32 * MIB), preset=0) * draw.choice((1, 32))
        case _:
            return "bomb.tsv.xz", lzma.compress(b"label\ttext\n" + b"1!" * 120_000 + b"\n", preset=0) * 8


def _broken_xz(draw: random.Random) -> tuple[str, bytes]:
    """Cut off, or with a byte changed, or with something behind it."""
    content = bytearray(lzma.compress(_LINE * 5000))
    match draw.randrange(3):
        case 0:
            del content[draw.randrange(1, len(content)) :]
        case 1:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        case _:
            content += draw.randbytes(200)
    return "broken.jsonl.xz", bytes(content)


def _packed_otherwise(draw: random.Random) -> tuple[str, bytes]:
    """What is packed, under the name of what is not, or the other way round."""
    content = draw.choice((_LINE, bytes(64))) * 20_000
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("x.jsonl", content)
    packed = draw.choice((gzip.compress(content), bz2.compress(content), archive.getvalue(), lzma.compress(content)))
    old = lzma.compress(content, format=lzma.FORMAT_ALONE)
    return draw.choice(("a.jsonl", "a.txt", "a.tsv", "a.jsonl.xz")), draw.choice((packed, old))


def _long_line(draw: random.Random) -> tuple[str, bytes]:
    piece = draw.choice(odd.PIECES).encode()
    size = draw.choice((100_000, 262_144, 262_145, 6 * MIB))
    line = (piece * (1 + size // len(piece)))[:size]
    before = draw.choice((b"", _LINE * 3, b"the food\n" * 3))
    return draw.choice(("long.txt", "long.jsonl", "long.tsv")), before + line + b"\n"


def _many_texts_of_one_piece(draw: random.Random) -> tuple[str, bytes]:
    """As many tokens as a file of this size may have."""
    line = draw.choice(("1!", "()", "\u0301", "\U0001f600", "a ")) * draw.choice((50, 5000, 20_000))
    content = f"{line}\n".encode()
    return "tokens.txt", content * max(1, draw.choice((MIB, 5 * MIB)) // len(content))


def _in_another_encoding(draw: random.Random) -> tuple[str, bytes]:
    encoding = draw.choice(("utf-16", "utf-16-be", "utf-32", "latin-1", "cp037", "utf-7", "shift_jis", "utf-8-sig"))
    return draw.choice(("texts.txt", "texts.jsonl")), '{"text": "caf\u00e9"}\r\n'.encode(encoding, "replace") * 40


def _random_bytes(draw: random.Random) -> tuple[str, bytes]:
    name = draw.choice(("junk.txt", "junk.jsonl", "junk.tsv", "junk.txt.xz"))
    return name, draw.choice((b"", b"\xfd7zXZ\x00", b"\x89PNG", b"PK")) + draw.randbytes(draw.randrange(0, 200_000))


def _odd_lines(draw: random.Random) -> tuple[str, bytes]:
    """A line of JSON with something that no text is, among good ones."""
    value = draw.choice([each for each in odd.VALUES if each != 10**400])
    line = draw.choice(
        (
            json.dumps({"text": value}),
            json.dumps({"text": "a", "label": value}),
            json.dumps({"text": "a", "more": value}),
            json.dumps(value),
            odd.nested(draw),
            '{"text": "a", "text": "b"}',
            '{"text": ' + "9" * 5000 + "}",
        )
    ).encode()
    lines = [_LINE.strip()] * draw.randrange(0, 50)
    lines.insert(draw.randrange(len(lines) + 1), line)
    return "odd.jsonl", draw.choice((b"\n", b"\r\n", b"\r", b"\x0b", b"\n\n\n")).join(lines)


def _odd_columns(draw: random.Random) -> tuple[str, bytes]:
    head = draw.choice(
        ("label\ttext", "text\tlabel", "label", "", "\t\t\t", "label\ttext\tmore", "label\tlabel", "\ufeff")
    )
    rows = ["\t".join(odd.text(draw, 60) for _ in range(draw.choice((0, 1, 2, 2, 2, 3, 500)))) for _ in range(30)]
    return "odd.tsv", "\n".join([head, *rows]).encode("utf-8", "surrogatepass")


def _many_labels(draw: random.Random) -> tuple[str, bytes]:
    num = draw.choice((1, 2, 1000, 60_000))
    rows = "".join(f"{'l' * draw.choice((1, 100))}{number}\ttext {number}\n" for number in range(num))
    return "labels.tsv", b"label\ttext\n" + rows.encode()


def _hostile_name(draw: random.Random) -> tuple[str, bytes]:
    name = draw.choice(
        (
            *("../../../etc/cron.d/x.txt", "..", ".", "", "x" * 5000 + ".txt", "a\x00b.txt", "C:\\x\\y.txt", ".txt"),
            *(
                "a.txt/",
                "\u202etxt.exe",
                "con.txt",
                "-rf.txt",
                "$(id).txt",
                "a\x1b[2Jb.txt",
                "a.txt.xz.xz",
                "\u0301.txt",
            ),
            *("%2e%2e%2fx.txt", "a.TXT", "a.jsonl;b.txt", "a'b.txt", "\U0001f600" * 70 + ".txt"),
        )
    )
    return name, b"the food was great\nthe staff was rude\n"


def _nothing_in_it(draw: random.Random) -> tuple[str, bytes]:
    return draw.choice(("a.txt", "a.jsonl", "a.tsv")), draw.choice((b"", b"\n", b" " * MIB, b"\r\n" * 200_000, b"\x00"))


CONTENTS: tuple[Content, ...] = (
    *(_xz_bomb, _broken_xz, _packed_otherwise, _long_line, _many_texts_of_one_piece, _in_another_encoding),
    *(_random_bytes, _odd_lines, _odd_columns, _many_labels, _hostile_name, _nothing_in_it),
)


def _hostile_form(draw: random.Random) -> tuple[str, bytes]:
    """What is no form, or one that nobody writes."""
    good = file_part(b"a.txt", b"the food\nthe staff\n")
    whole = form([PURPOSE, good])
    disposition = b'Content-Disposition: form-data; name="file"; filename="a.txt"'
    return draw.choice(
        (
            ("a form that ends nowhere", whole[: draw.randrange(len(whole))]),
            ("two files", form([PURPOSE, good, good])),
            ("two purposes", form([PURPOSE, PURPOSE, good])),
            ("no file", form([PURPOSE])),
            ("no purpose", form([good])),
            ("the file first", form([good, PURPOSE])),
            ("another field", form([PURPOSE, (b'Content-Disposition: form-data; name="x"', b"y"), good])),
            ("a thousand fields", form([(b'Content-Disposition: form-data; name="x"', b"y")] * 1000 + [good])),
            ("a purpose of megabytes", form([(PURPOSE[0], b"a" * 3 * MIB), good])),
            ("headers without end", form([(b"x: " + b"y" * 100_000, b""), good])),
            ("many headers", form([(b"\r\n".join([b"x: y"] * 5000), b""), good])),
            ("no headers", form([(b"", b"x"), good])),
            ("no name", form([PURPOSE, (b"Content-Disposition: form-data", b"x")])),
            ("a file without a name", form([PURPOSE, (b'Content-Disposition: form-data; name="file"', b"x")])),
            ("base64", form([PURPOSE, (disposition + b"\r\nContent-Transfer-Encoding: base64", b"AAAA")])),
            (
                "a name in another spelling",
                form([PURPOSE, (disposition + b"; filename*=utf-8''%ff%00.txt", b"x\ny\n")]),
            ),
            (
                "another purpose",
                form([(PURPOSE[0], draw.choice((b"", b"\xff", b"assistants", b"fine-tune\x00"))), good]),
            ),
            ("nothing", b""),
            ("only an end", b"--x--\r\n"),
            ("boundaries and nothing else", b"--x\r\n" * 20_000),
            ("random bytes", draw.randbytes(10_000)),
            ("something behind the end", whole + draw.randbytes(1000)),
        )
    )


UPLOADS = Kind(name="uploads", told="hostile uploads", tries=tries, num_tries=110, most_mib=300)
