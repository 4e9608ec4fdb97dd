"""POST /map on the wire."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.latent.map_points import MapMethod
from adavae.service.schemas.body import Body
from adavae.service.schemas.entries import at_most
from adavae.service.schemas.fields import AdapterName, EncodingFormat, Text, Whole
from adavae.service.schemas.reply import ListReply, Reply
from adavae.service.schemas.texts import EncodeUsage, Truncate
from adavae.service.settings import MOST_ENTRIES

MapTexts = Annotated[
    list[Text],
    Field(min_length=3, fail_fast=True, description="Texts; at least 3, at most ADAVAE_MAX_MAP_TEXTS (5000)."),
    *at_most(MOST_ENTRIES),
]
Label = Annotated[str, Field(min_length=1, max_length=100), Whole]


class MapBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "texts": ["the food was great.", "i loved it here.", "my room was dirty.", "never again."],
                    "labels": ["good", "good", "bad", "bad"],
                    "adapter": "yelp",
                }
            ]
        }
    )

    texts: MapTexts
    labels: Annotated[list[Label], Field(fail_fast=True), *at_most(MOST_ENTRIES)] | None = Field(
        default=None,
        description="One for each text: they do not move the points, how well they part is measured.",
    )
    method: MapMethod = Field(
        default="pca",
        description="`pca`: the directions in which the texts differ most, with the way back. `tsne`: neighbourhoods.",
    )
    adapter: AdapterName | None = None
    truncate: Truncate = False
    encoding_format: EncodingFormat = Field(default="float", description="Of `mean` and `basis`.")

    @model_validator(mode="after")
    def _one_label_a_text(self) -> Self:
        if self.labels is not None and len(self.labels) != len(self.texts):
            numbers = {"labels": len(self.labels), "texts": len(self.texts)}
            message = "has {labels} entries for {texts} texts: give one label for each text, or none at all"
            raise PydanticCustomError("one_label_a_text", message, {"field": "labels", **numbers})
        return self

    @model_validator(mode="after")
    def _has_a_way_back(self) -> Self:
        if self.encoding_format != "float" and self.method != "pca":
            message = "has no effect with method {method}, which has no mean and basis: leave it out"
            raise PydanticCustomError("no_effect", message, {"field": "encoding_format", "method": self.method})
        return self


class MapRow(Reply):
    index: int
    x: float
    y: float
    label: str | None = Field(default=None, description="As it was given.")
    nearest: int = Field(description="Index of the text whose encoding is nearest.")
    distance: float = Field(description="How far away that is, in z; 0 for a copy.")


class SeparationReply(Reply):
    """How well labels come apart in z."""

    accuracy: float = Field(description="Of a linear classifier over z on texts it has not seen, five folds.")
    majority: float = Field(description="Of always saying the most frequent label.")
    rows: int = Field(description="Texts whose label at least five texts have.")


class MapReply(ListReply):
    method: Literal["pca", "tsne"]
    data: list[MapRow]
    latent_size: int
    mean: list[float] | str | None = Field(
        description="(Z,), or base64 of little-endian float32; with `pca`: z = mean + x * basis[0] + y * basis[1]."
    )
    basis: list[list[float] | str] | None = Field(description="(2, Z), orthonormal, each as mean; with `pca`.")
    explained: list[float] | None = Field(description="Share of the variance along x and along y; with `pca`.")
    separation: SeparationReply | None = Field(description="With labels, where two of them have five texts.")
    usage: EncodeUsage
