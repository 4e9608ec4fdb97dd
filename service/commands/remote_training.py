"""``adavae train --remote``: the same run, by a service."""

import contextlib
import shlex
from dataclasses import fields
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adavae.model.errors import TrainingInterrupted
from adavae.model.training.readers.packed import has_columns
from adavae.service.commands.remote import RemoteService, reading, watch
from adavae.service.commands.terminal import progress_display, say
from adavae.service.commands.training_options import TrainingOptions

if TYPE_CHECKING:
    from adavae.service.client.training import TrainingClient

_SENT_AS = {"epochs": "n_epochs", "max_steps": "steps"}
_SENT = {
    *("epochs", "max_steps", "batch_size", "learning_rate", "validations", "stage_one_share"),
    *("free_bits", "free_bits_form", "beta", "beta_schedule", "beta_cycles", "beta_zero_share", "beta_rise_share"),
    *(
        "word_dropout",
        "input_dropout",
        "form_share",
        "label_smoothing",
        "head_weight",
        "start",
        "encoder_texts",
        "latent_size",
        "encoder_layers",
        "encoder_attention",
        "adapter_placement",
        "adapter_size",
    ),
    *("adapter_scale", "latent_aggregation", "latent_heads", "latent_infusion", "latent_positions"),
    *("prefix_length", "prefix_hidden"),
}
_NAMED_LABELS = 8


def hyperparameters(options: TrainingOptions, preset: str) -> dict[str, Any]:
    """The options under their names in the API.

    Raises:
        typer.BadParameter: One of them exists only for runs on this machine.
    """
    given = {field.name: value for field in fields(options) if (value := getattr(options, field.name)) is not None}
    refuse_local_only([name for name in given if name not in _SENT and name != "seed"])
    sent = {_SENT_AS.get(name, name): value for name, value in given.items() if name in _SENT}
    return {"preset": preset, **sent}


def refuse_local_only(names: list[str]) -> None:
    """Raises typer.BadParameter if there are any; ``names`` are options with underscores."""
    if names:
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise typer.BadParameter(f"{shown} cannot be sent to a service: leave it out, or train here without --remote")


def train_remotely(
    service: RemoteService,
    *,
    data: Path,
    validation: Path | None,
    columns: dict[str, str | None],
    body: dict[str, Any],
) -> dict[str, Any]:
    """Uploads, makes the job, watches it; returns the job that has succeeded. Raises as ``remote.watch`` does.

    Args:
        service: The service that trains.
        data: Texts to train on.
        validation: Held-back texts, or None.
        columns: Names of the files' columns, as ``TrainingClient.upload`` takes them; held-back texts without columns
            are sent without.
        body: The request for the job, without the files.
    """
    paths = {"training_file": data} | ({"validation_file": validation} if validation is not None else {})
    for path in paths.values():
        path.open("rb").close()  # before any of them is sent
    with service.client() as client:
        try:
            job = _create(client, paths, columns, body)
        except KeyboardInterrupt as exc:
            looked_up = service.command("jobs list")
            raise TrainingInterrupted(f"Stopped before the job was known; `{looked_up}` says whether it is") from exc
        say(f"{service.shown_url} has the job; Ctrl-C ends the watching, not the job")
        return watch(service, client, job["id"])


def usage(service: RemoteService, adapter: str) -> str:
    """Commands that use the new set, to be copied into a shell."""
    key = ' -H "authorization: Bearer $ADAVAE_API_KEY"' if service.api_key is not None else ""
    body = shlex.quote(f'{{"texts": ["a text of yours"], "adapter": "{adapter}"}}')
    return (
        f"{adapter} is ready: requests name it as their adapter, for example\n"
        f"  curl -s {shlex.quote(f'{service.shown_url}/encode')}{key} -H 'content-type: application/json' -d {body}"
    )


def _create(
    client: "TrainingClient", paths: dict[str, Path], columns: dict[str, str | None], body: dict[str, Any]
) -> dict[str, Any]:
    """Creates the job; if it is refused, deletes the files uploaded for it."""
    from adavae.service.client.retries import AdaVAEServiceError
    from adavae.service.client.training import with_fields

    uploaded: dict[str, str] = {}
    try:
        for name, path in paths.items():
            is_named = name == "training_file" or has_columns(path)
            uploaded[name] = _upload(client, path, columns if is_named else {})
        return with_fields(client.create({**body, **uploaded}), "id")
    except AdaVAEServiceError as exc:
        if 400 <= exc.status < 500:
            for file_id in uploaded.values():
                with contextlib.suppress(AdaVAEServiceError):
                    client.delete_file(file_id)
        raise


def _upload(client: "TrainingClient", path: Path, columns: dict[str, str | None]) -> str:
    from adavae.service.client.training import with_fields

    with progress_display() as display:
        stored = client.upload(
            path,
            lambda done, total: display.update(f"send {path.name}", ceil(done / 1000), ceil(total / 1000), "kB"),
            **columns,
        )
    with_fields(stored, "id", "rows", "labels", "report")
    with reading():
        say(f"{path.name}: {stored['rows']:,} texts, {_label_counts(stored['labels'])}")
        for warning in with_fields(stored["report"], "warnings")["warnings"]:
            say(f"  {warning}")
    return str(stored["id"])


def _label_counts(labels: dict[str, int]) -> str:
    """The number of rows with each label, the most frequent first."""
    if not labels:
        return "no labels"
    by_count = sorted(labels.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {count:,}" for name, count in by_count[:_NAMED_LABELS])
    return f"{len(labels)} labels ({shown}{', ...' if len(labels) > _NAMED_LABELS else ''})"
