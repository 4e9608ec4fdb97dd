"""``adavae train``: from a file of texts to an adapter set that every other command finds."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from adavae.model.errors import TrainingInterrupted, TrainingProcessLost
from adavae.model.training.progress import judged_by
from adavae.model.training.readers.columns import Columns
from adavae.service import loading
from adavae.service.commands import checkpoints
from adavae.service.commands.checkpoints import RestartOption, ResumeOption
from adavae.service.commands.interrupt import stop_on_signal
from adavae.service.commands.jobs import summary
from adavae.service.commands.options import (
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    PairColumnOption,
    TextColumnOption,
    takes,
    usage_errors,
)
from adavae.service.commands.output_lock import sole_writer
from adavae.service.commands.remote import RemoteService
from adavae.service.commands.remote_training import hyperparameters, refuse_local_only, train_remotely, usage
from adavae.service.commands.tensorboard_log import TensorboardLog, scalars
from adavae.service.commands.terminal import Output, ProgressDisplay, Record, progress_display, say
from adavae.service.commands.training_options import TrainingOptions
from adavae.service.settings import Settings, load_settings

if TYPE_CHECKING:
    from adavae.model.storage.adapter_set import AdapterSet
    from adavae.model.storage.manifest import Manifest
    from adavae.model.storage.pretrained import PretrainedBackbone
    from adavae.model.training.preparation import TrainingRequest
    from adavae.model.training.progress import Progress

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Texts: .csv or .tsv with a header, .jsonl, .json, .parquet, or .txt; also .gz, .xz, .zst.",
        show_default=False,
    ),
]
NameOption = Annotated[str, typer.Option("--name", "-n", help="Name of the new adapter set.", show_default=False)]
PresetName = Literal["generation", "language-modelling", "classification"]
PresetOption = Annotated[
    PresetName, typer.Option("--preset", "-p", help="What the set is for: the settings to start from.")
]
ValidationOption = Annotated[
    Path | None, typer.Option("--validation", help="Texts held back from training; split off DATA if left out.")
]


LimitOption = Annotated[int | None, typer.Option("--limit", min=2, help="Train on so many texts, drawn by the seed.")]
InitFromOption = Annotated[
    str | None,
    typer.Option("--init-from", metavar="NAME[@VERSION]", help="Go on from this set: its sizes, its tensors."),
]
CutOption = Annotated[
    bool, typer.Option("--truncate", help="Cut texts that are longer than the context instead of refusing them.")
]
TensorboardOption = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        file_okay=False,
        metavar="DIR",
        help="Write the run's figures into DIR/NAME for TensorBoard too.",
    ),
]
ProcessesOption = Annotated[
    int, typer.Option("--nproc", min=1, metavar="N", help="Processes that share each step's texts; a GPU for each.")
]
RemoteOption = Annotated[
    str | None, typer.Option("--remote", metavar="URL", help="Train there: send the texts, and watch the job.")
]


_BUSY = "it is being trained now by another command; wait for that one, or give another name"


@takes(TrainingOptions, "options")
def train(
    data: DataArgument,
    name: NameOption,
    options: TrainingOptions,
    preset: PresetOption = "generation",
    validation: ValidationOption = None,
    limit: LimitOption = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    pair_column: PairColumnOption = None,
    init_from: InitFromOption = None,
    truncate: CutOption = False,
    resume: ResumeOption = False,
    restart: RestartOption = False,
    tensorboard: TensorboardOption = None,
    nproc: ProcessesOption = 1,
    remote: RemoteOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an adapter set on your own texts, measure it on texts held back, and install it.

    Ctrl-C keeps a checkpoint: the same command with --resume goes on from there. With --remote a running service
    trains, and goes on without you.
    """
    settings = load_settings()
    _check_name(name)
    if remote is not None:
        local = {
            "limit": limit,
            "init_from": init_from,
            "device": device,
            "tensorboard": tensorboard,
            "nproc": nproc > 1,
        }
        switches = {"resume": resume, "restart": restart}
        refuse_local_only([option for option, value in (local | switches).items() if value])
        service = RemoteService.at(remote, settings)
        body: dict[str, Any] = {"model": settings.backbone, "suffix": name}
        body |= {"hyperparameters": hyperparameters(options, preset), "seed": options.seed}
        columns = {"text_column": text_column, "label_column": label_column, "pair_column": pair_column}
        job = train_remotely(service, data=data, validation=validation, columns=columns, body=body)
        Output.of(as_json).write_object(summary(job))
        say(usage(service, job["fine_tuned_model"]))
        return
    settings.need_directory("`adavae train`")
    settings.runs.mkdir(parents=True, exist_ok=True)
    directory = settings.runs / name
    with sole_writer(directory, given=f"--name is {name}", busy=_BUSY):
        checkpoints.claim(directory, resume=resume, restart=restart)
        pretrained = _loaded(settings, device)
        initial = _initial(settings, init_from)
        request = replace(
            _request(pretrained, name, data, validation, preset, options, limit, initial, truncate=truncate),
            columns=Columns(text_column, label_column, pair_column),
        )
        log = None if tensorboard is None else TensorboardLog(tensorboard / name)
        adapter_set = _train(
            request,
            pretrained,
            directory,
            settings.own_adapters,
            log,
            checkpoints.discarding(directory, restart=restart),
            resume=resume,
            nproc=nproc,
        )
        checkpoints.release(directory)
    Output.of(as_json).write_object(_record(adapter_set, settings.own_adapters))


def _check_name(name: str) -> None:
    from adavae.model.storage.adapter_name import check_name

    with usage_errors():
        check_name(name)


def _loaded(settings: Settings, device: DeviceOption) -> "PretrainedBackbone":
    with progress_display() as display:  # torch alone takes seconds to be imported
        display.update("load the backbone", 0, None)
        pretrained = loading.load_pretrained(settings, device, weight_format="float16")
        display.update("load the backbone", 1, 1)
    return pretrained


def _initial(settings: Settings, reference: str | None) -> "AdapterSet | None":
    return loading.open_store(settings).read(reference) if reference else None


def _request(
    pretrained: "PretrainedBackbone",
    name: str,
    data: Path,
    validation: Path | None,
    preset: PresetName,
    options: TrainingOptions,
    limit: int | None,
    initial: "AdapterSet | None",
    *,
    truncate: bool,
) -> "TrainingRequest":
    from adavae.model.training.config import Preset, preset_config
    from adavae.model.training.preparation import TrainingRequest

    config = preset_config(Preset(preset), pretrained.backbone.config)
    if initial is not None:
        config = config.going_on_from(initial.manifest.reference, initial.manifest.config)
    return TrainingRequest(
        name=name,
        data=data,
        validation=validation,
        config=options.applied_to(config),
        truncate=truncate,
        limit=limit,
        initial=initial,
        command=_command_line(sys.argv[1:]),
    )


def _command_line(arguments: list[str]) -> str:
    """The command as typed, for the model card; without how often the run was interrupted."""
    return shlex.join(["adavae", *(each for each in arguments if each not in ("--resume", "--restart", "--json"))])


def _train(
    request: "TrainingRequest",
    pretrained: "PretrainedBackbone",
    directory: Path,
    destination: Path,
    log: TensorboardLog | None,
    on_begin: Callable[[], None],
    *,
    resume: bool,
    nproc: int,
) -> "AdapterSet":
    from adavae.model.training.run import train_adapter_set
    from adavae.service.jobs.worker.verdict import judge_use

    @contextmanager
    def publishing(manifest: "Manifest") -> Iterator[None]:
        judge_use(manifest.metrics, manifest.config.labels, manifest.training["preset"])
        yield

    try:
        with progress_display() as display, stop_on_signal() as should_stop:
            return train_adapter_set(
                request,
                pretrained,
                directory=directory,
                destination=destination,
                resume=resume,
                on_begin=on_begin,
                on_preparation=lambda stage, done, total: display.update(stage, done, total or None),
                on_progress=_shown_on(display, log),
                on_evaluation=_measuring_on(display, should_stop),
                on_note=say,
                should_stop=should_stop,
                publishing=publishing,
                num_processes=nproc,
            )
    except (TrainingInterrupted, TrainingProcessLost) as exc:
        raise checkpoints.with_remedy(exc) from exc


def _shown_on(display: ProgressDisplay, log: TensorboardLog | None) -> Callable[["Progress"], None]:
    def show(progress: "Progress") -> None:
        if log is not None:
            log.add(progress.step, scalars(asdict(progress)))
        display.update("train", progress.step, progress.total_steps, _figures(progress), eta_s=progress.eta_s)

    return show


def _measuring_on(display: ProgressDisplay, should_stop: Callable[[], bool]) -> Callable[[str, int, int], None]:
    """Shows the progress of measuring, and stops it when asked to; the trained set is in the checkpoint by then."""

    def show(stage: str, done: int, total: int) -> None:
        display.update(stage, done, total)
        if should_stop():
            raise TrainingInterrupted("stopped while measuring the finished set; checkpoint kept")

    return show


def _figures(progress: "Progress") -> str:
    shown = f"loss {progress.loss:.3f}  rec {progress.reconstruction_nats:.2f}  kl {progress.kl_nats:.2f}"
    if progress.head_nats:
        shown += f"  head {progress.head_nats:.3f}"
    if progress.validation_loss is not None:
        shown += f"  validation {progress.validation_loss:.3f}"
    if judged := judged_by(asdict(progress)):
        shown += f"  {judged}"
    return f"{shown}  {progress.tokens_per_s:,.0f} tokens/s"


def _record(adapter_set: "AdapterSet", root: Path) -> Record:
    manifest = adapter_set.manifest
    return {
        "adapter": manifest.reference,
        "path": str(root / manifest.name / manifest.version),
        "labels": list(manifest.config.labels),
        "steps": manifest.training["steps"],
        "stopped_early": manifest.training["stopped_early"],
        "best_step": manifest.training["best_step"],
        "decoder_from": manifest.training["decoder_from"],
        "is_decoder_trained": manifest.training["is_decoder_trained"],
        "validation_loss": manifest.training["validation_loss"],
        "duration_s": manifest.training["duration_s"],
        "metrics": manifest.metrics,
    }
