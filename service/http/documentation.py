"""What OpenAPI says beside the routes themselves: texts, the errors each may answer, how keys are sent."""

import json
from pathlib import Path
from typing import Any

from fastapi import Security
from fastapi.params import Depends
from fastapi.security import APIKeyHeader, HTTPBearer

from adavae.service.schemas.reply import ErrorReply

DESCRIPTION = """A frozen GPT-2 as a latent-variable model of sentences: texts to vectors and back, and calculations on
the vectors in between.

Every request may name an adapter set, `name` or `name@version`; every reply names the one that made it. Every reply
has an `x-request-id`; every error has one shape. Limits are settings of the server; messages name the one that was
hit. The replies below are those to the first example of each request; vectors are cut to their first four numbers."""

TAGS = [
    {"name": "texts", "description": "Texts to latent vectors, to labels, and back."},
    {"name": "latent space", "description": "Sentences between two others, and changed like others."},
    {"name": "adapter sets", "description": "What is installed."},
    {"name": "files", "description": "Texts to train on, as OpenAI's clients send them."},
    {"name": "training", "description": "Jobs that make adapter sets, as OpenAI's clients drive them."},
    {"name": "health", "description": "For load balancers, monitoring and people."},
]

_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "description": "`error`, or left out."},
        "data": {"type": "string", "description": "JSON; `[DONE]` at the end."},
    },
}


def _event_stream(description: str, example: str) -> dict[int | str, dict[str, Any]]:
    content = {"text/event-stream": {"itemSchema": _EVENT, "example": example}}
    return {200: {"description": description, "content": content}}


STREAMED = _event_stream(
    "The texts, or with `stream: true` events.", 'data: {"index":0,"text":"the food"}\n\ndata: [DONE]\n\n'
)
WATCHED = _event_stream(
    "A page, or with `stream=true` events.",
    'id: ftevent-000000001\ndata: {"object":"fine_tuning.job.event", ...}\n\ndata: [DONE]\n\n',
) | {204: {"description": "The job is finished, and all of it was told by `Last-Event-ID`."}}
CARD: dict[int | str, dict[str, Any]] = {
    200: {"description": "Markdown.", "content": {"text/markdown": {"schema": {"type": "string"}}}}
}
ARCHIVE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`.tar.gz`.",
        "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
    }
}

ANSWERS = Path(__file__).with_name("answers.json")
"""Request and reply of each operation; ``tests.documented_answers`` asks a service for them."""

_ERRORS = {
    400: "The body is not JSON.",
    401: "No key, or an unknown one.",
    403: "The key lacks the scope.",
    404: "No such adapter set, file or job.",
    408: "The body did not come in time.",
    409: "Not possible with this one, or not now.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "A field is unknown, missing or out of range.",
    429: "The queue is full, or the rate limit is hit; see Retry-After.",
    503: "Not ready; see Retry-After.",
    504: "No answer within the deadline.",
}


def documented_answers() -> dict[str, dict[int | str, dict[str, Any]]]:
    """By path, the ``responses`` of the operations whose examples were answered with what is shown."""
    known = json.loads(ANSWERS.read_text(encoding="utf-8"))
    shown = {path: {"application/json": {"example": each["reply"]}} for path, each in known.items()}
    streamed = STREAMED[200]
    found: dict[str, dict[int | str, dict[str, Any]]] = {
        path: {200: {"description": "The answer.", "content": content}} for path, content in shown.items()
    }
    return {**found, "/decode": {200: {**streamed, "content": {**shown.get("/decode", {}), **streamed["content"]}}}}


def documented_errors(*statuses: int, has_keys: bool = False) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may answer with these statuses."""
    all_statuses = [*statuses, *((401, 403) if has_keys else ())]
    return {status: {"description": _ERRORS[status], "model": ErrorReply} for status in sorted(all_statuses)}


def documented_security(has_keys: bool) -> list[Depends]:
    """The two ways to send a key, where there are keys; ``service.http.access`` does the checking."""
    if not has_keys:
        return []
    return [
        Security(HTTPBearer(auto_error=False, description="An API key.")),
        Security(APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")),
    ]
