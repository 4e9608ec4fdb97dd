"""POST /v1/embeddings on the wire, in OpenAI's shapes."""

from typing import Annotated, Literal, cast

from pydantic import ConfigDict, Discriminator, Field, Tag

from adavae.service.schemas.body import Body
from adavae.service.schemas.entries import at_most
from adavae.service.schemas.fields import AdapterName, EncodingFormat, ManyTexts, Text
from adavae.service.schemas.reply import Reply
from adavae.service.settings import MOST_ENTRIES

TokenIds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1, fail_fast=True), *at_most(MOST_ENTRIES)
]
ManyTokenIds = Annotated[list[TokenIds], Field(min_length=1, fail_fast=True), *at_most(MOST_ENTRIES)]


def _kind(given: object) -> str:
    if not isinstance(given, list):
        return "<text>"
    first = given[0] if given else None
    if isinstance(first, list):
        return "<lists of token ids>"
    return "<token ids>" if isinstance(first, int) and not isinstance(first, bool) else "<texts>"


EmbeddingInput = Annotated[
    Annotated[Text, Tag("<text>")]
    | Annotated[ManyTexts, Tag("<texts>")]
    | Annotated[TokenIds, Tag("<token ids>")]
    | Annotated[ManyTokenIds, Tag("<lists of token ids>")],
    Discriminator(_kind),
    Field(
        description="A text, texts, the token ids of one text, or of several, by the backbone's own tokenizer; at most "
        "ADAVAE_MAX_EMBEDDING_TEXTS (2048) texts."
    ),
]


class EmbeddingsBody(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "yelp", "input": ["the food was great.", "my room was dirty."]}]}
    )

    input: EmbeddingInput
    model: AdapterName
    encoding_format: EncodingFormat = "float"
    dimensions: int | None = Field(
        default=None, ge=1, le=4096, description="The leading principal directions only; all of z if left out."
    )
    user: Annotated[str, Field(max_length=1000)] | None = Field(default=None, description="Accepted, and not kept.")

    @property
    def inputs(self) -> list[str | list[int]]:
        """One entry a text."""
        if isinstance(self.input, str):
            return [self.input]
        is_one = isinstance(self.input[0], int)  # token ids of one text
        return [cast(list[int], self.input)] if is_one else cast(list[str | list[int]], self.input)

    @property
    def params(self) -> list[str]:
        """What each entry is called in an error."""
        is_one = isinstance(self.input, str) or isinstance(self.input[0], int)
        return ["input"] if is_one else [f"input[{number}]" for number in range(len(self.input))]


class EmbeddingRow(Reply):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="Of length 1, or base64 of little-endian float32.")


class EmbeddingsUsage(Reply):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(Reply):
    object: Literal["list"] = "list"
    data: list[EmbeddingRow]
    model: str = Field(description="`name@version` of the adapter set.")
    usage: EmbeddingsUsage
