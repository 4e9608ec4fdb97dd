"""What messages show of an address."""

import pytest

from adavae.service.shown_address import shown_address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://ci:SECRET@host/set.tar.gz?token=TOK", "http://host/set.tar.gz"),
        ("https://SECRET@host:8000", "https://host:8000"),
        ("HTTPS://user:SECRET@host", "HTTPS://host"),
        ("https://user:SE/CRET@host/a", "https://host/a"),
        ("user:SECRET@host/a", "host/a"),
        ("htp://user:SECRET@host/a?token=TOK", "htp://host/a"),
        ("s3://key:SECRET@bucket/a", "s3://bucket/a"),
        ("https://host:8000/pkg@1.0/set.tar.gz", "https://host:8000/pkg@1.0/set.tar.gz"),
        ("hf://owner/name@v1", "hf://owner/name@v1"),
        ("abfs://container@account.example/a", "abfs://container@account.example/a"),
        ("file:///what?/set@1", "file:///what?/set@1"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert shown_address(address) == shown
