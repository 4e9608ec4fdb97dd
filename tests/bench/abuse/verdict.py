"""What is wrong with an answer: whatever is sent, it is served or refused in words, and never a failure of ours."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2

DOCUMENTED = (
    "storage_",  # and what the volume does
    "overloaded",
    "too_many_connections",
    "adapter_corrupted",
    "job_damaged",
    "job_busy",
    "file_damaged",
    "bank_full",
)
"""Codes, or their beginnings, of the answers 503 that say what somebody else has to mend or wait for."""


def complaint(reply: httpx2.Response) -> str | None:
    """Of an answer that may be success or a refusal."""
    if reply.status_code < 400:
        return None
    return refusal_complaint(reply.status_code, reply.content)


def refused(reply: httpx2.Response, *statuses: int) -> str | None:
    """Of an answer that must be a refusal, of one of these statuses where some are given."""
    if reply.status_code < 400:
        return f"was taken: {reply.status_code} {reply.text[:200]}"
    if statuses and reply.status_code not in statuses:
        return f"was answered {reply.status_code} and not {statuses}: {reply.text[:200]}"
    return complaint(reply)


def refusal_complaint(status: int, content: bytes) -> str | None:
    """Of a refusal: it says why, in the one shape, and where it is of the service, with a documented code."""
    error = error_of(content)
    if error is None:
        return f"{status} without a reason: {content[:200]!r}"
    code = str(error["code"])
    if status >= 500 and not (status == 503 and code.startswith(DOCUMENTED)):
        return f"{status} {code}: {error['message'][:200]}"
    return None


def error_of(content: bytes) -> Mapping[str, Any] | None:
    """The error in a reply's body; None where it has none of the documented shape."""
    try:
        error = json.loads(content)["error"]
    except (ValueError, TypeError, KeyError):
        return None
    is_shaped = isinstance(error, dict) and set(error) == {"message", "type", "param", "code"}
    return error if is_shaped and error["message"] else None


def first(*complaints: str | None) -> str | None:
    """The first there is."""
    return next((each for each in complaints if each is not None), None)
