"""What the service answers when it cannot do as asked: one error, one body, one table from the model's errors to it."""

import errno
from typing import Literal

from adavae.model.errors import (
    AdapterSetExists,
    AdapterSetMismatch,
    AdapterSetNotFound,
    AdaVAEError,
    ConfigError,
    LatentShapeError,
    LogitsNotFinite,
    SequenceTooLong,
    StorageFull,
    WeightsCorrupted,
)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk that takes no more says."""

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found",
    "conflict",
    "overloaded",
    "not_ready",
    "timeout",
    "internal_error",
]

_TYPES: dict[int, ErrorType] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found",
    405: "invalid_request_error",
    408: "timeout",
    409: "conflict",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "overloaded",
    500: "internal_error",
    503: "not_ready",
    504: "timeout",
}


class ServiceError(AdaVAEError):
    """An answer other than success.

    Attributes:
        status: HTTP status.
        code: Short and stable, for programs.
        message: Names the value, the limit and the remedy.
        param: The request's field it is about, or None.
        retry_after_s: After how many seconds another try makes sense, or None.
    """

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.param, self.retry_after_s = param, retry_after_s

    @property
    def type(self) -> ErrorType:
        return _TYPES.get(self.status, "invalid_request_error")


class InvalidRequest(ServiceError):
    """A field is out of range."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(422, code, message, param=param)


class Overloaded(ServiceError):
    """The queue is full; refused before anything was queued."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(429, "overloaded", message, retry_after_s=retry_after_s)


class BankFull(Overloaded):
    """An adapter set does not fit into memory beside those in use; it will once some of them have left."""


class EngineStopped(ServiceError):
    """The engine is starting, stopping, or its device thread died and is being started again."""

    def __init__(self, message: str, *, retry_after_s: int = 2) -> None:
        super().__init__(503, "engine_stopped", message, retry_after_s=retry_after_s)


class DeadlineExceeded(ServiceError):
    """The answer was not ready in time; its rows were freed."""

    def __init__(self, timeout_s: float) -> None:
        message = f"no answer within {timeout_s:g} s: ask for fewer rows or fewer tokens, or try again later"
        super().__init__(504, "deadline_exceeded", message)


_TABLE: dict[type[AdaVAEError], tuple[int, str, str | None]] = {
    AdapterSetNotFound: (404, "adapter_not_found", "adapter"),
    AdapterSetMismatch: (409, "adapter_mismatch", "adapter"),
    AdapterSetExists: (409, "adapter_exists", "adapter"),
    SequenceTooLong: (422, "text_too_long", None),
    LatentShapeError: (422, "invalid_z", None),
    LogitsNotFinite: (422, "not_finite", None),
    ConfigError: (422, "invalid_value", None),
    WeightsCorrupted: (503, "adapter_corrupted", "adapter"),
}


def service_error(error: AdaVAEError) -> ServiceError:
    """The answer that an error of the model means; a ServiceError is its own answer."""
    if isinstance(error, ServiceError):
        return error
    if (answer := full_disk(error)) is not None:
        return answer
    for kind, (status, code, param) in _TABLE.items():
        if isinstance(error, kind):
            named = error.field if isinstance(error, ConfigError) else param
            return ServiceError(status, code, str(error), param=named, retry_after_s=5 if status == 503 else None)
    return ServiceError(500, "internal_error", "the server failed; the request id names the entry in its log")


def full_disk(error: Exception) -> ServiceError | None:
    """The answer where an error means that this machine's disk takes no more, without the place; None for any other."""
    is_full = isinstance(error, StorageFull) or (isinstance(error, OSError) and error.errno in DISK_FULL)
    if not is_full:
        return None
    message = "the service's disk takes no more: ask who runs the service to make room, and try again"
    return ServiceError(503, "storage_full", message, retry_after_s=30)
