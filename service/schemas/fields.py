"""Fields that several requests have."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError


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
ManyTexts = Annotated[list[Text], Field(min_length=1, fail_fast=True)]
TextOrTexts = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[ManyTexts, Tag("<texts>")],
    Discriminator(lambda given: "<texts>" if isinstance(given, list) else "<text>"),
]
Label = Annotated[str, Field(min_length=1, max_length=200), Whole]
Row = Annotated[list[float], Field(min_length=1, fail_fast=True)]
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
    list[Literal["z"]], Field(fail_fast=True, max_length=8, description="`z`: add each row's latent vector.")
]
