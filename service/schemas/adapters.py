"""/adapters on the wire."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from adavae.service.schemas.reply import Reply


class AdaptersQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=1000, description="Entries at most.")
    after: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Continue after this entry, `name@version`: the last one of the previous page."
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
