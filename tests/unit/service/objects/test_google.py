"""Google's store knows objects by their generation: its conditions hold for records as those of other stores do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from adavae.service.objects.errors import ObjectChanged
from adavae.service.objects.object_store import ObjectStore
from adavae.service.objects.open_objects import check_objects
from adavae.service.settings import load_settings
from adavae.service.store_address import StoreAddress
from tests.unit.service.objects.fake_google import FakeGoogle, fake_google
from tests.unit.service.objects.memory_objects import needs_obstore

pytestmark = needs_obstore
_NO_KEY = {"private_key": "", "private_key_id": ""}


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGoogle]:
    with fake_google() as server:
        account = {"gcs_base_url": server.url, "disable_oauth": True, "client_email": "", **_NO_KEY}
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
        monkeypatch.setenv("GOOGLE_BASE_URL", server.url)
        yield server


@pytest.fixture
def store(google: FakeGoogle) -> ObjectStore:
    return ObjectStore.at(StoreAddress("gs", "bucket", "sets"), timeout_s=5, endpoint=google.url)


def test_a_record_is_replaced_under_its_generation(store: ObjectStore, google: FakeGoogle) -> None:
    """The e_tag alone was refused by the library: no record could ever be replaced."""
    first = store.create("record", b"one")
    second = store.replace("record", b"two", first)
    with pytest.raises(ObjectChanged):
        store.replace("record", b"three", first)
    found = store.read("record", 10)
    assert (found.content, found.tag) == (b"two", second)
    assert google.conditions == ["0", "1000000", "1000000"]
    with pytest.raises(FileExistsError):
        store.create("record", b"four")
    assert store.replace("record", b"five", found.tag) != second


def test_what_is_unchanged_is_not_sent_again(store: ObjectStore) -> None:
    tag = store.create("record", b"one")
    assert store.newer("record", tag, 10) is None
    store.replace("record", b"two", tag)
    found = store.newer("record", tag, 10)
    assert found is not None and found.content == b"two"


def test_a_service_finds_its_conditions_kept(google: FakeGoogle) -> None:
    check_objects(load_settings({"data": Path("gs://bucket/sets")}))
    assert not google.objects
