"""Whose a set's name is: noted when it is first published, checked whenever that is done again."""

import shutil
from pathlib import Path

import pytest

from adavae.service.jobs.records.job_errors import JobBusy
from adavae.service.jobs.records.set_owners import SetOwners
from adavae.service.jobs.records.volume_lock import locked
from adavae.service.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", weights=tmp_path / "weights", default_adapter="standard")


def publish(settings: Settings, name: str, owner: str | None, version: str = "1") -> None:
    with SetOwners(settings).publishing(name, version, owner):
        (settings.own_adapters / name / version).mkdir(parents=True)


def test_a_name_is_the_first_ones_until_nothing_of_it_is_left(settings: Settings) -> None:
    owners = SetOwners(settings)
    assert owners.owner_of("mine") is None
    assert owners.objection("mine", "alice") is None
    publish(settings, "mine", "alice")
    assert owners.owner_of("mine") == "alice"
    assert owners.objection("mine", "alice") is None
    assert "not this key's" in (owners.objection("mine", "bob") or "")
    publish(settings, "mine", "root", version="2")  # as an admin may
    assert owners.owner_of("mine") == "alice"
    shutil.rmtree(settings.own_adapters / "mine")
    assert owners.objection("mine", "bob") is None
    publish(settings, "mine", "bob")
    assert owners.owner_of("mine") == "bob"


def test_what_an_operator_puts_in_the_place_of_deleted_versions_is_nobodys(settings: Settings) -> None:
    publish(settings, "mine", "alice")
    publish(settings, "mine", "alice", version="2")
    shutil.rmtree(settings.own_adapters / "mine" / "1")
    owners = SetOwners(settings)
    assert owners.owner_of("mine") == "alice"
    (settings.own_adapters / "mine" / "imported").mkdir()
    assert owners.owner_of("mine") == "alice"
    shutil.rmtree(settings.own_adapters / "mine" / "2")
    assert owners.owner_of("mine") is None
    assert owners.objection("mine", "alice") is not None


def test_what_was_published_without_keys_is_nobodys(settings: Settings) -> None:
    publish(settings, "mine", None)
    owners = SetOwners(settings)
    assert owners.owner_of("mine") is None
    assert owners.objection("mine", "alice") is not None


def test_a_publication_that_fails_leaves_the_name_free(settings: Settings) -> None:
    with pytest.raises(OSError, match="full"), SetOwners(settings).publishing("mine", "1", "alice"):
        raise OSError("full")
    assert SetOwners(settings).objection("mine", "bob") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 3000,
        b"[]",
        b"3",
        b"{}",
        b'{"owner": 3}',
        b'{"owner": null, "versions": ["1"]}',
        b'{"owner": "alice", "versions": "1"}',
        b"\xff\xfe",
        b'"\\ud800"',
    ],
)
def test_a_damaged_record_makes_a_set_nobodys_and_nothing_fail(settings: Settings, content: bytes) -> None:
    publish(settings, "mine", "alice")
    (settings.set_owners / "mine.json").write_bytes(content)
    owners = SetOwners(settings)
    assert owners.owner_of("mine") is None
    assert owners.objection("mine", "alice") is not None


def test_two_publications_under_one_name_come_one_after_the_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.set_owners.mkdir(parents=True)
    monkeypatch.setattr("adavae.service.jobs.records.set_owners.locked", lambda path: locked(path, timeout_s=0.05))
    with (
        locked(settings.set_owners / "mine.lock"),
        pytest.raises(JobBusy),
        SetOwners(settings).publishing("mine", "1", "alice"),
    ):
        pass
