"""GET /healthz and /readyz on the wire."""

from typing import Literal

from adavae.service.schemas.reply import Reply


class StatusReply(Reply):
    status: Literal["ok", "ready"]
