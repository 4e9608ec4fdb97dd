"""Requests that hold one text or several, and what reading them took."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.errors import ConfigError
from adavae.model.pairs import joined
from adavae.service.schemas.body import Body
from adavae.service.schemas.entries import at_most
from adavae.service.schemas.fields import AdapterName, Text
from adavae.service.schemas.reply import Reply
from adavae.service.settings import MOST_ENTRIES

Texts = Annotated[
    list[Text],
    Field(min_length=1, fail_fast=True, description="Texts; at most ADAVAE_MAX_TEXTS (256) of them."),
    *at_most(MOST_ENTRIES),
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

    @property
    def params(self) -> list[str]:
        """What each text is called in an error."""
        return ["text"] if self.texts is None else [f"texts[{number}]" for number in range(len(self.texts))]


class TextsBody(TextOrTextsBody):
    """Texts, or pairs of them, to be read with an adapter set."""

    adapter: AdapterName | None = None
    truncate: Truncate = False
    text_pair: Text | None = Field(default=None, description="The second text of a pair whose first is `text`.")
    text_pairs: Texts | None = Field(default=None, description="The second text of each of `texts`.")
    _pairs: list[str] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _pairs_fit(self) -> Self:
        if self.text_pair is not None and self.text is None:
            raise _refuse("text_pair", "text_pair goes with text: give text_pairs with texts")
        if self.text_pairs is not None:
            if self.texts is None:
                raise _refuse("text_pairs", "text_pairs goes with texts: give text_pair with text")
            if len(self.text_pairs) != len(self.texts):
                counts = f"{len(self.text_pairs)} entries and texts {len(self.texts)}"
                raise _refuse("text_pairs", f"text_pairs has {counts}: give one for each text")
        if self.text_pair is not None:
            seconds, names = [self.text_pair], [("text", "text_pair")]
        else:
            seconds = self.text_pairs or []
            names = [(f"texts[{number}]", f"text_pairs[{number}]") for number in range(len(seconds))]
        if seconds:
            try:
                self._pairs = list(map(joined, super().all_texts, seconds, names))
            except ConfigError as exc:
                raise _refuse(exc.field, str(exc)) from exc
        return self

    @property
    def all_texts(self) -> list[str]:
        """The texts as the model reads them, pairs joined."""
        return super().all_texts if self._pairs is None else self._pairs


def _refuse(field: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("text_pair", "{message}", {"field": field, "message": message})


class EncodeUsage(Reply):
    texts: int
    tokens: int
    cached: int = Field(description="Texts that came from the cache.")
