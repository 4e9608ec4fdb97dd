"""The bytes of a data file, decompressed as they are read, never more of them than is allowed."""

import gzip
import importlib
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import MIB, Bounds
from adavae.model.training.readers.xz_reader import MAX_MEMORY, open_xz

PACKINGS = (".gz", ".xz", ".zst")
_CHUNK_BYTES = 32 * 1024
_MARK_BYTES = 8  # as many as the longest mark below, and more
_ZSTD_WINDOW = 27  # 2**27 bytes are 128 MiB, as much as xz may take
_MARKS = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
_BROKEN: tuple[type[Exception], ...] = (lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile)
_TOOLS = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it, or save the spreadsheet as CSV",
    b"BZh": "compressed with bzip2: unpack it, or compress it with xz",
    b"PAR1": "a parquet file: name it .parquet",
}


def split_ending(path: Path) -> tuple[str, str]:
    """The endings that say what is in a file and how it is packed, small; the second is empty where it is not."""
    name = path.name.lower()
    packing = next((ending for ending in PACKINGS if name.endswith(ending)), "")
    return Path(name.removesuffix(packing)).suffix, packing


def has_columns(path: Path) -> bool:
    """Whether a data file has columns that can be named: plain text has none."""
    return split_ending(path)[0] != ".txt"


def chunks(path: Path, bounds: Bounds) -> Iterator[bytes]:
    """The content, some of it at a time.

    Raises:
        DatasetError: It cannot be read or decompressed, is packed otherwise than its name says, or is too large.
    """
    _, packing = split_ending(path)
    num_bytes = 0
    try:
        with _opened(path, packing) as packed, _unpacked(path, packed, packing) as file:
            while chunk := file.read(_CHUNK_BYTES):
                num_bytes += len(chunk)
                if num_bytes > bounds.max_bytes:
                    raise DatasetError(f"{path}: {bounds.too_large()}")
                yield chunk
    except _BROKEN + _zstd_errors() as exc:
        raise DatasetError(f"{path}: {_broken(exc, _TOOLS[packing])}") from exc
    except FileNotFoundError as exc:
        raise DatasetError(f"{path}: there is no such file: check the path") from exc
    except OSError as exc:
        raise DatasetError(f"{path}: cannot be read ({exc}): check its permissions") from exc


def _opened(path: Path, packing: str) -> IO[bytes]:
    """The bytes as they are stored; opened once and read forwards only, since a path may name a pipe.

    Raises:
        DatasetError: Their first ones say that they are packed otherwise than ``packing``.
    """
    if path.is_dir():
        raise DatasetError(f"{path}: is a directory, name a file")
    file = path.open("rb", buffering=0)
    try:
        start = b""
        while len(start) < _MARK_BYTES and (more := file.read(_MARK_BYTES - len(start))):
            start += more
        _check_packing(path, start, packing)
    except BaseException:
        file.close()
        raise
    return io.BufferedReader(_PutBack(start, file), _CHUNK_BYTES)


class _PutBack(io.RawIOBase):
    """A stream whose first bytes were taken off it to be looked at."""

    def __init__(self, start: bytes, file: io.FileIO) -> None:
        super().__init__()
        self._start, self._file = start, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int | None:  # type: ignore[override]  # what BufferedReader gives
        if not self._start:
            return self._file.readinto(buffer)
        given = self._start[: len(buffer)]
        buffer[: len(given)] = given
        self._start = self._start[len(given) :]
        return len(given)

    def close(self) -> None:
        self._file.close()
        super().close()


def _check_packing(path: Path, start: bytes, packing: str) -> None:
    """Names the usual mistakes, which would otherwise be told as broken text."""
    found = next((kind for mark, kind in _MARKS.items() if start.startswith(mark)), "")
    if packing and found != packing:
        tool = _TOOLS[packing]
        raise DatasetError(f"{path}: is not compressed with {tool}: compress it, or take {packing} off its name")
    if found and not packing:
        raise DatasetError(f"{path}: is compressed with {_TOOLS[found]} and not named {found}: add that to its name")
    for mark, what in _OTHERS.items():
        if start.startswith(mark) and not packing and path.suffix.lower() != ".parquet":
            raise DatasetError(f"{path}: is {what}")


def _unpacked(path: Path, packed: IO[bytes], packing: str) -> IO[bytes]:
    if packing == ".xz":
        return open_xz(packed)
    if packing == ".gz":
        return io.BufferedReader(gzip.GzipFile(fileobj=packed), _CHUNK_BYTES)
    if packing == ".zst":
        zstd = _zstd(path)
        file: IO[bytes] = zstd.open(packed, options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})
        return file
    return packed


_ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def _zstd(path: Path) -> Any:
    """The module; of the standard library from Python 3.14 on."""
    try:
        return importlib.import_module(_ZSTD)
    except ModuleNotFoundError as exc:
        raise DatasetError(
            f"{path}: reading .zst takes the package backports.zstd: pip install 'adavae[zstd]', or compress it with xz"
        ) from exc


def _zstd_errors() -> tuple[type[Exception], ...]:
    """What the module raises, if it was ever loaded."""
    loaded = sys.modules.get(_ZSTD)
    return () if loaded is None else (loaded.ZstdError,)


def _broken(exc: Exception, tool: str) -> str:
    told = str(exc)
    if "Memory usage limit" in told or "Frame requires too much memory" in told:
        return f"takes more than {MAX_MEMORY // MIB} MiB of memory to decompress: compress it again with {tool} -9"
    return f"cannot be decompressed ({told}): compress it again with {tool}"
