"""To the Hugging Face Hub and back, over a stand-in for it: what people see there, and what comes back."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from adavae.model.errors import AdapterSetExists, AdapterSetNotFound, WeightsCorrupted
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.card_metadata import Origin
from adavae.model.storage.manifest import CARD, MANIFEST, TENSORS
from adavae.service.sharing.errors import SharingError
from adavae.service.sharing.places import KEPT_CARD
from adavae.service.sharing.pull import pull
from adavae.service.sharing.push import push
from tests.hub_stand_in import HubStandIn, Repository, hub_stand_in
from tests.tiny_home import tiny_settings
from tests.tiny_sets import publish
from tests.unit.model.storage.test_model_card import card
from tests.unit.service.conftest import RunCommand

MAX_BYTES = 1024**2


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    with hub_stand_in() as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


@pytest.fixture
def there(tmp_path: Path) -> AdapterStore:
    publish(tmp_path / "there")
    return AdapterStore(tmp_path / "there")


@pytest.fixture
def here(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "here")


def test_an_old_set_gets_metadata_and_comes_back_byte_for_byte(
    hub: HubStandIn, there: AdapterStore, here: AdapterStore
) -> None:
    origin = Origin(license="mit", base_model="openai-community/gpt2", datasets=("me/texts",))
    pushed = push("demo", "hf://me/demo", there, origin=origin)
    repository = hub.repositories["me/demo"]
    assert repository.files.keys() == {MANIFEST, TENSORS, CARD, KEPT_CARD}
    assert pushed.reference in repository.commits[0]
    shown = ModelCard(repository.files[CARD].decode())
    assert (shown.data.library_name, shown.data.license) == ("adavae", "mit")
    assert (shown.data.base_model, shown.data.datasets) == ("openai-community/gpt2", ["me/texts"])
    assert shown.text.strip() == there.card("demo").strip()

    repository.files[CARD] += b"\nWhat somebody wrote on the Hub later.\n"
    assert pull(pushed.pinned_address, here, max_bytes=MAX_BYTES).reference == pushed.reference
    assert here.read("demo").manifest == there.read("demo").manifest
    assert here.card("demo") == there.card("demo")


def test_a_repository_of_something_else_is_left_as_it_is(hub: HubStandIn, there: AdapterStore) -> None:
    """Regression: its README.md, or the set of another name, was replaced."""
    hub.repositories["me/other"] = Repository({CARD: b"# Mine"})
    with pytest.raises(AdapterSetExists, match=r"holds a README\.md that is not this set's"):
        push("demo", "hf://me/other", there)
    assert hub.repositories["me/other"].files == {CARD: b"# Mine"}
    push("demo", "hf://me/demo", there)
    publish(there.root, name="another")
    with pytest.raises(AdapterSetExists, match="holds another adapter set"):
        push("another", "hf://me/demo", there)


def test_a_new_version_follows_an_old_one(hub: HubStandIn, there: AdapterStore) -> None:
    push("demo", "hf://me/demo", there)
    publish(there.root, created_at="2026-02-03T00:00:00+00:00")
    pushed = push("demo", "hf://me/demo", there)
    assert len(hub.repositories["me/demo"].commits) == 2
    assert pushed.reference in hub.repositories["me/demo"].commits[1]


def test_a_card_that_has_metadata_is_the_one_on_the_hub_unless_more_is_said(hub: HubStandIn, tmp_path: Path) -> None:
    there = AdapterStore(tmp_path / "there")
    publish(there.root, model_card=card(origin=Origin(base_model="openai-community/gpt2")))
    push("demo", "hf://me/demo", there, is_private=True)
    repository = hub.repositories["me/demo"]
    assert repository.files[CARD].decode() == there.card("demo")
    assert repository.is_private
    push("demo", "hf://me/demo", there, origin=Origin(license="mit"))
    shown = ModelCard(repository.files[CARD].decode())
    assert (shown.data.license, shown.data.base_model) == ("mit", "openai-community/gpt2")
    assert len(repository.commits) == 2


def test_a_repository_without_our_card_is_read_too(hub: HubStandIn, there: AdapterStore, here: AdapterStore) -> None:
    """As somebody has made it who uploaded the set's directory by hand."""
    push("demo", "hf://me/demo", there)
    files = hub.repositories["me/demo"].files
    files[CARD] = files.pop(KEPT_CARD)
    assert pull("hf://me/demo", here, max_bytes=MAX_BYTES).name == "demo"


def test_what_was_changed_on_the_hub_is_refused(hub: HubStandIn, there: AdapterStore, here: AdapterStore) -> None:
    pushed = push("demo", "hf://me/demo", there)
    files = hub.repositories["me/demo"].files
    files[TENSORS] = files[TENSORS][:-1] + bytes([files[TENSORS][-1] ^ 1])
    with pytest.raises(WeightsCorrupted, match=r"hf://me/demo/adapter.safetensors is damaged"):
        pull(pushed.pinned_address, here, max_bytes=MAX_BYTES)
    files[TENSORS] += bytes(10**6)
    hub.asked.clear()
    with pytest.raises(WeightsCorrupted, match="the manifest says"):
        pull(pushed.pinned_address, here, max_bytes=MAX_BYTES)
    assert not any(TENSORS in asked for asked in hub.asked), "it was fetched although its size was known"


def test_what_is_not_on_the_hub_is_told(hub: HubStandIn, there: AdapterStore, here: AdapterStore) -> None:
    with pytest.raises(AdapterSetNotFound, match="hf://me/gone"):
        pull("hf://me/gone", here, max_bytes=MAX_BYTES)
    with pytest.raises(SharingError, match="hf://owner/name"):
        push("demo", "hf://me/demo/sub/folder", there)
    assert hub.repositories == {}


def test_the_commands_do_the_same(
    hub: HubStandIn, run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tmp_path)
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(settings.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(settings.data))
    pushed = json.loads(run_command("adapters", "push", "prefixed", "hf://me/tiny", "--license", "mit").out)
    assert "license: mit" in hub.repositories["me/tiny"].files[CARD].decode()
    outcome = run_command("adapters", "pull", "hf://me/tiny", "--digest", pushed["digest"], "--name", "mine")
    assert outcome.exit_code == 0, outcome.err
    pulled = json.loads(outcome.out)
    assert pulled["adapter"].startswith("mine@")
    shown = json.loads(run_command("adapters", "show", "mine").out)
    assert shown["digest"] == pulled["digest"] != pushed["digest"]
    refused = run_command("adapters", "pull", "hf://me/tiny", "--digest", "0" * 64)
    assert (refused.exit_code, refused.out, refused.err.count("\n")) == (1, "", 1)
