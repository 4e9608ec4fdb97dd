"""The options of ``adavae train`` that replace a preset's settings; each has the name of the field it sets."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from adavae.model.config import AdapterPlacement, EncoderAttention, LatentAggregation, LatentInfusion
from adavae.service.commands.options import usage_errors

if TYPE_CHECKING:
    from adavae.model.training.config import TrainingConfig

_RUN = "Run (the preset's value if left out)"
_LATENT = "What is trained (the preset's value if left out)"
_OBJECTIVE = "Objective (the preset's value if left out)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """None means the preset's value."""

    epochs: Annotated[float | None, Option(help="Passes over the texts; fractions allowed.", rich_help_panel=_RUN)] = (
        None
    )
    max_steps: Annotated[int | None, Option(help="Stop after this many steps at the latest.", rich_help_panel=_RUN)] = (
        None
    )
    min_steps: Annotated[
        int | None,
        Option(help="Of few texts more passes, to this many steps; 0 with --epochs.", rich_help_panel=_RUN),
    ] = None
    batch_size: Annotated[int | None, Option(help="Texts a step.", rich_help_panel=_RUN)] = None
    min_batches: Annotated[
        int | None,
        Option(help="Of few texts fewer a step, to this many steps a pass; 1 with --batch-size.", rich_help_panel=_RUN),
    ] = None
    micro_batch_tokens: Annotated[
        int | None,
        Option(help="Tokens computed at once, which memory grows with; 2,048 (GPU: 32,768).", rich_help_panel=_RUN),
    ] = None
    learning_rate: Annotated[float | None, Option(help="Its peak.", rich_help_panel=_RUN)] = None
    learning_rate_schedule: Annotated[
        Literal["cosine", "linear", "constant"] | None, Option(help="How it falls.", rich_help_panel=_RUN)
    ] = None
    warmup_steps: Annotated[
        int | None, Option(help="Steps until the peak; at most a tenth of all.", rich_help_panel=_RUN)
    ] = None
    weight_decay: Annotated[float | None, Option(help="Of matrices, by AdamW and Muon.", rich_help_panel=_RUN)] = None
    max_gradient_norm: Annotated[float | None, Option(help="Gradients are clipped to this.", rich_help_panel=_RUN)] = (
        None
    )
    stage_one_share: Annotated[
        float | None, Option(help="Share of the run before the decoder's parts join.", rich_help_panel=_RUN)
    ] = None
    validations: Annotated[int | None, Option(help="How often to validate in a run.", rich_help_panel=_RUN)] = None
    patience: Annotated[
        int | None, Option(help="Validations without improvement before stopping early.", rich_help_panel=_RUN)
    ] = None
    checkpoint_every: Annotated[int | None, Option(help="Steps between checkpoints.", rich_help_panel=_RUN)] = None
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        Option(help="auto: bfloat16 where the processor has it.", rich_help_panel=_RUN),
    ] = None
    seed: Annotated[int | None, Option(help="Of every random choice of the run.", rich_help_panel=_RUN)] = None

    beta: Annotated[float | None, Option(help="Largest weight of the KL.", rich_help_panel=_OBJECTIVE)] = None
    beta_schedule: Annotated[
        Literal["cyclical", "constant"] | None, Option(help="How beta moves.", rich_help_panel=_OBJECTIVE)
    ] = None
    beta_cycles: Annotated[int | None, Option(help="Cycles of a cyclical beta.", rich_help_panel=_OBJECTIVE)] = None
    beta_zero_share: Annotated[
        float | None, Option(help="Share of a cycle with beta at zero.", rich_help_panel=_OBJECTIVE)
    ] = None
    beta_rise_share: Annotated[
        float | None, Option(help="Share of a cycle in which beta rises.", rich_help_panel=_OBJECTIVE)
    ] = None
    free_bits: Annotated[float | None, Option(help="lambda, in nats.", rich_help_panel=_OBJECTIVE)] = None
    free_bits_form: Annotated[
        Literal["per_dimension", "whole"] | None,
        Option(help="On each dimension's KL, or on the whole KL as in the paper's Eq. 4.", rich_help_panel=_OBJECTIVE),
    ] = None
    head_weight: Annotated[
        float | None, Option(help="Weight of the head's cross-entropy.", rich_help_panel=_OBJECTIVE)
    ] = None
    label_smoothing: Annotated[
        float | None, Option(help="Share of the head's target spread over all labels.", rich_help_panel=_OBJECTIVE)
    ] = None
    word_dropout: Annotated[
        float | None, Option(help="Share of the decoder's input hidden from it.", rich_help_panel=_OBJECTIVE)
    ] = None
    input_dropout: Annotated[
        float | None, Option(help="Largest share of a text that the encoder has to guess.", rich_help_panel=_OBJECTIVE)
    ] = None
    form_share: Annotated[
        float | None,
        Option(help="Share of texts that it reads in other case or spacing.", rich_help_panel=_OBJECTIVE),
    ] = None

    start: Annotated[
        Literal["random", "fitted"] | None,
        Option(help="Begin at random, or at a regression on the texts.", rich_help_panel=_OBJECTIVE),
    ] = None
    encoder_texts: Annotated[
        int | None,
        Option(help="With fewer texts, leave the encoder where a fitted start put it.", rich_help_panel=_OBJECTIVE),
    ] = None

    latent_size: Annotated[int | None, Option(help="Size of z.", rich_help_panel=_LATENT)] = None
    encoder_layers: Annotated[
        int | None, Option(help="Blocks of the backbone that the encoder uses.", rich_help_panel=_LATENT)
    ] = None
    encoder_attention: Annotated[
        EncoderAttention | None,
        Option(help="Whether the encoder's tokens see later ones.", rich_help_panel=_LATENT),
    ] = None
    adapter_placement: Annotated[
        AdapterPlacement | None, Option(help="Where the adapters stand.", rich_help_panel=_LATENT)
    ] = None
    adapter_size: Annotated[int | None, Option(help="The adapters' bottleneck.", rich_help_panel=_LATENT)] = None
    adapter_scale: Annotated[float | None, Option(help="The adapters' weight s.", rich_help_panel=_LATENT)] = None
    latent_aggregation: Annotated[
        LatentAggregation | None, Option(help="How hidden states become one vector.", rich_help_panel=_LATENT)
    ] = None
    latent_heads: Annotated[
        int | None, Option(help="Weighted sums of latent attention; 1 is the paper.", rich_help_panel=_LATENT)
    ] = None
    latent_infusion: Annotated[
        LatentInfusion | None, Option(help="How z enters the decoder.", rich_help_panel=_LATENT)
    ] = None
    latent_positions: Annotated[
        int | None, Option(help="Key/value positions made of z; 1 is the paper.", rich_help_panel=_LATENT)
    ] = None
    prefix_length: Annotated[
        int | None, Option(help="Learned key/value pairs a layer; 0 for none.", rich_help_panel=_LATENT)
    ] = None
    prefix_hidden: Annotated[
        int | None, Option(help="Width of the MLP behind the prefix.", rich_help_panel=_LATENT)
    ] = None

    def applied_to(self, preset: "TrainingConfig") -> "TrainingConfig":
        """The preset with the given options in place of its settings.

        Raises:
            typer.BadParameter: A value is out of range.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        with usage_errors():
            return preset.with_options({name: value for name, value in values.items() if value is not None})
