"""The name under which what a key makes is kept."""

import re

import pytest

from adavae.service.http.api_keys import load_api_keys
from adavae.service.settings import SettingsError
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import stub_settings

ONE, TWO, THREE = (f"{name}-0123456789abcdef" for name in ("one", "two", "three"))


def test_a_key_has_the_name_it_was_given_or_a_digest_of_itself() -> None:
    with client_of(api_keys=f"{ONE}:infer {TWO}:train,name=team {ONE}:train,name=first {THREE}") as client:
        told = [client.get("/key", headers={"x-api-key": key}).json() for key in (ONE, TWO, THREE)]
    assert [(each["name"], each["scopes"]) for each in told[:2]] == [("first", ["infer", "train"]), ("team", ["train"])]
    assert re.fullmatch("key-[0-9a-f]{12}", told[2]["name"])
    assert told[2]["scopes"] == ["infer"]


def test_without_keys_nobody_has_a_name() -> None:
    with client_of() as client:
        assert client.get("/key").json()["name"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{ONE}:infer,name=Al", "key 1 of ADAVAE_API_KEYS has the name 'Al': must be one, of 1 to 64"),
        (f"{ONE}:infer,name=", "key 1 of ADAVAE_API_KEYS has the name ''"),
        (f"{ONE}:infer,name=key-1", "key 1 of ADAVAE_API_KEYS has the name 'key-1'.*may not begin with 'key-'"),
        (f"{ONE}:name=a,name=b", "key 1 of ADAVAE_API_KEYS has the name"),
        (f"{ONE}:name=a {ONE}:name=b", "key 2 of ADAVAE_API_KEYS was there before with the name 'a'"),
        (f"{ONE}:infer,nam=a", "key 1 of ADAVAE_API_KEYS has scopes that do not exist"),
    ],
)
def test_names_that_cannot_be_understood_stop_the_start(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        load_api_keys(stub_settings(api_keys=text))
    assert ONE not in str(caught.value)
