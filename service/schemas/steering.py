"""How a request says where z is led and how its text is chosen, and how a z is shown."""

from typing import Annotated

from pydantic import Field

from adavae.service.schemas.decoding import DecodeRow

Refine = Annotated[
    float | None,
    Field(
        ge=0.0,
        le=1.0,
        description="How far z is led back to where real texts lie, by the adapter set's prior: 0 leaves it as it is, "
        "near 1 little of it is left. The measured best if left out.",
    ),
]
Truncation = Annotated[
    float | None,
    Field(
        ge=0.0,
        le=2.0,
        description="Share of z's distance from the middle of all texts that is kept: 1 is all of it, less is safer "
        "and blander. The measured best if left out.",
    ),
]
Depth = Annotated[
    float | None,
    Field(
        ge=0.0,
        le=1.0,
        description="How far the middle of the walk is drawn towards the middle of all texts: 0 is not at all; both "
        "ends stay what they are. The measured best if left out.",
    ),
]
Focus = Annotated[
    float | None,
    Field(
        ge=0.0,
        le=1.0,
        description="0 takes b - a as it is; 1, where that crosses from one of the set's labels to another, the way "
        "between these labels alone, so that more of c is kept.",
    ),
]
Candidates = Annotated[
    int | None,
    Field(
        ge=1,
        le=1000,
        description="Texts written for each z, of which the one is returned that comes nearest to it and reads best; "
        "at most ADAVAE_MAX_CANDIDATES (32). The measured best if left out.",
    ),
]


class LatentRow(DecodeRow):
    """A text, and the z that it was written for."""

    z: list[float] | str | None = Field(
        default=None, description="(Z,), or base64 of little-endian float32; only where asked for."
    )
    typicality: float | None = Field(
        default=None,
        description="Beside z: share of real texts at least as far from the middle; 0 is farther off than any. null "
        "where the adapter set has no prior.",
    )
