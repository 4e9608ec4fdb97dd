"""What can be wrong with an object store, in the few kinds that a user can do something about."""

import re
from collections.abc import Mapping
from typing import Literal

from adavae.model.errors import AdaVAEError
from adavae.service.errors import ServiceError

Kind = Literal["absent", "forbidden", "unreachable", "throttled", "failed"]

_RETRY_AFTER_S = 30
_SAID: Mapping[Kind, tuple[str, str]] = {
    "absent": ("is not there", "make the bucket, or correct ADAVAE_DATA"),
    "forbidden": ("refuses these credentials", "give them the rights to read, write, list and delete there"),
    "unreachable": ("cannot be reached", "see to the network and its address; nothing has to be restarted"),
    "throttled": ("takes no more requests for now", "wait, or ask less of it"),
    "failed": ("does not answer as it should", "see the service's log, and try again"),
}
_CODES: Mapping[Kind, str] = {"absent": "storage_unmounted", "forbidden": "storage_forbidden"}
_STATUS = re.compile(r"status code: (\d{3})")
_ABSENT = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_THROTTLED, _FORBIDDEN = ("429", "503"), ("401", "403")
_NOT_REACHED = ("error sending request", "error trying to connect", "operation timed out", "timed out", "dns error")
_LONGEST = 300


class StoreError(OSError):
    """An object store that cannot be used just now, or at all; for those who expect what a disk raises.

    Attributes:
        kind: What is wrong.
        reason: What the store or its library said, in one line.
    """

    def __init__(self, kind: Kind, address: str, reason: str) -> None:
        what, remedy = _SAID[kind]
        super().__init__(f"the object store {address} {what} ({reason}): {remedy}")
        self.kind, self.reason = kind, reason

    def answer(self) -> ServiceError:
        """The same as a reply: without what the store said, which is for the log."""
        what, remedy = _SAID[self.kind]
        message = f"the object store (ADAVAE_DATA) {what}: {remedy}"
        return ServiceError(503, _CODES.get(self.kind, f"storage_{self.kind}"), message, retry_after_s=_RETRY_AFTER_S)


class ObjectChanged(AdaVAEError):
    """Somebody else has changed an object since it was read."""


class StoreUnusable(AdaVAEError):
    """Nothing can be shared at this address: said when a program starts."""


def kind_of(error: Exception) -> Kind:
    """What an exception of the library comes to; it has hardly any kinds of its own."""
    text, name = str(error), type(error).__name__
    status = next(iter(_STATUS.findall(text)), None)
    if any(sign in text for sign in _ABSENT):
        return "absent"
    if name in ("PermissionDeniedError", "UnauthenticatedError") or status in _FORBIDDEN:
        return "forbidden"
    if status in _THROTTLED:
        return "throttled"
    if any(sign in text for sign in _NOT_REACHED):
        return "unreachable"
    return "failed"


def first_line(error: Exception) -> str:
    """What an exception says, without the library's own details."""
    lines = str(error).split("\n\nDebug source", 1)[0]
    return " ".join(lines.split())[:_LONGEST] or type(error).__name__
