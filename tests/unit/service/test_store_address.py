"""Addresses of object stores, out of what was made a path."""

from pathlib import Path

import pytest

from adavae.service.store_address import StoreAddress, address_in


@pytest.mark.parametrize(
    ("given", "scheme", "bucket", "prefix"),
    [
        ("s3://bucket", "s3", "bucket", ""),
        ("s3://bucket/", "s3", "bucket", ""),
        ("s3://my.bucket-1/a/b_c/", "s3", "my.bucket-1", "a/b_c"),
        ("gs://bucket/sets", "gs", "bucket", "sets"),
        ("az://account/container/sets", "az", "account", "container/sets"),
    ],
)
def test_an_address_is_read_back_from_its_path(given: str, scheme: str, bucket: str, prefix: str) -> None:
    assert address_in(Path(given)) == StoreAddress(scheme, bucket, prefix)
    assert str(address_in(Path(given))) == given.rstrip("/")


@pytest.mark.parametrize("given", ["/data", "data", "~/data", "s3", "/data/s3:/bucket", "s3:bucket"])
def test_a_directory_is_none(given: str) -> None:
    assert address_in(Path(given)) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("hdfs://host/data", "no address of a kind"),
        ("https://host/data", "no address of a kind"),
        ("s3://b/data", "names no bucket"),
        ("s3://user@host/data", "names no bucket"),
        ("s3://bucket/../other", "has a prefix"),
        ("s3://bucket/a b", "has a prefix"),
        ("s3://bucket/" + "a/" * 17, "has a prefix"),
        ("az://account", "names no container"),
    ],
)
def test_what_cannot_be_is_told(given: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        address_in(Path(given))
