"""HTTP/1.1 as it is understood in one way only: what another program could read differently is refused.

h11 bounds a head that comes in pieces, but not one that comes at once; it lets ``Transfer-Encoding`` win over
``Content-Length``, as RFC 9112 allows, where a balancer in front may have decided otherwise.

The absolute form of a target, ``GET http://host/path``, as clients of a proxy send it, is taken apart here (RFC 9112,
section 3.2.2): behind this, a target is a path, and its host stands in ``Host``, whatever stood there before.
"""

import re
from typing import Any

import h11

from adavae.service.errors import ServiceError

MAX_HEAD_BYTES = 32 * 1024
_MAX_HEADERS = 100
_VERSIONS = frozenset({b"1.0", b"1.1"})
_ABSOLUTE = re.compile(rb"(?i:https?)://(?P<host>[^/?#@\\]+)(?P<path>/[^#]*)?(?P<query>\?[^#]*)?")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
_REMEDY = "send a request of HTTP/1.1, and close the connection"


class StrictConnection(h11.Connection):
    """h11's connection of a server; ``refusal`` is what to answer after it has raised ``RemoteProtocolError``."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.refusal: ServiceError | None = None

    def next_event(self) -> Any:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as exc:
            self.refusal = _refusal(exc)
            raise
        if isinstance(event, h11.Request):
            self.refusal = _problem_of(event)
            if self.refusal is not None:
                raise h11.RemoteProtocolError(self.refusal.message, self.refusal.status)
            return _in_origin_form(event)
        return event


def _in_origin_form(request: h11.Request) -> h11.Request:
    """The request with a path as its target."""
    found = _ABSOLUTE.fullmatch(request.target)
    if found is None:
        return request
    headers = [(b"host", found["host"]), *((name, value) for name, value in request.headers if name != b"host")]
    target = (found["path"] or b"/") + (found["query"] or b"")
    return h11.Request(method=request.method, target=target, headers=headers, http_version=request.http_version)


def _refusal(exc: h11.RemoteProtocolError) -> ServiceError:
    """Without h11's own words, which may hold what was sent: a key, for one."""
    if exc.error_status_hint == 431:
        return _too_large(f"more than {MAX_HEAD_BYTES} bytes")
    if exc.error_status_hint == 501:
        message = f"the transfer coding is not chunked, which is the only one that is known: {_REMEDY}"
        return ServiceError(501, "unknown_transfer_coding", message)
    return ServiceError(400, "malformed_http", f"this cannot be read as HTTP: {_REMEDY}")


def _problem_of(request: h11.Request) -> ServiceError | None:
    """What is wrong with a head that h11 has understood, or None."""
    if request.http_version not in _VERSIONS:
        version = request.http_version.decode("ascii")
        return ServiceError(505, "unknown_http_version", f"the version is HTTP/{version}: {_REMEDY}")
    if _SCHEME.match(request.target) and not _ABSOLUTE.fullmatch(request.target):
        message = f"the target is an address, but none of http://host/path: {_REMEDY}"
        return ServiceError(400, "malformed_target", message)
    names = [name for name, _ in request.headers]
    if len(names) > _MAX_HEADERS:
        return _too_large(f"{len(names)} lines, the limit is {_MAX_HEADERS}")
    num_bytes = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
    if num_bytes > MAX_HEAD_BYTES:
        return _too_large(f"{num_bytes} bytes, the limit is {MAX_HEAD_BYTES}")
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        message = "the request says in two ways how long its body is: send either Content-Length or Transfer-Encoding"
        return ServiceError(400, "ambiguous_length", message)
    return None


def _too_large(size: str) -> ServiceError:
    return ServiceError(431, "headers_too_large", f"line and headers have {size}: send fewer and shorter headers")
