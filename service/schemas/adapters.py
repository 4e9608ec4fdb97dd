"""/adapters on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field

from adavae.service.schemas.query import Query
from adavae.service.schemas.reply import Reply


class AdaptersQuery(Query):
    limit: int = Field(default=100, ge=1, le=1000, description="Entries at most.")
    after: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Continue after this entry, `name@version`: the last one of the previous page."
    )


IMPORT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A set's `.tar.gz`, at most ADAVAE_MAX_UPLOAD_BYTES; may also be sent as application/gzip.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ImportQuery(Query):
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="What it shall be called here, which makes it a version of its own."
    )


class AdapterReply(Reply):
    object: Literal["adapter"] = "adapter"
    id: str = Field(description="`name@version`.")
    name: str
    version: str
    latent_size: int | None
    kind: str | None = Field(description="The preset it was trained with.")
    labels: list[str] = Field(description="Of its classification head; empty where it has none.")
    metrics: dict[str, float]
    backbone_digest: str | None
    created_at: str | None
    bundled: bool
    default: bool = Field(description="Whether requests that name no adapter set get this one.")
    current: bool = Field(description="Whether the name alone means this version.")
    loaded: bool
    problem: str | None = Field(description="Why it is refused.")


class AdapterListReply(Reply):
    object: Literal["list"] = "list"
    data: list[AdapterReply]
    has_more: bool


class DeletedAdapter(Reply):
    object: Literal["adapter"] = "adapter"
    id: str
    name: str
    version: str
    deleted: Literal[True] = True


class DeletedReply(Reply):
    object: Literal["list"] = "list"
    data: list[DeletedAdapter]
    has_more: Literal[False] = False
