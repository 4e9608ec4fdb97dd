"""``adavae train --remote``: the same run, by a service."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from service.commands.remote import training_client, watch
from service.commands.training_options import TrainingOptions
from service.settings import Settings
from service.terminal import progress_display, say

if TYPE_CHECKING:
    from service.training_client import TrainingClient

_SENT_AS = {"epochs": "n_epochs", "max_steps": "steps"}
_SENT = {
    *("epochs", "max_steps", "batch_size", "learning_rate", "latent_size", "adapter_size"),
    *("free_bits", "beta", "word_dropout", "head_weight", "validations"),
}


def hyperparameters(options: TrainingOptions, preset: str) -> dict[str, Any]:
    """The options under the names of the wire.

    Raises:
        typer.BadParameter: One of them only a run on this machine takes.
    """
    given = {field.name: value for field in fields(options) if (value := getattr(options, field.name)) is not None}
    refuse_local_only([name for name in given if name not in _SENT and name != "seed"])
    sent = {_SENT_AS.get(name, name): value for name, value in given.items() if name in _SENT}
    return {"preset": preset, **sent}


def refuse_local_only(names: list[str]) -> None:
    """Raises typer.BadParameter where there are any; ``names`` are options with underscores."""
    if names:
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise typer.BadParameter(f"{shown} cannot be sent to a service: leave it out, or train here without --remote")


def train_remotely(
    settings: Settings,
    url: str,
    *,
    name: str,
    data: Path,
    validation: Path | None,
    body: dict[str, Any],
) -> dict[str, Any]:
    """Uploads, makes the job, watches it; returns the job that has succeeded. Raises as ``remote.watch`` does."""
    with training_client(settings, url) as client:
        request = {"model": settings.backbone, "suffix": name, "training_file": _upload(client, data), **body}
        if validation is not None:
            request["validation_file"] = _upload(client, validation)
        job = client.create(request)
        say(f"{job['id']} is queued at {url} (Ctrl-C ends the watching, not the job)")
        return watch(client, job["id"])


def _upload(client: "TrainingClient", path: Path) -> str:
    with progress_display() as display:
        stored = client.upload(path, lambda done, total: display.update(f"send {path.name}", done, total, "bytes"))
    return str(stored["id"])
