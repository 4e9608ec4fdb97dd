"""What replies have in common, and the one shape of errors."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from adavae.service.errors import ErrorType


class Reply(BaseModel):
    """Documents a reply; the routes write it without validating it again."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Reply):
    message: str = Field(description="The value, the limit and the remedy.")
    type: ErrorType
    param: str | None = Field(description="The request's field it is about.")
    code: str = Field(description="Short and stable, for programs.")


class ErrorReply(Reply):
    error: ErrorDetail


class AdapterRefReply(Reply):
    name: str
    version: str


class ListReply(Reply):
    object: Literal["list"] = "list"
    adapter: AdapterRefReply = Field(description="The adapter set and version that made this reply.")
