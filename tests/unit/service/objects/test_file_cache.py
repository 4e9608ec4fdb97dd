"""Fetched files: verified, put in place whole, and within their budget."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from adavae.model.errors import WeightsCorrupted
from adavae.service.objects.file_cache import FileCache, Wanted
from tests.unit.service.objects.memory_objects import Bucket, needs_obstore

pytestmark = needs_obstore


class Home:
    def __init__(self, root: Path, max_bytes: int = 1000) -> None:
        self.root, self.bucket = root, Bucket()
        self.cache = FileCache(self.bucket.opened(), root, max_bytes, frozenset(("kept",)))

    def put(self, name: str, num_bytes: int = 400) -> Wanted:
        content = name.encode() * num_bytes
        self.bucket.plant(name, content[:num_bytes])
        return Wanted(name, self.root / "d" / name, num_bytes, hashlib.sha256(content[:num_bytes]).hexdigest())

    def here(self) -> list[str]:
        return sorted(path.name for path in self.root.rglob("*") if path.is_file())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_what_is_here_undamaged_is_not_fetched_again(home: Home) -> None:
    wanted = home.put("a")
    home.cache.fetch([wanted])
    home.bucket.opened().delete(["a"])
    home.cache.fetch([wanted])
    assert wanted.path.read_bytes() == b"a" * 400


def test_what_is_damaged_here_is_fetched_again(home: Home) -> None:
    wanted = home.put("a")
    home.cache.fetch([wanted])
    wanted.path.write_bytes(b"b" * 400)
    home.cache.fetch([wanted])
    assert wanted.path.read_bytes() == b"a" * 400


@pytest.mark.parametrize("there", [b"b" * 400, b"a" * 399, b"a" * 401, b""])
def test_another_file_in_the_store_is_refused_and_nothing_stays(home: Home, there: bytes) -> None:
    wanted = home.put("a")
    home.bucket.plant("a", there)
    with pytest.raises(WeightsCorrupted, match="a is damaged"):
        home.cache.fetch([wanted])
    assert home.here() == []


def test_the_least_recently_used_go_first(home: Home) -> None:
    first, second, third = (home.put(name) for name in "abc")
    for age, each in enumerate((first, second)):
        home.cache.fetch([each])
        os.utime(each.path, (age, age))
    home.cache.fetch([first])
    home.cache.fetch([third])
    assert home.here() == ["a", "c"]


def test_what_is_used_together_stays_together_however_little_room_there_is(tmp_path: Path) -> None:
    home = Home(tmp_path, max_bytes=10)
    home.cache.fetch([home.put("a"), home.put("b")])
    assert home.here() == ["a", "b"]


def test_small_files_and_those_being_written_stay(home: Home) -> None:
    (home.root / ".staging-1").mkdir()
    (home.root / ".staging-1" / "new").write_bytes(b"x" * 900)
    (home.root / "kept").write_bytes(b"x" * 900)
    home.cache.fetch([home.put("a"), home.put("b")])
    home.cache.fetch([home.put("c", 900)])
    assert home.here() == ["c", "kept", "new"]


def test_what_a_killed_process_left_half_written_goes_after_a_day(home: Home) -> None:
    home.cache.fetch([home.put("a")])
    for name, age_s in (("old", 25 * 3600), ("new", 23 * 3600)):
        path = home.root / "d" / f".writing-{name}"
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age_s,) * 2)
    home.cache.fetch([home.put("b")])
    assert home.here() == [".writing-new", "a", "b"]
