"""``adavae adapters``: which sets are installed, whether they are undamaged, and moving them between machines."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adavae.model.errors import WeightsCorrupted
from adavae.service import loading
from adavae.service.commands.completion import adapter_names
from adavae.service.commands.options import JsonOption
from adavae.service.commands.terminal import Column, Output, Record, column, say
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.storage.installed import InstalledVersion
    from adavae.model.trial import SetTrial

NameOption = Annotated[
    str | None, typer.Option("--name", help="What it shall be called here, which makes it a version of its own.")
]
ReferenceArgument = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="An installed adapter set.", autocompletion=adapter_names)
]


def create_app() -> typer.Typer:
    """The commands under ``adavae adapters`` that stay on this machine; ``sharing`` has the others."""
    app = typer.Typer(help="List, show, verify and delete adapter sets, and move them.", no_args_is_help=True)
    app.command("list")(list_sets)
    app.command("show")(show)
    app.command("verify")(verify)
    app.command("import")(import_set)
    app.command("export")(export)
    app.command("delete")(delete)
    return app


def list_sets(as_json: JsonOption = False) -> None:
    """Every installed version of every adapter set, each with what keeps it from being served."""
    settings = load_settings()
    entries = loading.open_store(settings).list(loading.open_trial(settings).check_servable)
    columns = [
        column("name"),
        column("version"),
        column("preset"),
        column("latent_size", "Z"),
        Column("labels", _labels),
        Column("from", lambda record: "bundled" if record["is_bundled"] else "own"),
        Column("created", lambda record: str(record["created_at"])[:10]),
        Column("problem", lambda record: str(record["problem"] or "")),
    ]
    Output.of(as_json).write_records([_summary(entry) for entry in entries], columns)


def show(reference: ReferenceArgument, as_json: JsonOption = False) -> None:
    """Everything that one adapter set's manifest says."""
    entry = loading.open_store(load_settings()).resolve(reference)
    record: Record = {"path": str(entry.path), "is_bundled": entry.is_bundled}
    record |= {"digest": entry.manifest.digest} | entry.manifest.to_dict() if entry.manifest else {}
    Output.of(as_json).write_object(record, only_in_json=("shapes",))


def verify(
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME[@VERSION]]", help="An installed adapter set; all if left out.", autocompletion=adapter_names
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read every byte of adapter sets, compare it with the digests in their manifests, and use each once."""
    settings = load_settings()
    trial = loading.open_trial(settings)
    checked = loading.open_store(settings).verify(reference, trying=trial.try_directory)
    records: list[Record] = [
        {"adapter": entry.reference, "is_whole": problem is None, "problem": problem} for entry, problem in checked
    ]
    Output.of(as_json).write_records(records, [column("adapter"), Column("", _verdict)])
    if damaged := [entry.reference for entry, problem in checked if problem is not None]:
        raise WeightsCorrupted(f"{len(damaged)} of {len(checked)} adapter sets cannot be used: {', '.join(damaged)}")


def import_set(
    source: Annotated[Path, typer.Argument(help="What `export` made, or an adapter set's directory.")],
    name: NameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify an adapter set, use it once, and install it beside the others."""
    settings = load_settings()
    trial = loading.open_trial(settings)
    entry = loading.open_store(settings).import_set(
        source, name=name, accepting=trial.accept, trying=trial.try_directory
    )
    say_if_untried(entry, trial)
    Output.of(as_json).write_object({"adapter": entry.reference, "path": str(entry.path)})


def export(
    reference: ReferenceArgument,
    destination: Annotated[Path, typer.Argument(help="The .tar.gz to write; it must not exist yet.")],
    as_json: JsonOption = False,
) -> None:
    """Verify an adapter set and write it as one file, to be imported elsewhere."""
    store = loading.open_store(load_settings())
    entry = store.resolve(reference)
    path = store.export_set(entry.reference, destination)
    Output.of(as_json).write_object({"adapter": entry.reference, "path": str(path)})


def delete(
    reference: ReferenceArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete one version of a trained or imported adapter set; running services let go of it within seconds."""
    store = loading.open_store(load_settings())
    entry = store.deletable(reference)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {entry.reference} ({entry.path})?", abort=True, err=True)
    store.delete(entry.reference)
    Output.of(as_json).write_object({"deleted": entry.reference})


def say_if_untried(entry: "InstalledVersion", trial: "SetTrial") -> None:
    """Of a set for another backbone than the one here."""
    if entry.manifest is not None and not trial.can_try(entry.manifest):
        say(f"{entry.reference} was not tried: {trial.why_not}")


def _summary(entry: "InstalledVersion") -> Record:
    manifest = entry.manifest
    return {
        "name": entry.name,
        "version": entry.version,
        "preset": manifest.training.get("preset") if manifest else None,
        "latent_size": manifest.config.latent_size if manifest else None,
        "labels": list(manifest.config.labels) if manifest else [],
        "metrics": manifest.metrics if manifest else {},
        "created_at": manifest.created_at if manifest else None,
        "is_bundled": entry.is_bundled,
        "path": str(entry.path),
        "problem": entry.public_problem,
    }


def _labels(record: Record) -> str:
    labels = record["labels"]
    return ", ".join(labels) if isinstance(labels, list) else ""


def _verdict(record: Record) -> str:
    return "whole" if record["is_whole"] else str(record["problem"])
