"""``adavae pretrain``: a backbone from plain text, as the bundled one was made."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adavae.model.errors import TrainingInterrupted
from adavae.service import loading
from adavae.service.commands import checkpoints
from adavae.service.commands.checkpoints import RestartOption, ResumeOption
from adavae.service.commands.interrupt import stop_on_signal
from adavae.service.commands.options import DeviceOption, JsonOption, takes, usage_errors
from adavae.service.commands.output_lock import sole_writer
from adavae.service.commands.terminal import Output, Record, progress_display
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    import torch

    from adavae.model.storage.pretrained import PretrainedBackbone
    from adavae.model.training.pretrain import PretrainProgress
    from adavae.model.training.pretrain_config import PretrainConfig

_SHAPE = "Shape of a fresh backbone (a small GPT-2's if left out)"
_RUN = "Run (sensible values if left out)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeOptions:
    """Fields of BackboneConfig; None means the value of the small GPT-2."""

    n_layer: Annotated[int | None, typer.Option(help="Blocks.", rich_help_panel=_SHAPE)] = None
    n_embd: Annotated[int | None, typer.Option(help="Width.", rich_help_panel=_SHAPE)] = None
    n_head: Annotated[int | None, typer.Option(help="Attention heads.", rich_help_panel=_SHAPE)] = None
    n_inner: Annotated[int | None, typer.Option(help="Width inside the MLP.", rich_help_panel=_SHAPE)] = None
    n_positions: Annotated[int | None, typer.Option(help="Longest context.", rich_help_panel=_SHAPE)] = None
    vocab_size: Annotated[int | None, typer.Option(help="Tokens of the tokenizer.", rich_help_panel=_SHAPE)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainOptions:
    """Fields of PretrainConfig; None means its default."""

    epochs: Annotated[float | None, typer.Option(help="Passes over the texts.", rich_help_panel=_RUN)] = None
    max_steps: Annotated[int | None, typer.Option(help="Stop after this many steps.", rich_help_panel=_RUN)] = None
    batch_size: Annotated[int | None, typer.Option(help="Short windows a step.", rich_help_panel=_RUN)] = None
    window: Annotated[int | None, typer.Option(help="Tokens a short window.", rich_help_panel=_RUN)] = None
    long_window: Annotated[int | None, typer.Option(help="Tokens a long window.", rich_help_panel=_RUN)] = None
    long_share: Annotated[
        float | None, typer.Option(help="Share of the run, at its end, with long windows.", rich_help_panel=_RUN)
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Its peak.", rich_help_panel=_RUN)] = None
    weight_decay: Annotated[
        float | None, typer.Option(help="Of the matrices; embeddings half of it.", rich_help_panel=_RUN)
    ] = None
    dropout: Annotated[
        float | None, typer.Option(help="Of the embeddings and of what a block adds.", rich_help_panel=_RUN)
    ] = None
    masked_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the windows in which hidden tokens are predicted from both sides, as the encoder reads.",
            rich_help_panel=_RUN,
        ),
    ] = None
    mask_rate: Annotated[
        float | None, typer.Option(help="Share of such a window's tokens that are hidden.", rich_help_panel=_RUN)
    ] = None
    is_separate: Annotated[
        bool | None,
        typer.Option(
            "--separate/--continuous",
            help="Whether a text sees nothing of those beside it in a window (separate if left out).",
            rich_help_panel=_RUN,
        ),
    ] = None
    warmup_steps: Annotated[int | None, typer.Option(help="Steps until the peak.", rich_help_panel=_RUN)] = None
    max_gradient_norm: Annotated[
        float | None, typer.Option(help="Gradients are clipped to this.", rich_help_panel=_RUN)
    ] = None
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.", rich_help_panel=_RUN)] = (
        None
    )
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option(help="auto: bfloat16 where the processor has it.", rich_help_panel=_RUN),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Of every random choice.", rich_help_panel=_RUN)] = None


@takes(ShapeOptions, "shape")
@takes(PretrainOptions, "options")
def pretrain(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="TEXTS...", help="Texts, in files of any kind that train reads; FILE*1.5 is seen so often."
        ),
    ],
    options: PretrainOptions,
    shape: ShapeOptions,
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the new backbone.", show_default=False)],
    init_from: Annotated[
        str | None, typer.Option("--init-from", help="Go on training this backbone: a directory or a hub id.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="Directory whose tokenizer a fresh backbone takes over.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="Texts to measure the finished backbone's perplexity on.")
    ] = None,
    resume: ResumeOption = False,
    restart: RestartOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a backbone from plain text; `ADAVAE_BACKBONE=DIRECTORY` uses it afterwards.

    Ctrl-C keeps a checkpoint: the same command with --resume goes on from there.
    """
    settings = load_settings()
    config = _config(options, shape)
    texts = None if held_out is None else _read_texts(held_out)
    with sole_writer(output):
        checkpoints.claim(output, resume=resume, restart=restart)
        where = loading.prepare_device(settings, device)
        on_begin = checkpoints.discarding(output, restart=restart)
        pretrained = _pretrain(config, sources, output, init_from, tokenizer, where, on_begin, resume=resume)
    Output.of(as_json).write_object(_record(pretrained, output, texts))


def _config(options: PretrainOptions, shape: ShapeOptions) -> "PretrainConfig":
    from adavae.model.training.config import Precision
    from adavae.model.training.pretrain_config import SMALL_GPT2, PretrainConfig

    values, sizes = _given(options), _given(shape)
    if "precision" in values:
        values["precision"] = Precision(values["precision"])
    if "n_embd" in sizes:
        sizes.setdefault("n_inner", 4 * sizes["n_embd"])
    with usage_errors():
        backbone = replace(SMALL_GPT2, **sizes) if sizes else None
        return PretrainConfig(backbone=backbone, **values)


def _given(options: PretrainOptions | ShapeOptions) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: value for name, value in values.items() if value is not None}


def _read_texts(path: Path) -> tuple[str, ...]:
    from adavae.model.training.corpus import read_dataset

    return read_dataset(path).texts


def _pretrain(
    config: "PretrainConfig",
    sources: list[Path],
    output: Path,
    init_from: str | None,
    tokenizer: Path | None,
    device: "torch.device",
    on_begin: Callable[[], None],
    *,
    resume: bool,
) -> "PretrainedBackbone":
    from adavae.model.training.pretrain import pretrain as run

    files, repeats = _with_repeats(sources)
    try:
        with progress_display() as display, stop_on_signal() as should_stop:

            def show(progress: "PretrainProgress") -> None:
                figures = f"loss {progress.loss:.3f}  {progress.tokens_per_s:,.0f} tokens/s"
                display.update("pretrain", progress.step, progress.total_steps, figures, eta_s=progress.eta_s)

            return run(
                config,
                files,
                output,
                repeats=repeats,
                init_from=init_from,
                tokenizer_from=tokenizer,
                resume=resume,
                on_begin=on_begin,
                on_progress=show,
                should_stop=should_stop,
                device=device,
            )
    except TrainingInterrupted as exc:
        raise checkpoints.with_remedy(exc) from exc


def _with_repeats(sources: list[Path]) -> tuple[list[Path], list[float]]:
    """Splits ``FILE*1.5`` into the file and 1.5; a plain file is read once."""
    files: list[Path] = []
    repeats: list[float] = []
    for source in sources:
        name, star, times = str(source).rpartition("*")
        try:
            repeats.append(float(times) if star else 1.0)
        except ValueError as exc:
            raise typer.BadParameter(f"{source}: after * must be a number: how often the file is seen") from exc
        files.append(Path(name) if star else source)
    return files, repeats


def _record(pretrained: "PretrainedBackbone", output: Path, texts: tuple[str, ...] | None) -> Record:
    from adavae.model.training.language_model import held_out_perplexity

    record: Record = {
        "path": str(output),
        "digest": pretrained.digest,
        "parameters": pretrained.backbone.num_parameters,
    }
    if texts is not None:
        perplexity = held_out_perplexity(pretrained, texts)
        figures = {"perplexity_per_word": perplexity.per_word, "perplexity_per_token": perplexity.per_token}
        record |= {name: value for name, value in figures.items() if math.isfinite(value)}  # JSON has no infinity
        record["texts"] = perplexity.num_texts
    return record
