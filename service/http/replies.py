"""How answers are put into bytes: JSON with numpy arrays as they are, and the one shape of every error."""

import re
from typing import Any

import orjson
from starlette.responses import Response

from adavae.service.errors import ServiceError

_LONGEST_MESSAGE, _LONGEST_PARAM = 2000, 200


class JsonReply(Response):
    """A reply in JSON; float32 arrays inside are written without a detour over Python numbers."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content)


def to_json(content: Any) -> bytes:
    """Compact UTF-8 JSON; arrays must be contiguous."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def error_body(error: ServiceError) -> dict[str, object]:
    """The body of every reply that is not a success, and of a stream's ``error`` event."""
    param = error.param if error.param is None else _printable(error.param, _LONGEST_PARAM)
    message = _printable(error.message, _LONGEST_MESSAGE)
    return {"error": {"message": message, "type": error.type, "param": param, "code": error.code}}


def error_reply(error: ServiceError, headers: dict[str, str] | None = None) -> JsonReply:
    """The reply that an error means, with Retry-After where another try makes sense."""
    named = dict(headers or {})
    if error.retry_after_s is not None:
        named["retry-after"] = str(error.retry_after_s)
    if error.status == 409:
        named["x-should-retry"] = "false"  # openai's clients would send it twice again
    if error.status == 401:
        named["www-authenticate"] = "Bearer"
    return JsonReply(error_body(error), error.status, named)


def internal_error(request_id: str) -> ServiceError:
    """What a client learns of a failure of ours: nothing but where its entry in the log is."""
    return ServiceError(
        500, "internal_error", f"the server failed: tell its operator the request id {request_id}, which its log has"
    )


def _printable(text: str, longest: int) -> str:
    """At most so long, and nothing in it that JSON in UTF-8 cannot hold (half surrogate pairs)."""
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return re.sub(r"[\ud800-\udfff]", "\ufffd", cut)
