"""What is sent as it is read: a file, or several as one ``.tar.gz``, no more than a piece of it in memory."""

import io
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PIECE_BYTES = 128 * 1024
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Download:
    """``num_bytes`` is None where it is known only at the end.

    The files are open from the start: what is deleted meanwhile is sent to its end. It must be closed.
    """

    pieces: Iterator[bytes]
    num_bytes: int | None
    files: ExitStack

    def close(self) -> None:
        self.files.close()


def download_of(content: bytes) -> Download:
    """Content that is in memory already."""
    return Download(_pieces(io.BytesIO(content)), len(content), ExitStack())


def download_file(file: BinaryIO) -> Download:
    """One file as it is, which is closed with the download."""
    files = ExitStack()
    files.enter_context(file)
    return Download(_pieces(file), os.fstat(file.fileno()).st_size, files)


def download_archive(members: Mapping[str, Path]) -> Download:
    """Files by their names within the archive; raises OSError."""
    with ExitStack() as files:
        opened = {name: files.enter_context(path.open("rb")) for name, path in members.items()}
        return Download(_gzipped(opened), None, files.pop_all())


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _gzipped(opened: Mapping[str, BinaryIO]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=_GZIP)
    for piece in _tar(opened):
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _tar(opened: Mapping[str, BinaryIO]) -> Iterator[bytes]:
    for name, file in opened.items():
        status = os.fstat(file.fileno())
        member = tarfile.TarInfo(name)
        member.size, member.mtime = status.st_size, int(status.st_mtime)
        yield member.tobuf()
        num_bytes = 0
        for piece in _pieces(file):
            num_bytes += len(piece)
            yield piece
        if num_bytes != status.st_size:
            raise OSError(f"{name} had {status.st_size} bytes and then {num_bytes}")
        yield bytes(-num_bytes % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
