"""What every request's body has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.spelling import unknown_field


class Body(BaseModel):
    """A request: types as in JSON, finite numbers, no field unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, fields: Any) -> Any:
        refuse_unknown(cls, fields)
        return fields


def refuse_unknown(kind: type[BaseModel], fields: Any) -> None:
    """One error, with the field that was meant; pydantic's own would be one for each of a million fields."""
    if isinstance(fields, dict):
        known = [field.alias or name for name, field in kind.model_fields.items()]
        if (unknown := unknown_field(fields, known)) is not None:
            name, remedy = unknown
            raise PydanticCustomError("unknown_field", "{remedy}", {"field": name, "remedy": remedy})
