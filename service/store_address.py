"""Addresses of object stores, as ``ADAVAE_DATA`` may hold one in place of a directory.

s3://bucket/prefix    gs://bucket/prefix    az://account/container/prefix
"""

import re
from dataclasses import dataclass
from pathlib import Path

SCHEMES = ("s3", "gs", "az")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]{0,127}")
_MOST_PARTS = 16


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A place in an object store.

    Attributes:
        scheme: One of ``SCHEMES``.
        bucket: Of ``az`` the account.
        prefix: What every key begins with, without slashes around it; of ``az`` the container comes first.
    """

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def address_in(path: Path) -> StoreAddress | None:
    """The address that a path is, which has lost one of its slashes; None for a directory.

    Raises:
        ValueError: An address of another kind, or one that cannot be.
    """
    scheme = _SCHEME.fullmatch(path.parts[0]) if len(path.parts) > 1 else None
    if scheme is None:
        return None
    if scheme[1] not in SCHEMES:
        kinds = ", ".join(f"{each}://" for each in SCHEMES)
        raise ValueError(f"is no address of a kind that there is ({kinds}), and no directory either")
    bucket, *parts = path.parts[1:]
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("names no bucket: write s3://bucket/prefix")
    if len(parts) > _MOST_PARTS or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError("has a prefix with more than letters, digits and ._=-: write s3://bucket/prefix")
    if scheme[1] == "az" and not parts:
        raise ValueError("names no container: write az://account/container/prefix")
    return StoreAddress(scheme[1], bucket, "/".join(parts))
