"""Decompressed xz as it is read, in bounded memory: a file's header may ask its reader for gigabytes."""

import io
import lzma
from typing import IO

MAX_MEMORY = 128 * 1024**2
"""More than `xz -9` needs (65 MiB), less than a header can ask for (4 GiB)."""

_CHUNK_BYTES = 64 * 1024


class XzReader(io.RawIOBase):
    """One or more streams in a file, one behind the other; anything else behind them is an error.

    Raises:
        lzma.LZMAError: While it is read: damaged, or more than ``MAX_MEMORY`` is needed.
        EOFError: While it is read: it breaks off.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._decoder = _decoder()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # what BufferedReader gives
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read(self, size: int) -> bytes:
        """Some bytes; none at the end."""
        while True:
            if self._decoder.eof:
                rest = (self._decoder.unused_data or self._file.read(_CHUNK_BYTES)).lstrip(b"\0")  # padding
                while not rest and (more := self._file.read(_CHUNK_BYTES)):
                    rest = more.lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = _decoder()
            else:
                rest = self._file.read(_CHUNK_BYTES) if self._decoder.needs_input else b""
                if self._decoder.needs_input and not rest:
                    raise EOFError("it ends before its end was reached")
            if data := self._decoder.decompress(rest, size):
                return data


def open_xz(file: IO[bytes]) -> IO[bytes]:
    """What is packed in ``file``, which is closed with it, to be read line by line; raises as ``XzReader`` does."""
    return io.BufferedReader(XzReader(file), _CHUNK_BYTES)


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY)
