"""GET /healthz and /readyz on the wire."""

from typing import Literal

from pydantic import Field

from adavae.service.schemas.reply import Reply


class StatusReply(Reply):
    status: Literal["ok", "ready"]
    warning: str | None = Field(default=None, description="What cannot be done all the same; left out where all can.")
