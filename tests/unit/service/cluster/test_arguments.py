"""What a cluster is told: settings that differ from the defaults, and never a secret."""

from pathlib import Path

import pytest

from adavae.service.cluster.arguments import ClusterArguments, arguments_of, secret_fields, training_arguments_of
from adavae.service.settings import SettingsError, load_settings

KEYS = "a-key-of-the-tests-0123456789:infer"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADAVAE_API_KEYS", "ADAVAE_DECODE_ROWS", "ADAVAE_THREADS"):
        monkeypatch.delenv(name, raising=False)


def test_replicas_get_the_settings_that_were_chosen_and_nothing_else(tmp_path: Path) -> None:
    chosen = load_settings({"data": tmp_path, "decode_rows": 8, "training": "off"})
    arguments = arguments_of(chosen, requires_keys=False)
    assert arguments.settings == {"data": str(tmp_path), "decode_rows": 8, "training": "off"}
    there = arguments.settings_here()
    assert (there.data, there.decode_rows, there.training) == (tmp_path, 8, "off")


def test_no_secret_and_no_port_is_sent() -> None:
    given = {"api_keys": KEYS, "redis_url": "redis://:pass@h:1/0", "cache_secret": "s" * 20, "api_key": "k" * 20}
    chosen = load_settings({**given, "port": 9000, "threads": 3})
    arguments = arguments_of(chosen, requires_keys=True)
    assert arguments.settings == {"threads": 3}
    assert set(given) <= secret_fields()


def test_those_who_train_are_told_what_training_needs_alone(tmp_path: Path) -> None:
    """Replicas and `adavae serve` differ in threads, addresses and logs, which made each call another one."""
    shared = {"data": tmp_path, "training_cpus": 2.0, "lease_s": 9.0, "training_processes": 2}
    one = load_settings(shared | {"threads": 3, "training": "ray", "log_format": "json", "decode_rows": 8})
    other = load_settings(shared | {"host": "0.0.0.0", "port": 9000, "api_keys": KEYS})
    told = training_arguments_of(one)
    assert told == training_arguments_of(other)
    assert told.settings == shared | {"data": str(tmp_path)}
    assert not told.requires_keys


def test_a_secret_in_the_configuration_is_refused_by_name() -> None:
    with pytest.raises(
        SettingsError, match=r"given api_keys, which everybody .* set ADAVAE_API_KEYS where `ray start`"
    ):
        ClusterArguments(settings={"api_keys": KEYS}).settings_here()


def test_what_the_cluster_is_given_goes_before_a_machines_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_DECODE_ROWS", "5")
    monkeypatch.setenv("ADAVAE_THREADS", "7")
    there = ClusterArguments(settings={"decode_rows": 9}).settings_here()
    assert (there.decode_rows, there.threads) == (9, 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"decode_rows": 0}, "ADAVAE_DECODE_ROWS is 0"), ({"decode_rosw": 3}, "did you mean ADAVAE_DECODE_ROWS")],
)
def test_a_wrong_setting_is_refused_as_in_the_environment(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ClusterArguments(settings=settings).settings_here()


def test_without_keys_nobody_answers_where_others_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody wrote by hand says nothing of keys: it counts as open to others."""
    with pytest.raises(SettingsError, match="there are no API keys on this machine: set ADAVAE_API_KEYS"):
        ClusterArguments().guarded_settings_here()
    assert ClusterArguments(requires_keys=False).guarded_settings_here().api_keys.get_secret_value() == ""
    monkeypatch.setenv("ADAVAE_API_KEYS", KEYS)
    assert ClusterArguments().guarded_settings_here().api_keys.get_secret_value() == KEYS
