"""GET /key: what the caller may do, so that a page can say so before anything is refused."""

from typing import Literal

from fastapi import Request
from pydantic import Field

from adavae.service.http.api_keys import SCOPES, ApiKey
from adavae.service.http.replies import JsonReply
from adavae.service.schemas.reply import Reply


class KeyReply(Reply):
    object: Literal["key"] = "key"
    is_needed: bool
    scopes: list[Literal["infer", "train", "admin"]]
    name: str | None = Field(description="Whose its files, jobs and sets are; not the key itself.")


async def get_key(request: Request) -> JsonReply:
    """The scopes and the name of the request's key; without keys everyone has every scope."""
    key: ApiKey | None = request.state.api_key
    scopes = [scope for scope in SCOPES if key is None or scope in key.scopes]
    name = key.name if key is not None else None
    return JsonReply({"object": "key", "is_needed": key is not None, "scopes": scopes, "name": name})
