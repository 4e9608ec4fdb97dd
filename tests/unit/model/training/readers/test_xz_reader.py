"""xz read in bounded memory: whole, padded, joined, broken, and asking for gigabytes."""

import lzma
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adavae.model.training.readers.xz_reader import open_xz

LINES = b"".join(b"line number %d\n" % number for number in range(50_000))
_DICTIONARY = {"1.5 GiB": 37, "4 GiB - 1": 40}


def read(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    with open_xz(path.open("rb")) as file:
        return b"".join(iter(lambda: file.readline(1000), b""))


def asking_for(dictionary: int) -> bytes:
    """A good file whose header asks for that much memory."""
    packed = bytearray(lzma.compress(b"a\nb\n"))
    size = 4 * (packed[12] + 1)
    assert packed[14:16] == b"\x21\x01"  # LZMA2, one byte of properties
    packed[16] = dictionary
    packed[12 + size - 4 : 12 + size] = zlib.crc32(packed[12 : 12 + size - 4]).to_bytes(4, "little")
    return bytes(packed)


@pytest.mark.parametrize("preset", [0, 6, 9, 9 | lzma.PRESET_EXTREME])
def test_what_was_packed_is_read(tmp_path: Path, preset: int) -> None:
    assert read(tmp_path / "a.xz", lzma.compress(LINES, preset=preset)) == LINES


def test_streams_behind_each_other_are_one_file(tmp_path: Path) -> None:
    packed = lzma.compress(LINES)
    assert read(tmp_path / "a.xz", packed + b"\0" * 8 + packed + packed + b"\0" * 200_000) == LINES * 3
    assert read(tmp_path / "b.xz", lzma.compress(b"")) == b""


@pytest.mark.parametrize("dictionary", _DICTIONARY.values(), ids=_DICTIONARY)
def test_a_header_that_asks_for_gigabytes_is_refused(tmp_path: Path, dictionary: int) -> None:
    with pytest.raises(lzma.LZMAError, match="Memory usage limit"):
        read(tmp_path / "a.xz", asking_for(dictionary))
    with pytest.raises(lzma.LZMAError, match="Memory usage limit"):
        read(tmp_path / "b.xz", lzma.compress(LINES) + asking_for(dictionary))


@pytest.mark.parametrize(
    "content",
    [b"", lzma.compress(LINES)[:-1], lzma.compress(LINES)[:100], lzma.compress(LINES) + b"garbage!", b"\xfd7zXZ\0"],
    ids=["nothing", "a byte is missing", "cut", "garbage behind", "a mark"],
)
def test_what_is_not_whole_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises((lzma.LZMAError, EOFError)):
        read(tmp_path / "a.xz", content)


@settings(deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_or_no_harm(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    packed = bytearray(lzma.compress(LINES[:20_000]))
    packed[place % len(packed)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.xz"
    try:
        assert read(path, bytes(packed)) == LINES[:20_000]
    except (lzma.LZMAError, EOFError):
        return
