"""Whom a request comes from: what proxies say counts where they are trusted, and no further."""

import pytest
from starlette.datastructures import Headers

from adavae.service.http.client_address import UNKNOWN, TrustedProxies
from adavae.service.settings import SettingsError

PROXIES = "10.0.0.0/8, 172.16.0.1;fd00::/8\n192.0.2.9"


def client(peer: str | None, *forwarded: str, proxies: str = PROXIES) -> str:
    headers = Headers(raw=[(b"x-forwarded-for", line.encode()) for line in forwarded])
    scope = {"type": "http", "client": None if peer is None else (peer, 1234)}
    return TrustedProxies(proxies).client_of(scope, headers)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.1.1.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.1.1.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.1.1.1", ["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        ("10.1.1.1", ["198.51.100.7, 192.0.2.9 , 172.16.0.1"], "198.51.100.7"),
        ("10.1.1.1", ["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", [""], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.7, unknown"], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.7, junk, 10.2.2.2"], "10.2.2.2"),
        ("10.1.1.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.1.1.1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("10.1.1.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.1.1.1", ["198.51.100.7"], "198.51.100.7"),
        ("fd00::1", ["198.51.100.7"], "198.51.100.7"),
        ("172.16.0.2", ["198.51.100.7"], "172.16.0.2"),
        ("127.0.0.1", ["198.51.100.7"], "127.0.0.1"),
        ("198.51.100.7", ["10.1.1.1"], "198.51.100.7"),
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy_is_the_client(
    peer: str, forwarded: list[str], expected: str
) -> None:
    assert client(peer, *forwarded) == f"ip:{expected}"


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.1.1", "::1"])
def test_by_default_nobody_speaks_for_others(peer: str) -> None:
    assert client(peer, "198.51.100.7", proxies="") == client(peer, proxies="")


def test_all_addresses_of_one_network_are_one_client_where_each_client_has_a_network() -> None:
    assert client("2001:db8::1") == client("2001:db8::ffff:1:2") == "ip:2001:db8::/64"
    assert client("2001:db8:0:1::1") != client("2001:db8::1")
    assert client("fe80::1%eth0") == "ip:fe80::/64"
    assert client("198.51.100.7") != client("198.51.100.8")


def test_a_connection_without_an_address_is_one_client() -> None:
    assert client(None, "198.51.100.7") == client("testclient") == UNKNOWN


@pytest.mark.parametrize("text", ["balancer", "10.0.0.0/33", "*", "10.0.0.1-10.0.0.9", "10.0.0.0/8 x"])
def test_what_is_no_network_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"ADAVAE_TRUSTED_PROXIES has .*: write addresses or networks"):
        TrustedProxies(text)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "10.0.0.1/0"])
def test_everybody_cannot_be_trusted(text: str) -> None:
    with pytest.raises(SettingsError, match="which is everybody"):
        TrustedProxies(text)
