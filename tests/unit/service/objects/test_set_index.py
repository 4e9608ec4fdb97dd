"""The index of adapter sets: one record, changed under a condition, trusted no more than any other."""

import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from adavae.model.errors import AdapterSetNotFound
from adavae.service.jobs.records.job_errors import ClaimLost
from adavae.service.objects.errors import StoreError
from adavae.service.objects.set_index import SetIndex, Sets
from tests.unit.service.objects.memory_objects import Bucket, needs_obstore

pytestmark = needs_obstore
ONE, TWO = ("reviews", "0123456789ab"), ("reviews", "ba9876543210")


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def index(bucket: Bucket) -> SetIndex:
    return SetIndex(bucket.opened())


def test_an_empty_store_has_no_sets(index: SetIndex) -> None:
    assert index.current() == Sets()


def test_numbers_grow_as_sets_are_published_by_anybody(bucket: Bucket, index: SetIndex) -> None:
    assert index.add(ONE) == 1
    assert SetIndex(bucket.opened()).add(TWO) == 2
    assert index.current().numbers == {ONE: 1, TWO: 2}
    assert index.current().of_name("reviews") == {ONE[1], TWO[1]}


def test_a_set_that_is_there_keeps_its_number(index: SetIndex) -> None:
    assert (index.add(ONE), index.add(TWO), index.add(ONE)) == (1, 2, 1)


def test_what_was_removed_comes_back_as_the_newest(index: SetIndex) -> None:
    index.add(ONE)
    index.add(TWO)
    index.remove(ONE)
    assert index.current().numbers == {TWO: 2}
    assert index.add(ONE) > 2
    with pytest.raises(AdapterSetNotFound):
        index.remove(("reviews", "000000000000"))


def test_a_name_is_its_first_publishers_for_as_long_as_there_is_a_version(index: SetIndex) -> None:
    index.add(ONE, "alice")
    index.add(TWO, "bob")
    assert index.current().owner_of("reviews") == "alice"
    index.remove(ONE)
    assert index.current().owner_of("reviews") is None
    index.add(ONE, "bob")
    assert index.current().owner_of("reviews") is None
    index.remove(ONE)
    index.remove(TWO)
    index.add(TWO, "bob")
    assert (index.current().owner_of("reviews"), index.current().owner_of("other")) == ("bob", None)


def test_many_publishers_at_once_lose_nothing(bucket: Bucket) -> None:
    keys = [("reviews", f"{number:012x}") for number in range(24)]
    random.Random(0).shuffle(keys)
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda key: SetIndex(bucket.opened()).add(key), keys))
    assert sorted(numbers) == list(range(1, 25))
    assert SetIndex(bucket.opened()).current().numbers.keys() == set(keys)


def test_who_is_not_to_publish_any_more_does_not(bucket: Bucket, index: SetIndex) -> None:
    """Whoever is frozen between the question and the change finds the index changed, and is asked again."""
    asked = []

    def overtaken_once(_sets: Sets) -> None:
        asked.append(True)
        if len(asked) > 1:
            raise ClaimLost("somebody else has it")
        SetIndex(bucket.opened()).add(TWO)

    with pytest.raises(ClaimLost):
        index.add(ONE, None, overtaken_once)
    assert index.current().numbers.keys() == {TWO}


def test_an_old_answer_is_passed_over(bucket: Bucket, index: SetIndex) -> None:
    index.add(ONE)
    old = bucket.content("sets.json")
    index.add(TWO)
    bucket.plant("sets.json", old)
    assert index.current().numbers.keys() == {ONE, TWO}
    assert SetIndex(bucket.opened()).current().numbers.keys() == {ONE}


def test_an_index_that_has_gone_is_a_store_that_is_away(bucket: Bucket, index: SetIndex) -> None:
    index.add(ONE)
    bucket.opened().delete(["sets.json"])
    with pytest.raises(StoreError, match=r"sets\.json has gone"):
        index.current()


@pytest.mark.parametrize(
    "value",
    [
        "nothing",
        [],
        {"format": 2, "last": 1, "sets": []},
        {"format": 1, "last": -1, "sets": []},
        {"format": 1, "last": 1, "sets": [["../up", "0123456789ab", 1, None]]},
        {"format": 1, "last": 1, "sets": [["name", "..", 1, None]]},
        {"format": 1, "last": 1, "sets": [["name", "0123456789ab", 2, None]]},
        {"format": 1, "last": 1, "sets": [["name", "0123456789ab", True, None]]},
        {"format": 1, "last": 2, "sets": [["name", "0123456789ab", 1, None]] * 2},
        {"format": 1, "last": 1, "sets": [["name", "0123456789ab", 1]]},
        {"format": 1, "last": 1, "sets": [["name", "0123456789ab", 1, ""]]},
        {"format": 1, "last": 1, "sets": [["name", "0123456789ab", 1, 7]]},
        {"format": 1, "last": 1e300, "sets": {}},
    ],
    ids=str,
)
def test_a_damaged_index_is_told_and_not_believed(bucket: Bucket, value: object) -> None:
    bucket.plant("sets.json", b"0" * 32 + b"\n" + json.dumps(value).encode())
    with pytest.raises(StoreError, match=r"sets.json is damaged"):
        SetIndex(bucket.opened()).current()


def test_what_is_no_record_at_all_is_told(bucket: Bucket) -> None:
    bucket.plant("sets.json", b"x")
    with pytest.raises(StoreError, match=r"sets.json is not sealed"):
        SetIndex(bucket.opened()).current()
