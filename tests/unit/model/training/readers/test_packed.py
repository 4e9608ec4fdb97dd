"""Compressed files: bounded, and refused where they are not what their name says."""

import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.readers import packed
from adavae.model.training.readers.bounds import MIB, Bounds
from adavae.model.training.readers.packed import chunks


def _zstd(content: bytes) -> bytes:
    result: bytes = pytest.importorskip("backports.zstd").compress(content)
    return result


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress, "zst": _zstd}
TOOLS = {"gz": "gzip", "xz": "xz", "zst": "zstd"}


def _read(path: Path, content: bytes, **bounds: int) -> bytes:
    path.write_bytes(content)
    return b"".join(chunks(path, Bounds(**bounds)))


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_bomb_is_given_up_at_the_limit(tmp_path: Path, kind: str) -> None:
    bomb = COMPRESS[kind](bytes(32 * MIB))
    assert len(bomb) < 100_000
    path = tmp_path / f"a.txt.{kind}"
    path.write_bytes(bomb)
    taken = 0
    with pytest.raises(DatasetError, match="holds more than 1,048,576 bytes"):
        for chunk in chunks(path, Bounds(max_bytes=MIB)):
            taken += len(chunk)
    assert taken <= MIB


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_damaged_file_is_reported(tmp_path: Path, kind: str) -> None:
    whole = COMPRESS[kind](b"some words\n" * 99)
    for content in (whole[:-5], whole[: len(whole) // 2], whole[:20] + b"\xff" * 40):
        with pytest.raises(DatasetError, match=rf"a\.txt\.{kind}: cannot be decompressed .*again with {TOOLS[kind]}"):
            _read(tmp_path / f"a.txt.{kind}", content)


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_wrong_name_is_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DatasetError, match=rf"is not compressed with {TOOLS[kind]}: compress it, or take \.{kind} off"):
        _read(tmp_path / f"a.txt.{kind}", b"plain\n")
    with pytest.raises(DatasetError, match=rf"is compressed with {TOOLS[kind]} and not named \.{kind}"):
        _read(tmp_path / "a.txt", COMPRESS[kind](b"plain\n"))


def test_without_its_package_zstd_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_ZSTD", "a_package_that_is_not_there")
    with pytest.raises(DatasetError, match=r"pip install 'adavae\[zstd\]'"):
        _read(tmp_path / "a.txt.zst", b"\x28\xb5\x2f\xfd....")
    assert "a_package_that_is_not_there" not in sys.modules


def test_a_zstd_header_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    options = {zstd.CompressionParameter.window_log: 30, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    content = compressor.compress(b"word " * 99) + compressor.flush()
    with pytest.raises(DatasetError, match=r"takes more than 128 MiB of memory to decompress"):
        _read(tmp_path / "a.txt.zst", content)
