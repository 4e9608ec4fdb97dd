"""What the parameters behind a path's question mark have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from adavae.service.schemas.body import refuse_unknown


class Query(BaseModel):
    """Parameters of one request, none unknown."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, fields: Any) -> Any:
        refuse_unknown(cls, fields)
        return fields
