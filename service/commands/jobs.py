"""``adavae jobs``: the training jobs of a running service, listed, shown, watched, and told to stop and to go on."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.options import JsonOption
from service.commands.remote import ServerOption, training_client, watch
from service.settings import load_settings
from service.terminal import Column, Output, Record, column

if TYPE_CHECKING:
    from service.training_client import Change

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, as `adavae jobs list` shows it.")]

_COLUMNS = [
    column("id"),
    column("status"),
    Column("adapter set", lambda job: str(job["fine_tuned_model"] or job["suffix"])),
    Column("progress", lambda job: _progress(job)),
    Column("created", lambda job: _time(job["created_at"])),
    Column("error", lambda job: _reason(job)),
]


def create_app() -> typer.Typer:
    """The commands under ``adavae jobs``."""
    app = typer.Typer(help="Training jobs of a running service.", no_args_is_help=True)
    app.command("list")(list_jobs)
    app.command("show")(show)
    app.command("watch")(watch_job)
    for change, help_text in _CHANGES.items():
        app.command(change, help=help_text)(_changing(change))
    return app


def list_jobs(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Every job, the newest first."""
    with training_client(load_settings(), server) as client:
        Output.of(as_json).write_records(list(client.jobs()), _COLUMNS)


def show(job_id: JobArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """One job: its data, settings, progress, and what it ended with."""
    with training_client(load_settings(), server) as client:
        Output.of(as_json).write_object(client.job(job_id), only_in_json=("method", "object", "integrations"))


def watch_job(job_id: JobArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Follow a job to its end; Ctrl-C ends the watching, not the job.

    Where stdout is no terminal, or with --json, every event is written as one JSON object a line.
    """
    output = Output.of(as_json)
    with training_client(load_settings(), server) as client:
        if output.is_json:
            watch(client, job_id, lambda event: output.write_object(event))
        else:
            output.write_object(summary(watch(client, job_id)))


def summary(job: dict[str, Any]) -> Record:
    """What one wants to know of a job that has succeeded."""
    return {"adapter": job["fine_tuned_model"], "job": job["id"], "metrics": job["metrics"] or {}}


_CHANGES: "dict[Change, str]" = {
    "cancel": "End a job; nothing of it is published.",
    "pause": "Lay a job aside; it keeps a checkpoint.",
    "resume": "Let a paused job go on from its checkpoint.",
}


def _changing(change: "Change") -> Any:
    def command(job_id: JobArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
        with training_client(load_settings(), server) as client:
            Output.of(as_json).write_records([client.change(job_id, change)], _COLUMNS)

    return command


def _progress(job: Record) -> str:
    progress = job["progress"]
    if not isinstance(progress, dict) or "total_steps" not in progress:
        return ""
    return f"{progress['step']}/{progress['total_steps']}"


def _time(seconds: object) -> str:
    return datetime.fromtimestamp(int(str(seconds)), UTC).strftime("%Y-%m-%d %H:%M")


def _reason(job: Record) -> str:
    error = job["error"]
    return str(error["message"]) if isinstance(error, dict) else ""
