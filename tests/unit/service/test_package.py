"""``adavae.load`` and ``adavae.Client``, as the README shows them."""

from pathlib import Path

import pytest

import adavae
from adavae.model.errors import AdapterSetNotFound, ConfigError
from adavae.service import settings
from adavae.service.client.latent import AdaVAEClient
from tests.tiny_home import tiny_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    configured = tiny_settings(tmp_path)
    monkeypatch.setattr(settings, "load_settings", lambda: configured)
    return tmp_path


@pytest.mark.usefixtures("home")
def test_a_set_is_loaded_by_name_by_version_or_by_default() -> None:
    by_name = adavae.load("plain", device="cpu")
    assert by_name.reference.startswith("plain@")
    assert adavae.load(by_name.reference, device="cpu").reference == by_name.reference
    assert adavae.load(device="cpu").reference.startswith("prefixed@")
    assert by_name.encode("the food was good .").mu.shape == (1, by_name.latent_size)


@pytest.mark.usefixtures("home")
def test_a_set_that_is_not_installed_is_named_with_what_comes_close() -> None:
    with pytest.raises(AdapterSetNotFound, match=r"'plian'.*did you mean 'plain'"):
        adavae.load("plian")


def test_a_pair_is_joined_as_training_joins_it() -> None:
    assert adavae.pair("it rains .", "it is wet .") == "it rains . \u241e it is wet ."
    with pytest.raises(ConfigError, match="text_pair"):
        adavae.pair("a", "\u241e")


@pytest.mark.usefixtures("home")
def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="device"):
        adavae.load("plain", device="tpu")


def test_the_client_is_the_clients() -> None:
    assert adavae.Client is AdaVAEClient


def test_what_adavae_does_not_have_is_named_with_what_it_has() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'open': it has Client, evaluate, load, pair, train"):
        adavae.open  # type: ignore[attr-defined]  # noqa: B018
