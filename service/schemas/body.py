"""What every request's body has in common."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Body(BaseModel):
    """A request: types as in JSON, finite numbers, no field unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, fields: Any) -> Any:
        """One error, with the field that was meant; pydantic's own would be one for each of a million fields."""
        if isinstance(fields, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            if (unknown := next((name for name in fields if name not in known), None)) is not None:
                shown = unknown[:100].encode(errors="replace").decode()
                context = {"field": shown, "remedy": _remedy(shown, known)}
                raise PydanticCustomError("unknown_field", "{remedy}", context)
        return fields


def _remedy(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"unknown field: did you mean {close[0]}?" if close else f"unknown field: the fields are {', '.join(known)}"
