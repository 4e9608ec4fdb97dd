"""Which version is current is decided by the order of publication, whatever clocks say."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.manifest import MANIFEST, TENSORS
from adavae.model.storage.publication import PUBLICATION, claim_number, number_of
from tests.tiny_sets import publish

DATES = {
    "set back by a year": "2025-01-02T03:04:05+00:00",
    "set back by a second": "2026-01-02T03:04:04+00:00",
    "the same": "2026-01-02T03:04:05+00:00",
    "set forward by a thousand years": "3026-01-02T03:04:05+00:00",
    "another zone": "2026-01-02T03:04:05+23:00",
    "no zone": "2026-01-02T03:04:05",
    "the first day": "0001-01-01T00:00:00+23:59",
    "the last day": "9999-12-31T23:59:59-23:59",
}


def current(root: Path, name: str = "demo") -> str:
    return AdapterStore(root).resolve(name).version


def without_number(path: Path) -> Path:
    """As a set of before there were numbers."""
    (path / PUBLICATION).unlink()
    return path


@pytest.mark.parametrize("date", DATES.values(), ids=DATES.keys())
@pytest.mark.parametrize("mtime", [0, 2**32])
def test_what_is_published_last_is_current_whatever_the_clock_says(tmp_path: Path, date: str, mtime: int) -> None:
    """With the clock set back, a newly trained version was not."""
    for number in range(4):
        path = publish(tmp_path, created_at=date, metrics={"au": number})
        for file in path.iterdir():
            os.utime(file, (mtime, mtime - number))
        assert current(tmp_path) == path.name
    publish(tmp_path, name="other")
    assert current(tmp_path) == path.name


def test_sets_of_before_there_were_numbers_come_first_in_the_order_of_their_dates(tmp_path: Path) -> None:
    dates = ["2026-05-01T00:00:00+02:00", "2026-04-30T23:00:00+00:00", "2026-05-01T00:00:00+00:00", "9999-01-01"]
    paths = [without_number(publish(tmp_path, created_at=date)) for date in dates]
    assert [each.version for each in AdapterStore(tmp_path).list()] == [
        paths[3].name,
        paths[2].name,
        paths[1].name,
        paths[0].name,
    ]
    numbered = publish(tmp_path, created_at="1999-01-01T00:00:00+00:00")
    assert current(tmp_path) == numbered.name


def test_of_old_sets_of_the_same_second_the_one_written_later_is_current(tmp_path: Path) -> None:
    paths = [without_number(publish(tmp_path, metrics={"au": number})) for number in range(3)]
    for seconds, path in zip((30, 20, 10), paths, strict=True):
        os.utime(path / MANIFEST, (seconds, seconds))
    assert current(tmp_path) == paths[0].name


def test_what_is_imported_is_published_and_a_repair_is_not(tmp_path: Path) -> None:
    elsewhere = AdapterStore(tmp_path / "elsewhere")
    archive = elsewhere.export_set(f"demo@{publish(elsewhere.root).name}", tmp_path / "demo.tar.gz")
    store = AdapterStore(tmp_path / "own")
    trained = publish(store.root, created_at="2027-01-01T00:00:00+00:00")
    imported = store.import_set(archive)
    assert current(store.root) == imported.version
    newest = publish(store.root, created_at="2020-01-01T00:00:00+00:00")
    (imported.path / TENSORS).write_bytes(b"damaged")
    before = number_of(imported.path)
    store.import_set(archive)
    assert number_of(imported.path) == before
    assert current(store.root) == newest.name
    assert [each.version for each in store.list()] == [newest.name, imported.version, trained.name]


def test_a_number_is_given_once_among_threads(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        numbers = list(threads.map(lambda _: claim_number(tmp_path, "demo"), range(400)))
    assert len(set(numbers)) == len(numbers)
    assert claim_number(tmp_path, "demo") > max(numbers)


def test_a_number_is_given_once_among_processes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from adavae.model.storage.publication import claim_number; "
        f"print(*(claim_number(Path({str(tmp_path)!r}), 'demo') for _ in range(100)))"
    )
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    numbers = [int(word) for each in running for word in each.communicate(timeout=120)[0].split()]
    assert len(numbers) == len(set(numbers)) == 400


def test_numbers_do_not_fill_the_disk_and_are_not_given_again(tmp_path: Path) -> None:
    first = publish(tmp_path)
    last = [claim_number(tmp_path, "demo") for _ in range(300)][-1]
    assert len(list((tmp_path / ".publications").iterdir())) < 100
    shutil.rmtree(first)
    assert claim_number(tmp_path, "demo") == last + 1
    assert claim_number(tmp_path, "other") == last + 2


def test_a_publisher_that_is_frozen_with_its_number_holds_up_nobody(tmp_path: Path) -> None:
    claimed = claim_number(tmp_path, "demo")  # and goes no further
    path = publish(tmp_path)
    assert number_of(path) == claimed + 1


def test_a_store_that_was_copied_without_its_claims_goes_on_counting(tmp_path: Path) -> None:
    for _ in range(5):
        claim_number(tmp_path, "demo")
    copied = publish(tmp_path, metrics={"au": 1})
    shutil.rmtree(tmp_path / ".publications")
    assert number_of(publish(tmp_path, metrics={"au": 2})) == number_of(copied) + 1


SPOILT: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "words": lambda path: path.write_bytes(b"last\n"),
    "below zero": lambda path: path.write_bytes(b"-5\n"),
    "a fraction": lambda path: path.write_bytes(b"1e9\n"),
    "other digits": lambda path: path.write_text("\u0665\n", encoding="utf-8"),
    "without end": lambda path: path.write_bytes(b"9" * 5000),
    "sixteen digits": lambda path: path.write_bytes(b"9" * 16),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "sparse": lambda path: os.truncate(path, 2**33),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_bad_number_makes_an_old_set_and_no_trouble(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoilt = publish(tmp_path, created_at="2027-01-01T00:00:00+00:00")
    other = publish(tmp_path)
    spoil(spoilt / PUBLICATION)
    assert number_of(spoilt) == 0
    assert current(tmp_path) == other.name
    newest = publish(tmp_path, metrics={"au": 3})
    assert current(tmp_path) == newest.name


def test_the_number_is_no_part_of_the_set(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path / "own")
    path = publish(store.root)
    archive = store.export_set("demo", tmp_path / "demo.tar.gz")
    (path / PUBLICATION).write_bytes(b"7\n")
    assert store.verify("demo")[0][1] is None
    other = AdapterStore(tmp_path / "other")
    publish(other.root, metrics={"au": 1})
    assert number_of(other.import_set(archive).path) == 2
    assert number_of(AdapterStore(tmp_path / "third").import_set(path).path) == 1
