"""An upload as it comes in: its name, judged before anything is read, and its bytes, counted and written in blocks."""

import hashlib
import re
from pathlib import Path

from adavae.service.errors import InvalidRequest, ServiceError
from adavae.service.jobs.data.parquet_conversion import reads_parquet

PURPOSE = "fine-tune"
PARQUET = ".parquet"
MAX_NAME_CHARACTERS = 255

_ENDING = re.compile(r"\.(csv|tsv|txt|jsonl|json)(\.(gz|xz|zst))?\Z|\.parquet\Z")
_BLOCK_BYTES = 1024**2


def checked_name(filename: str) -> str:
    """The name of the client's file without its folders.

    Raises:
        InvalidRequest: It is empty, too long, cannot be shown, or does not say what kind of data this is.
    """
    name = re.split(r"[/\\]", filename)[-1]
    problem = None
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        problem = f"the file's name has {len(name)} characters, must have 1 to {MAX_NAME_CHARACTERS}: rename it"
    elif not name.isprintable():
        problem = f"the file's name is {name[:100]!r}, with characters that cannot be shown: rename it"
    elif name.lower().endswith(PARQUET) and not reads_parquet():
        problem = (
            f"the file's name is {name[:100]!r}, and this service has no pyarrow to read parquet with: send it as "
            ".jsonl, which `df.to_json(path, orient='records', lines=True)` writes"
        )
    elif not ending_of(name):
        problem = (
            f"the file's name is {name[:100]!r}, must end in .csv, .tsv, .txt, .jsonl or .json, also with .gz, .xz or "
            ".zst, or in .parquet: the ending says how the file is read"
        )
    if problem is not None:
        raise InvalidRequest(problem, param="file", code="invalid_filename")
    return name


def ending_of(name: str) -> str:
    """The ending that the content is stored and read with; empty where ``name`` has another."""
    found = _ENDING.search(name.lower())
    return found[0] if found else ""


class Received:
    """Counts pieces and digests them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.num_bytes, self.digest = 0, hashlib.sha256()

    def take(self, piece: bytes) -> None:
        """Raises ServiceError (413) where there are too many bytes by now."""
        self._count(piece)
        self.digest.update(piece)

    def _count(self, piece: bytes) -> None:
        self.num_bytes += len(piece)
        if self.num_bytes > self._max_bytes:
            raise ServiceError(
                413,
                "file_too_large",
                f"the file has more than {self._max_bytes} bytes, which is the limit (ADAVAE_MAX_UPLOAD_BYTES): split "
                "it, or compress it with xz",
                param="file",
            )


class Upload(Received):
    """Collects them into blocks that are worth a write, too."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._path, self._block = path, bytearray()

    def take(self, piece: bytes) -> None:
        self._block += piece
        self._count(piece)

    @property
    def has_block(self) -> bool:
        return len(self._block) >= _BLOCK_BYTES

    def write(self) -> None:
        """Writes what was taken since the last time; waits for the disk."""
        with self._path.open("ab") as file:
            file.write(self._block)
        self.digest.update(self._block)
        self._block.clear()
