"""What Kubernetes puts into the environment is no setting, whatever the Services are called, and stops no command."""

from pathlib import Path

import pytest

from adavae.service.service_links import explain_service_links, is_service_link
from adavae.service.settings import Settings, SettingsError, ignored_variables, load_settings


def links_of(service: str, port: int = 8000, protocol: str = "TCP", name: str = "http") -> dict[str, str]:
    """The variables of one Service, as Kubernetes and Docker's links make them."""
    prefix, address = service.upper().replace("-", "_"), "10.96.0.17"
    link = f"{prefix}_PORT_{port}_{protocol}"
    url = f"{protocol.lower()}://{address}:{port}"
    return {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_SERVICE_PORT_{name.upper().replace('-', '_')}": str(port),
        f"{prefix}_PORT": url,
        link: url,
        f"{link}_PROTO": protocol.lower(),
        f"{link}_PORT": str(port),
        f"{link}_ADDR": address,
    }


LINKS = [
    links_of("adavae"),
    links_of("adavae-redis", 6379, name="redis"),
    links_of("adavae-worker-metrics", 9100, name="web-metrics"),
    links_of("adavae-data", 53, "UDP"),
    links_of("adavae", 443, "SCTP"),
]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"ADAVAE_{field.upper()}", raising=False)


@pytest.mark.parametrize("links", LINKS)
def test_no_service_stops_a_command_or_changes_a_setting(
    links: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_settings()
    for name, value in links.items():
        assert is_service_link(name, value), name
        monkeypatch.setenv(name, value)
    assert load_settings() == expected
    told = ignored_variables()
    assert told is not None
    assert "8 variables such as" in told
    assert "enableServiceLinks: false" in told


def test_a_port_that_is_set_beside_other_links_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in links_of("adavae-redis").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ADAVAE_PORT", "9000")
    assert load_settings().port == 9000


def test_that_the_port_was_not_taken_from_a_link_is_reported() -> None:
    told = explain_service_links(links_of("adavae"), ["ADAVAE_PORT", "ADAVAE_HOST"])
    assert told is not None
    assert "ADAVAE_PORT has its default, therefore;" in told
    others = explain_service_links(links_of("adavae-redis"), ["ADAVAE_PORT", "ADAVAE_HOST"])
    assert others is not None
    assert "default" not in others


def test_where_there_are_none_nothing_is_said() -> None:
    assert ignored_variables() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADAVAE_PORT", "80a"),
        ("ADAVAE_PORT", "http://10.0.0.1:8000"),
        ("ADAVAE_PORTS", "tcp://10.0.0.1:8000"),
        ("ADAVAE_HOSTS", "10.0.0.1"),
        ("ADAVAE_SERVICE", "10.0.0.1"),
        ("ADAVAE_REDIS_PORT", "6379"),
        ("ADAVAE_PORT_8000", "tcp://10.0.0.1:8000"),
        ("ADAVAE_SERVICE_HOSTS", "10.0.0.1"),
    ],
)
def test_what_is_misspelt_still_stops_the_start(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_service_link(name, value)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_without_a_home_there_are_settings_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME and a user that nobody knows, as containers have: every command ended with a traceback."""
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as it is where there is no home
    assert load_settings().data == Path("/var/lib/adavae")
    monkeypatch.setenv("ADAVAE_DATA", "/data")
    assert load_settings().data == Path("/data")
    monkeypatch.setenv("ADAVAE_WEIGHTS", "~/weights")
    with pytest.raises(SettingsError, match=r"ADAVAE_WEIGHTS is '~/weights': .*has a ~, and nobody knows the home"):
        load_settings()
