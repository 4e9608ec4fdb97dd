"""Requests that hold one text or several, and what reading them took."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from adavae.service.schemas.body import Body
from adavae.service.schemas.fields import AdapterName, Text
from adavae.service.schemas.reply import Reply

Texts = Annotated[
    list[Text], Field(min_length=1, fail_fast=True, description="Texts; at most ADAVAE_MAX_TEXTS (256) of them.")
]
Truncate = Annotated[
    bool, Field(description="Cut texts that are longer than the backbone's context instead of refusing them.")
]

ONE_OF_TEXT_AND_TEXTS: dict[str, Any] = {
    "oneOf": [
        {"required": ["text"], "properties": {"text": {"type": "string"}, "texts": {"type": "null"}}},
        {"required": ["texts"], "properties": {"texts": {"type": "array"}, "text": {"type": "null"}}},
    ]
}


class TextOrTextsBody(Body):
    """One text or several."""

    model_config = ConfigDict(json_schema_extra=ONE_OF_TEXT_AND_TEXTS)

    texts: Texts | None = None
    text: Text | None = Field(default=None, description="One text; short for `texts` with one entry.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise PydanticCustomError("text_or_texts", "give exactly one of text and texts", {"field": "texts"})
        return self

    @property
    def all_texts(self) -> list[str]:
        return self.texts if self.texts is not None else [self.text or ""]


class TextsBody(TextOrTextsBody):
    """Texts to be read with an adapter set."""

    adapter: AdapterName | None = None
    truncate: Truncate = False


class EncodeUsage(Reply):
    texts: int
    tokens: int
    cached: int = Field(description="Texts that came from the cache.")
