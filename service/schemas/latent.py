"""What goes over the wire: requests as they are checked, replies as they are documented.

Limits that are settings (how many texts, steps, samples, tokens) are checked in ``routes.limits``; sizes that depend on
the adapter set, by the service itself.
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.service.errors import ErrorType

_EXAMPLE_Z: list[JsonValue] = [round(0.8 - 0.05 * place, 2) for place in range(32)]
_STRATEGY_OF = {"temperature": "sample", "top_k": "sample", "top_p": "sample", "num_beams": "beam"}
_DEFAULT_MAX_TOKENS = 48


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
Texts = Annotated[
    list[Text], Field(min_length=1, fail_fast=True, description="Texts; at most ADAVAE_MAX_TEXTS (256) of them.")
]
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
    list[Literal["z"]], Field(fail_fast=True, max_length=8, description="`z`: put each row's latent vector in.")
]
Truncate = Annotated[
    bool, Field(description="Cut texts that are longer than the backbone's context instead of refusing them.")
]


class Body(BaseModel):
    """A request: types as in JSON, finite numbers, no field unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, fields: Any) -> Any:
        """One error, with the field that was meant; pydantic's own would be one for each of a million fields."""
        if isinstance(fields, dict):
            known = list(cls.model_fields)
            if (unknown := next((name for name in fields if name not in cls.model_fields), None)) is not None:
                shown = unknown[:100].encode(errors="replace").decode()
                context = {"field": shown, "remedy": _remedy(shown, known)}
                raise PydanticCustomError("unknown_field", "{remedy}", context)
        return fields


def _remedy(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"unknown field: did you mean {close[0]}?" if close else f"unknown field: the fields are {', '.join(known)}"


_ONE_OF_TEXT_AND_TEXTS: dict[str, Any] = {
    "oneOf": [
        {"required": ["text"], "properties": {"text": {"type": "string"}, "texts": {"type": "null"}}},
        {"required": ["texts"], "properties": {"texts": {"type": "array"}, "text": {"type": "null"}}},
    ]
}


class TextsBody(Body):
    """One text or several."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_TEXT_AND_TEXTS)

    texts: Texts | None = None
    text: Text | None = Field(default=None, description="One text; short for `texts` with one entry.")
    adapter: AdapterName | None = None
    truncate: Truncate = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise PydanticCustomError("text_or_texts", "give either text or texts, one of both", {"field": "texts"})
        return self

    @property
    def all_texts(self) -> list[str]:
        return self.texts if self.texts is not None else [self.text or ""]


class EncodeBody(TextsBody):
    model_config = ConfigDict(
        json_schema_extra=_ONE_OF_TEXT_AND_TEXTS
        | {"examples": [{"texts": ["the food was great.", "my room was dirty."], "adapter": "yelp"}]}
    )

    normalize: bool = Field(default=False, description="Scale each mu to length 1.")
    include: list[Literal["logvar"]] = Field(
        default=[], fail_fast=True, max_length=8, description="`logvar`: put the posterior's log variance in."
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="`float`: arrays of numbers. `base64`: little-endian float32."
    )


class ClassifyBody(TextsBody):
    model_config = ConfigDict(
        json_schema_extra=_ONE_OF_TEXT_AND_TEXTS
        | {"examples": [{"texts": ["the food was great.", "my room was dirty."], "adapter": "yelp", "top_k": 1}]}
    )

    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="The k most probable labels; all if left out."
    )


class DecodingBody(Body):
    """How tokens are chosen. Same seed, same request, same adapter version: same text."""

    strategy: Literal["greedy", "sample", "beam"] = Field(
        default="greedy", description="Take the likeliest token, draw one, or search for the likeliest text."
    )
    temperature: float = Field(default=1.0, ge=0.01, le=10.0, description="Sampling: below 1 is safer, above wilder.")
    top_k: int = Field(default=0, ge=0, le=1_000_000, description="Sampling: among the k likeliest tokens; 0 is off.")
    top_p: float = Field(
        default=1.0, ge=0.01, le=1.0, description="Sampling: among the tokens that hold this probability; 1 is off."
    )
    repetition_penalty: float = Field(
        default=1.0, ge=1.0, le=10.0, description="Above 1 makes tokens already written less likely."
    )
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Longest text, in tokens; at most ADAVAE_MAX_TOKENS (128). 48 if left out."
    )
    num_beams: int = Field(default=4, ge=1, le=16, description="Beam search: texts kept at every step.")
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="Of every random choice; row i uses seed + i.")

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> Self:
        for name, needed in _STRATEGY_OF.items():
            if needed != self.strategy and getattr(self, name) != type(self).model_fields[name].default:
                raise PydanticCustomError(
                    "no_effect",
                    "has no effect with strategy {strategy}: set strategy to {needed}, or leave it out",
                    {"field": name, "strategy": self.strategy, "needed": needed},
                )
        return self

    def to_decoding(self, longest: int) -> Decoding:
        """The model's own form; ``longest`` bounds what is taken where max_tokens was left out."""
        return Decoding(
            strategy=Strategy(self.strategy),
            temperature=float(self.temperature),
            top_k=self.top_k,
            top_p=float(self.top_p),
            repetition_penalty=float(self.repetition_penalty),
            max_tokens=min(_DEFAULT_MAX_TOKENS, longest) if self.max_tokens is None else self.max_tokens,
            num_beams=self.num_beams,
            seed=self.seed,
        )


class DecodeBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["z"], "properties": {"z": {"type": "array"}, "samples": {"type": "null"}}},
                {"required": ["samples"], "properties": {"samples": {"type": "integer"}, "z": {"type": "null"}}},
            ],
            "examples": [
                {"samples": 3, "adapter": "yelp", "decoding": {"strategy": "sample", "top_p": 0.9, "seed": 7}},
                {"z": [_EXAMPLE_Z], "adapter": "yelp-lm"},
            ],
        }
    )

    z: Annotated[list[Row], Field(min_length=1, fail_fast=True)] | None = Field(
        default=None,
        description="Latent vectors, each as long as the adapter set's `latent_size`; at most ADAVAE_MAX_SAMPLES (64).",
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Draw this many new texts instead; at most ADAVAE_MAX_SAMPLES (64)."
    )
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    stream: bool = Field(default=False, description="Answer with server-sent events, piece by piece.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.z is None) == (self.samples is None):
            raise PydanticCustomError("z_or_samples", "give either z or samples, one of both", {"field": "z"})
        return self


class InterpolateBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "the food was terrible and the staff was rude.",
                    "target": "great place, we will be back!",
                    "steps": 7,
                    "adapter": "yelp",
                },
            ]
        }
    )

    source: Text = Field(description="The first sentence's text.")
    target: Text = Field(description="The last sentence's text.")
    steps: int = Field(
        default=5, ge=2, description="Sentences returned, both ends included; at most ADAVAE_MAX_STEPS (64)."
    )
    method: Literal["linear", "spherical"] = Field(default="linear", description="Along the line, or along the arc.")
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = []

    @property
    def interpolation(self) -> Interpolation:
        return Interpolation(self.method)


class AnalogyBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "a": "bad food, bad service, never again!",
                    "b": "great food, great service, love it!",
                    "c": "the staff was rude and the food was cold.",
                    "adapter": "yelp",
                }
            ]
        }
    )

    a: Text = Field(description="A text.")
    b: Text = Field(description="The same text, changed.")
    c: Text = Field(description="The text to change likewise.")
    scale: float = Field(default=1.0, description="How far to go: z = z_c + scale * (z_b - z_a).")
    samples: int = Field(default=1, ge=1, description="How many answers; at most ADAVAE_MAX_SAMPLES (64).")
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = []


class AdaptersQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=1000, description="Entries at most.")
    after: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Go on after this entry, `name@version`: the last one of the page before."
    )


class Reply(BaseModel):
    """Documents a reply; the routes write it without validating it again."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Reply):
    message: str = Field(description="The value, the limit and the remedy.")
    type: ErrorType
    param: str | None = Field(description="The request's field it is about.")
    code: str = Field(description="Short and stable, for programs.")


class ErrorReply(Reply):
    error: ErrorDetail


class AdapterRefReply(Reply):
    name: str
    version: str


class EncodeUsage(Reply):
    texts: int
    tokens: int
    cached: int = Field(description="Texts that came from the cache.")


class DecodeUsage(Reply):
    texts: int
    tokens: int


class ListReply(Reply):
    object: Literal["list"] = "list"
    adapter: AdapterRefReply = Field(description="The adapter set and version that made this reply.")


class EncodeRow(Reply):
    index: int
    mu: list[float] | str = Field(description="(Z,), or base64 of little-endian float32.")
    logvar: list[float] | str | None = Field(default=None, description="As mu; only where asked for.")
    tokens: int
    truncated: bool
    cached: bool


class EncodeReply(ListReply):
    data: list[EncodeRow]
    latent_size: int
    usage: EncodeUsage


class DecodeRow(Reply):
    index: int
    text: str
    tokens: int
    finish_reason: Literal["stop", "length"]


class DecodeReply(ListReply):
    data: list[DecodeRow]
    usage: DecodeUsage


class InterpolateRow(DecodeRow):
    tau: float
    z: list[float] | None = Field(default=None, description="(Z,); only where asked for.")


class InterpolateReply(ListReply):
    data: list[InterpolateRow]
    usage: DecodeUsage


class AnalogyRow(DecodeRow):
    z: list[float] | None = Field(default=None, description="(Z,); only where asked for.")


class AnalogyReply(ListReply):
    data: list[AnalogyRow]
    usage: DecodeUsage


class LabelScore(Reply):
    label: str
    score: float


class ClassifyRow(Reply):
    index: int
    label: str
    scores: list[LabelScore] = Field(description="Highest first.")
    tokens: int
    cached: bool


class ClassifyReply(ListReply):
    data: list[ClassifyRow]
    usage: EncodeUsage


class AdapterReply(Reply):
    object: Literal["adapter"] = "adapter"
    id: str = Field(description="`name@version`.")
    name: str
    version: str
    latent_size: int | None
    kind: str | None = Field(description="The preset it was trained with.")
    labels: list[str] = Field(description="Of its classification head; empty where it has none.")
    metrics: dict[str, float]
    backbone_digest: str | None
    created_at: str | None
    bundled: bool
    default: bool = Field(description="Whether requests that name no adapter set get this one.")
    current: bool = Field(description="Whether the name alone means this version.")
    loaded: bool
    problem: str | None = Field(description="Why it is refused.")


class AdapterListReply(Reply):
    object: Literal["list"] = "list"
    data: list[AdapterReply]
    has_more: bool


class DeletedAdapter(Reply):
    object: Literal["adapter"] = "adapter"
    id: str
    name: str
    version: str
    deleted: Literal[True] = True


class DeletedReply(Reply):
    object: Literal["list"] = "list"
    data: list[DeletedAdapter]
    has_more: Literal[False] = False


class StatusReply(Reply):
    status: Literal["ok", "ready"]
