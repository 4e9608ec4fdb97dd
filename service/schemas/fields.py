"""Fields that several requests have."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo
from pydantic_core import PydanticCustomError

from adavae.service.schemas.entries import MOST_NUMBERS, at_most
from adavae.service.settings import MOST_ENTRIES


def _whole(text: str) -> str:
    """The text, if it can be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise PydanticCustomError(
            "half_surrogate",
            "half of a surrogate pair at character {place}: send whole characters",
            {"place": exc.start},
        ) from exc
    return text


Whole = AfterValidator(_whole)
Text = Annotated[str, Field(min_length=1), Whole]
# Tags in angle brackets tell the members of a union apart; no error shows them (``http.error_replies``).
ManyTexts = Annotated[list[Text], Field(min_length=1, fail_fast=True), *at_most(MOST_ENTRIES)]
TextOrTexts = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[ManyTexts, Tag("<texts>")],
    Discriminator(lambda given: "<texts>" if isinstance(given, list) else "<text>"),
]
Label = Annotated[str, Field(min_length=1, max_length=200), Whole]
# How many characters a vector has is checked against the adapter set (``latent_inputs``), before they are decoded.
LatentVector = Annotated[
    Annotated[list[float], Field(min_length=1, fail_fast=True), *at_most(MOST_NUMBERS), Tag("<numbers>")]
    | Annotated[str, Field(min_length=1, json_schema_extra={"contentEncoding": "base64"}), Tag("<base64>")],
    Discriminator(lambda given: "<base64>" if isinstance(given, str) else "<numbers>"),
]
EncodingFormat = Annotated[
    Literal["float", "base64"],
    Field(description="`float`: arrays of numbers. `base64`: little-endian float32."),
]
AdapterName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Adapter set, `name` or `name@version`; the configured default if left out.",
    ),
    Whole,
]
IncludeZ = Annotated[
    list[Literal["z"]], Field(fail_fast=True, description="`z`: add each row's latent vector."), *at_most(8)
]


def _shows_z(encoding_format: str, info: ValidationInfo) -> str:
    """``encoding_format``, where there is something that it is about."""
    if encoding_format != "float" and "z" not in info.data.get("include", ("z",)):
        raise PydanticCustomError("no_effect", 'has no effect without z: set include to ["z"], or leave it out')
    return encoding_format


ZFormat = Annotated[EncodingFormat, AfterValidator(_shows_z)]
"""Of a body that has ``include`` before it."""
