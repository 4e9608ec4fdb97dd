"""A store of files for tests: the volume is real, whoever uses files and counts tokens are stand-ins."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adavae.service.jobs.data.file_store import FileStore
from adavae.service.jobs.data.token_counter import TokenCounter
from adavae.service.jobs.owned import OwnedFiles
from adavae.service.jobs.protocol import JobOperations
from adavae.service.jobs.records.caller import Caller
from adavae.service.jobs.records.job import StoredFile
from adavae.service.main import create_app
from adavae.service.settings import Settings
from tests.tiny_text import tiny_tokenizer
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

MAX_TOKENS = 20
TEXTS = b"the food was great\nthe staff was rude\n"
LABELLED = b'{"text": "the food was great", "label": "yes"}\n{"text": "the staff was rude", "label": "no"}\n'
TRAINABLE = LABELLED + b'{"text": "my room was clean", "label": "yes"}\n'
"""With a text to spare for validation."""


def count_with_tiny_tokenizer(_settings: Settings) -> TokenCounter:
    return TokenCounter(tiny_tokenizer(), MAX_TOKENS)


@dataclass(slots=True)
class Users:
    """Jobs by the file that they use."""

    jobs: dict[str, list[str]] = field(default_factory=dict)

    def users_of(self, file_id: str) -> Sequence[str]:
        return self.jobs.get(file_id, [])


@dataclass(slots=True)
class CallersFiles:
    """``CallersTraining`` without jobs."""

    files: OwnedFiles

    @property
    def jobs(self) -> JobOperations:
        raise NotImplementedError


class FileHome:
    """Everything below one directory, and ``TrainingOperations`` over it that have files only."""

    def __init__(self, root: Path, **fields: Any) -> None:
        self.settings = stub_settings(data=root / "data", **fields)
        self.users = Users()
        self.store = FileStore(self.settings, self.users, count_with_tiny_tokenizer)

    def seen_by(self, caller: Caller) -> "CallersFiles":
        return CallersFiles(OwnedFiles(self.store, caller))

    def end_watching(self) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def left(self) -> list[str]:
        """Names of everything in the directory, but for the lock."""
        root = self.settings.files
        return sorted(path.name for path in root.iterdir() if path.name != ".lock") if root.is_dir() else []

    async def stored(self, content: bytes = TEXTS, name: str = "texts.txt") -> StoredFile:
        return await self.store.create(name, "fine-tune", in_pieces(content))

    @contextlib.contextmanager
    def client(self) -> Iterator[TestClient]:
        app = create_app(self.settings, StubLatentService(), training=self)
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=True) as client:
            yield client


async def in_pieces(content: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.fixture
def home(tmp_path: Path) -> FileHome:
    return FileHome(tmp_path)
