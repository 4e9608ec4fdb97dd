"""Which set is expected, whoever keeps it: a place may hand out another one tomorrow.

A set's digest is the sha256 of its manifest, which names the sha256 of each of its files.
"""

import re
from dataclasses import dataclass
from typing import Self

from adavae.model.errors import WeightsCorrupted, shown
from adavae.model.storage.manifest import Manifest
from adavae.service.sharing.errors import SharingError

_REFERENCE = re.compile(r"[^@#\s]+@[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Pin:
    """What a set must be; None where anything will do.

    Attributes:
        reference: ``name@version``.
        digest: 64 hexadecimal digits.
    """

    reference: str | None = None
    digest: str | None = None

    @classmethod
    def of(cls, text: str) -> Self:
        """From a sha256, ``name@version``, or both as ``name@version#sha256``.

        Raises:
            SharingError: It is none of these.
        """
        head, is_both, tail = text.strip().partition("#")
        reference = head if "@" in head else None
        digest = (tail if reference else head).lower().removeprefix("sha256:") or None
        is_right = (
            (reference is None or _REFERENCE.fullmatch(reference))
            and (digest is None or _DIGEST.fullmatch(digest))
            and (reference is not None or not is_both)
            and (reference or digest)
        )
        if not is_right:
            raise SharingError(
                f"{shown(text)} says of no set which one it is: write its sha256 (64 hexadecimal digits), "
                "NAME@VERSION, or NAME@VERSION#SHA256, as `adavae adapters push` prints it"
            )
        return cls(reference, digest)

    def and_also(self, other: "Pin") -> "Pin":
        """Both together.

        Raises:
            SharingError: They contradict each other.
        """
        for ours, theirs in ((self.reference, other.reference), (self.digest, other.digest)):
            if ours is not None and theirs is not None and ours != theirs:
                raise SharingError(f"the address says {ours} and --digest says {theirs}: give one of them")
        return Pin(self.reference or other.reference, self.digest or other.digest)

    def check(self, manifest: Manifest) -> None:
        """Raises WeightsCorrupted where the set is another one."""
        for what, expected, found in (
            ("set", self.reference, manifest.reference),
            ("digest", self.digest, manifest.digest),
        ):
            if expected is not None and expected != found:
                raise WeightsCorrupted(
                    f"the {what} there is {found}, expected is {expected}: another set has been put there; nothing was "
                    "installed"
                )
