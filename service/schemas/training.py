"""What /v1/fine_tuning/jobs takes and gives: OpenAI's shapes, and beside them what was found and what is measured."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.decoding.decoding import NUM_SEEDS
from adavae.model.errors import ConfigError
from adavae.model.storage.adapter_name import check_name
from adavae.service.jobs.hyperparameters import Hyperparameters, PresetName
from adavae.service.jobs.records.job import NewJob
from adavae.service.schemas.body import Body
from adavae.service.schemas.entries import at_most
from adavae.service.schemas.fields import Whole
from adavae.service.schemas.query import Query
from adavae.service.schemas.reply import Reply

EVENT_ID = r"^ftevent-[0-9]{1,12}$"
IDEMPOTENCY_KEY = r"^[!-~]+$"
_METADATA_FILTER = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)


def _adapter_name(name: str) -> str:
    try:
        return check_name(name)
    except ConfigError as exc:
        raise PydanticCustomError("adapter_name", "{message}", {"message": str(exc)}) from exc


FileId = Annotated[str, Field(min_length=1, max_length=200), Whole]
AdapterSetName = Annotated[
    str,
    Field(min_length=1, max_length=64, json_schema_extra={"pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}),
    AfterValidator(_adapter_name),
]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64), Whole], Annotated[str, Field(max_length=512), Whole]],
    *at_most(16),
]


class SupervisedBody(Body):
    hyperparameters: Hyperparameters = Hyperparameters()


class MethodBody(Body):
    type: Literal["supervised"]
    supervised: SupervisedBody = SupervisedBody()


class JobBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "bundled",
                    "training_file": "file-000000000000000000000000",
                    "suffix": "reviews",
                    "hyperparameters": {"preset": "generation", "n_epochs": 2},
                },
            ]
        }
    )

    model: Annotated[str, Field(min_length=1, max_length=1000), Whole] = Field(
        description="The backbone: `bundled`, or what ADAVAE_BACKBONE names."
    )
    training_file: FileId = Field(description="Id of the uploaded texts.")
    validation_file: FileId | None = Field(
        default=None, description="Id of texts to measure on; some of the training texts are held back if left out."
    )
    suffix: AdapterSetName = Field(description="The adapter set's name; a name that exists gets a new version.")
    hyperparameters: Hyperparameters | None = Field(default=None, description="What is left out is the preset's.")
    method: MethodBody | None = Field(default=None, description="OpenAI's newer place for the hyperparameters.")
    seed: Annotated[int, Field(ge=0, le=NUM_SEEDS - 1)] | None = Field(
        default=None, description="Of every random choice; drawn if left out."
    )
    metadata: Metadata | None = Field(default=None, description="Your own labels, given back as they are.")
    integrations: Annotated[list[Any], *at_most(0)] | None = Field(default=None, description="There are none here.")

    @model_validator(mode="before")
    @classmethod
    def _ask_for_a_name(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("suffix") is None and fields.keys() <= cls.model_fields.keys():
            message = "is missing: name the adapter set that the job makes, for example reviews"
            raise PydanticCustomError("missing", "{message}", {"message": message, "field": "suffix"})
        return fields

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.hyperparameters is not None and self.method is not None:
            raise PydanticCustomError(
                "hyperparameters_or_method", "give either hyperparameters or method, not both", {"field": "method"}
            )
        return self

    def to_new_job(self) -> NewJob:
        """The job that is asked for, with what was given of its hyperparameters."""
        wanted = self.method.supervised.hyperparameters if self.method is not None else self.hyperparameters
        given = wanted.model_dump(exclude_unset=True, exclude_none=True) if wanted is not None else {}
        return NewJob(
            training_file=self.training_file,
            validation_file=self.validation_file,
            backbone=self.model,
            adapter_name=self.suffix,
            hyperparameters=given,
            seed=self.seed,
            metadata=self.metadata or {},
        )


class JobsQuery(BaseModel):
    """Its fields, and ``metadata[key]=value`` any number of times."""

    model_config = ConfigDict(extra="allow")

    limit: int = Field(default=20, ge=1, le=100, description="Entries at most.")
    after: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Continue after this job: the last one of the previous page."
    )

    @model_validator(mode="after")
    def _refuse_unknown(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if not _METADATA_FILTER.fullmatch(name) or not isinstance(value, str):
                shown = name[:100].encode(errors="replace").decode()
                message = "unknown or repeated: the parameters are limit, after, and metadata[key] once for each key"
                raise PydanticCustomError("unknown_field", "{message}", {"message": message, "field": shown})
        return self

    @property
    def metadata(self) -> dict[str, str]:
        """Pairs that a job must have to be listed."""
        found = ((_METADATA_FILTER.fullmatch(name), value) for name, value in (self.model_extra or {}).items())
        return {match[1]: value for match, value in found if match is not None}


class CheckpointsQuery(Query):
    limit: int = Field(default=10, ge=1, le=100, description="Entries at most.")
    after: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Continue after this checkpoint: the last one of the previous page."
    )


class EventsQuery(Query):
    limit: int = Field(default=20, ge=1, le=100, description="Entries at most; not for a stream.")
    after: Annotated[str, Field(pattern=EVENT_ID)] | None = Field(
        default=None,
        description="Continue after this event: a page towards the oldest one, a stream towards the newest.",
    )
    stream: bool = Field(default=False, description="Server-sent events, as they happen, until the job is finished.")


class HyperparametersReply(Reply):
    """What the job trains with."""

    preset: PresetName
    n_epochs: float | Literal["auto"]
    steps: int | None
    batch_size: int
    learning_rate_multiplier: float | Literal["auto"]
    learning_rate: float
    latent_size: int
    adapter_size: int
    encoder_layers: int
    encoder_attention: str
    adapter_placement: str
    adapter_scale: float
    latent_aggregation: str
    latent_heads: int
    latent_infusion: str
    latent_positions: int
    prefix_length: int
    prefix_hidden: int
    free_bits: float
    free_bits_form: str
    beta: float
    beta_schedule: str
    beta_cycles: int
    beta_zero_share: float
    beta_rise_share: float
    stage_one_share: float
    word_dropout: float
    input_dropout: float
    form_share: float
    label_smoothing: float
    head_weight: float
    start: str
    encoder_texts: int
    validations: int


class SupervisedReply(Reply):
    hyperparameters: HyperparametersReply


class MethodReply(Reply):
    type: Literal["supervised"]
    supervised: SupervisedReply


class JobErrorReply(Reply):
    code: str
    message: str
    param: str | None


class JobReply(Reply):
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    id: str
    created_at: int = Field(description="Seconds since 1970.")
    finished_at: int | None
    model: str = Field(description="The backbone.")
    fine_tuned_model: str | None = Field(description="`name@version` of the adapter set, once it is there.")
    organization_id: str
    status: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
    training_file: str
    validation_file: str | None
    hyperparameters: HyperparametersReply
    method: MethodReply
    trained_tokens: int | None
    result_files: list[str]
    seed: int
    error: JobErrorReply | None
    estimated_finish: int | None
    integrations: list[Any]
    metadata: dict[str, str]
    suffix: str = Field(description="The adapter set's name.")
    attempt: int = Field(description="How many times a worker has taken the job up.")
    report: dict[str, Any] = Field(description="What was found in the data.")
    progress: dict[str, Any] | None = Field(description="Newest figures: step, total_steps, losses, tokens_per_s ...")
    metrics: dict[str, Any] | None = Field(description="Of the adapter set on the validation texts.")
    owner: str | None = Field(description="Name of the key that made it; null where there were no keys.")


class JobListReply(Reply):
    object: Literal["list"] = "list"
    data: list[JobReply]
    has_more: bool


class EventReply(Reply):
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    id: str
    created_at: int
    level: Literal["info", "warn", "error"]
    type: Literal["message", "metrics"]
    message: str
    data: dict[str, Any]


class EventListReply(Reply):
    object: Literal["list"] = "list"
    data: list[EventReply]
    has_more: bool


class CheckpointMetrics(Reply):
    step: int
    train_loss: float | None = Field(default=None, description="Nats per token.")
    valid_loss: float | None = Field(default=None, description="Nats per token.")


class CheckpointReply(Reply):
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str = Field(description="`name@version` of the adapter set.")
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics


class CheckpointListReply(Reply):
    object: Literal["list"] = "list"
    data: list[CheckpointReply]
    has_more: bool
    first_id: str | None
    last_id: str | None
