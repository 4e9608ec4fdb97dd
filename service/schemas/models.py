"""/v1/models on the wire, in OpenAI's shapes: an adapter set is a model."""

from typing import Literal

from pydantic import Field

from adavae.service.schemas.reply import Reply


class ModelReply(Reply):
    object: Literal["model"] = "model"
    id: str = Field(description="`name`; of a version that the name alone does not mean, `name@version`.")
    created: int = Field(description="Seconds since 1970; 0 where it is not known.")
    owned_by: str


class ModelListReply(Reply):
    object: Literal["list"] = "list"
    data: list[ModelReply]


class ModelDeletedReply(Reply):
    object: Literal["model"] = "model"
    id: str
    deleted: Literal[True] = True
