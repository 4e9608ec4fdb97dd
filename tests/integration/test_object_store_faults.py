"""Records and adapter sets over a real S3 server, and what a bad day of it does."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adavae.service.objects.errors import StoreError, StoreUnusable
from adavae.service.objects.object_store import ObjectStore
from adavae.service.objects.open_objects import check_objects
from adavae.service.objects.published_sets import PublishedSets
from adavae.service.objects.set_index import SetIndex
from adavae.service.objects.shared_sets import SharedSets
from adavae.service.settings import Settings, store_endpoint
from adavae.service.store_address import StoreAddress
from tests.integration.faulty_store import FaultyStore, faulty_store
from tests.integration.s3_server import SECRET_KEY, WHY_NOT, S3Server, s3_server, variables
from tests.tiny_sets import publish

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
BUCKET, TIMEOUT_S, SHORT_S = "bucket", 10.0, 1.0
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        running.make_bucket(BUCKET)
        yield running


@pytest.fixture
def faults(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with faulty_store(server.url) as proxy:
        for name, value in variables(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def prefix() -> str:
    return f"place-{next(_numbers)}"


@pytest.fixture
def store(faults: FaultyStore, prefix: str) -> ObjectStore:
    assert faults.url
    return opened(prefix)


def opened(prefix: str, timeout_s: float = TIMEOUT_S) -> ObjectStore:
    return ObjectStore.at(StoreAddress("s3", BUCKET, prefix), timeout_s=timeout_s, endpoint=store_endpoint())


def settings(tmp_path: Path, prefix: str, bucket: str = BUCKET, timeout_s: float = TIMEOUT_S) -> Settings:
    return Settings(data=Path(f"s3://{bucket}/{prefix}"), store_cache=tmp_path, store_timeout_s=timeout_s)


def sets(store: ObjectStore, root: Path) -> SharedSets:
    return SharedSets(store, root, [], 10**9)


@pytest.mark.usefixtures("faults")
def test_a_whole_store_passes_and_nothing_stays_of_the_trial(tmp_path: Path, prefix: str) -> None:
    check_objects(settings(tmp_path, prefix))
    assert opened(prefix).keys("", 10) == []


@pytest.mark.usefixtures("faults")
def test_a_bucket_that_is_not_there_is_told(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(StoreUnusable, match=r"s3://nowhere/.* is not there .*make the bucket"):
        check_objects(settings(tmp_path, prefix, "nowhere"))


def test_a_bucket_that_forbids_is_told_without_the_secret(faults: FaultyStore, tmp_path: Path, prefix: str) -> None:
    faults.is_denied = True
    with pytest.raises(StoreUnusable, match="refuses these credentials") as caught:
        check_objects(settings(tmp_path, prefix))
    assert SECRET_KEY not in str(caught.value) and SECRET_KEY not in repr(caught.value.__cause__)


def test_a_store_that_is_gone_is_told_in_bounded_time(faults: FaultyStore, tmp_path: Path, prefix: str) -> None:
    faults.close()
    began_at = time.monotonic()
    with pytest.raises(StoreUnusable, match="cannot be reached"):
        check_objects(settings(tmp_path, prefix, timeout_s=SHORT_S))
    assert time.monotonic() - began_at < 30 * SHORT_S


def test_a_store_that_keeps_no_conditions_is_refused(faults: FaultyStore, tmp_path: Path, prefix: str) -> None:
    faults.ignores_conditions = True
    with pytest.raises(StoreUnusable, match="whatever If-None-Match says, and jobs would be done twice"):
        check_objects(settings(tmp_path, prefix))
    assert opened(prefix).keys("", 10) == []


def test_throttling_is_waited_for_and_then_told(faults: FaultyStore, store: ObjectStore) -> None:
    faults.num_throttled = 2
    tag = store.create("record", b"one")
    assert store.read("record", 10).tag == tag
    faults.num_throttled = -1
    with pytest.raises(StoreError, match="takes no more requests") as caught:
        opened(store.address.rpartition("/")[2], SHORT_S).read("record", 10)
    assert caught.value.answer().code == "storage_throttled"


def test_a_slow_store_is_given_up_at_its_deadline(faults: FaultyStore, store: ObjectStore) -> None:
    store.create("record", b"one")
    faults.delay_s = 2 * SHORT_S
    with pytest.raises(StoreError, match="cannot be reached"):
        opened(store.address.rpartition("/")[2], SHORT_S).read("record", 10)


def test_a_body_that_ends_too_early_is_asked_for_again_or_refused(faults: FaultyStore, store: ObjectStore) -> None:
    store.create("record", b"x" * 1000)
    for num_cut in (1, 100):
        faults.num_cut = num_cut
        try:
            assert store.read("record", 1000).content == b"x" * 1000
        except StoreError:
            assert num_cut == 100


def test_a_put_that_was_carried_out_and_not_answered_counts_once(faults: FaultyStore, store: ObjectStore) -> None:
    faults.num_lost = 1
    tag = store.create("record", b"one")
    assert store.read("record", 10).tag == tag
    faults.num_lost = 1
    new = store.replace("record", b"two", tag)
    assert (store.read("record", 10).content, store.read("record", 10).tag) == (b"two", new)


@pytest.mark.usefixtures("faults")
def test_of_many_who_create_or_replace_a_record_at_once_one_does(prefix: str) -> None:
    won: list[str] = []

    def try_it(number: int) -> None:
        try:
            opened(prefix).create("record", f"{number}".encode())
        except FileExistsError:
            return
        won.append(f"{number}")

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [opened(prefix).read("record", 10).content.decode()] == won


def test_old_listings_hide_no_set(faults: FaultyStore, store: ObjectStore, tmp_path: Path) -> None:
    other = sets(store, tmp_path / "other")
    assert other.list() == []
    faults.is_stale = True
    path = publish(tmp_path / "made")
    sets(store, tmp_path / "maker").import_set(path)
    assert [entry.version for entry in other.list()] == [path.name]
    assert other.read("demo").manifest.version == path.name


def test_looking_for_new_sets_is_one_request_that_brings_nothing(
    faults: FaultyStore, store: ObjectStore, tmp_path: Path
) -> None:
    for number in range(3):
        sets(store, tmp_path / "maker").import_set(publish(tmp_path / "made", name=f"set-{number}"))
    other = sets(store, tmp_path / "other")
    known = other.scan({})
    before = faults.num_requests
    assert other.scan(known).keys() == known.keys()
    assert faults.num_requests == before + 1
    assert SetIndex(store).current().numbers.keys() == {(each.name, each.version) for each in known.values()}


def test_a_publisher_that_is_killed_between_files_and_index_publishes_nothing(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, maker = publish(tmp_path / "made"), sets(store, tmp_path / "maker")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(PublishedSets, "publish", _killed)
        maker.import_set(path)
    assert sets(store, tmp_path / "other").list() == []
    assert maker.import_set(path).version == path.name
    assert [entry.version for entry in sets(store, tmp_path / "other").list()] == [path.name]


def _killed(*_arguments: object) -> None:
    raise KeyboardInterrupt
