"""From an exception to its reply: errors of the service and the model, of validation, and of the framework."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from adavae.model.errors import AdaVAEError
from adavae.service.errors import InvalidRequest, ServiceError, service_error
from adavae.service.http.path_prefix import path_of
from adavae.service.http.replies import error_reply

_log = structlog.get_logger("adavae.request")
_LONGEST_SHOWN = 60
_NO_OBJECT = {"model_type", "model_attributes_type", "dict_type"}
_NOT_OFFERED = {
    "/v1/batches": "batches are not offered: send lists of texts to POST /v1/embeddings, some requests at a time, or "
    "run `adavae encode --file` where the service runs",
}
"""Parts of OpenAI's interface that its clients know, by the beginning of their paths, and what to use instead."""

_CODES = {
    404: "route_not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    429: "overloaded",
}


def add_error_replies(app: FastAPI) -> None:
    """Every kind of error that a route may raise; any other is left to ``RequestLog``."""
    app.add_exception_handler(AdaVAEError, _reply_to_adavae_error)
    app.add_exception_handler(RequestValidationError, _reply_to_invalid)
    app.add_exception_handler(HTTPException, _reply_to_http)


async def _reply_to_adavae_error(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, AdaVAEError)
    error = service_error(exc)
    if error.status == 500:
        _log.error("request_failed", exc_info=exc)  # the entry that the reply tells of
    return error_reply(error)


async def _reply_to_invalid(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    return error_reply(_invalid(exc.errors()[0]))


async def _reply_to_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers or {})
    if exc.status_code == 405:
        headers = {"allow": _allowed(request)}
    return error_reply(_http_error(request, exc), headers)


def _http_error(request: Request, exc: HTTPException) -> ServiceError:
    status = exc.status_code
    if status == 400:
        return ServiceError(
            400, "malformed_json", "the body cannot be read as JSON: send UTF-8, not compressed, and not nested deeply"
        )
    path = path_of(request.scope)
    named = f"{request.method[:20]} {path[:100]}"
    known = next((told for start, told in _NOT_OFFERED.items() if f"{path}/".startswith(f"{start}/")), None)
    messages = {
        404: known or f"there is no route {named}: GET /docs shows those there are",
        405: f"{named}: this route takes {_allowed(request)}",
    }
    return ServiceError(status, _CODES.get(status, "http_error"), messages.get(status, str(exc.detail)))


def _allowed(request: Request) -> str:
    """Every method of the path; the framework names those of one of its routes only."""
    path = getattr(request.scope.get("route"), "path", "")
    methods = [method.upper() for method in request.app.openapi()["paths"].get(path, ("get",))]
    return ", ".join([*methods, "HEAD"] if "GET" in methods else methods)


def _invalid(first: dict[str, Any]) -> ServiceError:
    """The first thing that is wrong: a client corrects one at a time."""
    kind, where = first["type"], [place for place in first["loc"][1:] if not str(place).startswith("<")]
    if kind == "json_invalid":
        reason = f"{first['ctx']['error']} at character {where[0]}"
        return ServiceError(400, "malformed_json", f"the body is not JSON: {reason[:200]}")
    context = first.get("ctx", {})
    field = _path([*where, context["field"]] if "field" in context else where)
    reason = "must be a JSON object" if kind in _NO_OBJECT else _lower_first(first["msg"]) + _value_given(first)
    return InvalidRequest(f"{field or 'the body'}: {reason}", param=field or None, code=_code(kind))


def _code(kind: str) -> str:
    return {"missing": "missing_field", "unknown_field": "unknown_field"}.get(kind, "invalid_value")


def _path(places: Sequence[int | str]) -> str:
    """("decoding", "top_p") as decoding.top_p, ("z", 0, 3) as z[0][3]."""
    return "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places).lstrip(".")


def _value_given(error: dict[str, Any]) -> str:
    """The value, where it is short and not a user's text."""
    value = error.get("input")
    if isinstance(value, bool | int | float) and error["type"] != "missing":
        shown = repr(value) if not isinstance(value, int) or abs(value) < 10**_LONGEST_SHOWN else "a huge number"
        return f", not {shown}"
    return ""


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
