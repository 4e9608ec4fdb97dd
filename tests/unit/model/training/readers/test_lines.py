"""Lines, whatever their ends and their encoding."""

from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.lines import lines


def _lines(directory: Path, content: bytes, **bounds: int) -> list[tuple[int, str]]:
    path = directory / "a.txt"
    path.write_bytes(content)
    return list(lines(path, Bounds(**bounds)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-marked"])
def test_every_line_end_and_mark_is_taken(tmp_path: Path, encoding: str) -> None:
    text = "one\rtwo\r\n\nthr\u00e9e\u2028x\n\rlast"
    content = b"\xfe\xff" + text.encode("utf-16-be") if encoding.endswith("marked") else text.encode(encoding)
    wanted = [(1, "one"), (2, "two"), (3, ""), (4, "thr\u00e9e\u2028x"), (5, ""), (6, "last")]
    assert _lines(tmp_path, content) == wanted


def test_line_ends_lie_across_the_pieces_that_are_read(tmp_path: Path) -> None:
    for shift in range(4):
        content = b"x" * shift + b"caf\xc3\xa9\r\n" * 30_000
        read = _lines(tmp_path, content)
        assert len(read) == 30_000
        assert {line for _, line in read[1:]} == {"caf\u00e9"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"fine\rna\xefve\n",
            r"a\.txt:2: is not UTF-8 \(byte 0xef\): convert .*`iconv -f WINDOWS-1252 -t UTF-8 .*a\.txt",
        ),
        (b"fine\n" * 20_000 + b"\xe9", r"a\.txt:20001: is not UTF-8"),
        (b"fine\ncut \xc3", r"a\.txt:2: is not UTF-8 \(byte 0xc3\)"),
        (b"\xff\xfea\0\n\0\0\xd8a\0", r"a\.txt:2: is not UTF-16"),
        ("a\nb\n".encode("utf-16-le"), r"a\.txt:1: holds a NUL .*`iconv -f UTF-16LE -t UTF-8 .*a\.txt"),
        ("a\nb\n".encode("utf-32"), r"a\.txt:1: is UTF-32: convert .*`iconv -f UTF-32 -t UTF-8 .*a\.txt"),
        (b"\0\0\xfe\xff" + "a\nb\n".encode("utf-32-be"), r"a\.txt:1: is UTF-32"),
    ],
)
def test_other_encodings_are_refused_by_line_with_a_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        _lines(tmp_path, content)


def test_lines_and_their_length_are_bounded(tmp_path: Path) -> None:
    assert len(_lines(tmp_path, "\u00e9\u00e9\na\n".encode(), max_line_bytes=4, max_lines=2)) == 2
    with pytest.raises(DatasetError, match=r"a\.txt:1: is longer than 3 bytes"):
        _lines(tmp_path, "\u00e9\u00e9\na\n".encode(), max_line_bytes=3)
    with pytest.raises(DatasetError, match=r"a\.txt:2: is longer than 1,000 bytes"):
        _lines(tmp_path, b"ok\n" + b"a" * 200_000, max_line_bytes=1000)
    with pytest.raises(DatasetError, match="more than 1 lines"):
        _lines(tmp_path, b"a\nb\n", max_lines=1)
