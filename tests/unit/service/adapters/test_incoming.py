"""Archives of sets as they come."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adavae.service.adapters.incoming import received


async def one(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.mark.asyncio
async def test_what_a_killed_process_left_of_an_import_goes_after_a_day(tmp_path: Path) -> None:
    for name, age_s in ((".staging-old", 25 * 3600), (".staging-new", 23 * 3600), ("demo", 25 * 3600)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "the-archive").write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    async with received(one(b"content"), tmp_path, 100) as archive:
        assert archive.read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".staging-new", "demo"]
