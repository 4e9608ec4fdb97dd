"""``adavae jobs``: the training jobs of a running service, listed, shown, watched, and told to stop and to go on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adavae.service.commands.input import refuse_undecoded
from adavae.service.commands.options import JsonOption
from adavae.service.commands.remote import RemoteService, ServerOption, reading, reason_of, watch, whole
from adavae.service.commands.terminal import Column, Output, Record, say
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.service.client.training import Change


def _checked_id(job_id: str) -> str:
    refuse_undecoded(job_id, "copy the id from `adavae jobs list`")
    return job_id


JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, as `adavae jobs list` shows it.", callback=_checked_id)
]

_COLUMNS = [
    Column("id", lambda job: str(job["id"]), is_whole=True),
    Column("status", lambda job: str(job["status"]), is_whole=True),
    Column("adapter set", lambda job: str(job["fine_tuned_model"] or job["suffix"])),
    Column("steps", lambda job: _progress(job), is_whole=True),
    Column("created", lambda job: _time(job["created_at"]).partition("-")[2], is_whole=True),
]
_ERROR = Column("error", lambda job: reason_of(job, "code"))
_MINUTES = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True)
class _Command:
    """A command to a job: its help, and the message if a running job has not yet obeyed."""

    help_text: str
    pending: str


_CHANGES: "dict[Change, _Command]" = {
    "cancel": _Command("End a job; nothing of it is published.", "is asked to end, and will within seconds"),
    "pause": _Command("Put a job aside; it keeps a checkpoint.", "is asked to pause, and will with a checkpoint"),
    "resume": _Command("Let a paused job go on from its checkpoint.", "goes on"),
}


def create_app() -> typer.Typer:
    """The commands under ``adavae jobs``."""
    app = typer.Typer(help="Training jobs of a running service.", no_args_is_help=True)
    app.command("list")(list_jobs)
    app.command("show")(show)
    app.command("watch")(watch_job)
    for change, command in _CHANGES.items():
        app.command(change, help=command.help_text)(_changing(change))
    return app


def list_jobs(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Every job, the newest first."""
    output, service = Output.of(as_json), RemoteService.at(server, load_settings())
    with service.client() as client:
        jobs = [whole(job) for job in client.jobs()]
        if jobs or output.is_json:
            columns = [*_COLUMNS, _ERROR] if any(job["error"] for job in jobs) else _COLUMNS
            with reading():
                output.write_records(jobs, columns)
        else:
            say(f"{service.shown_url} has no jobs yet")


def show(job_id: JobArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """One job: its data, settings, progress, and what it ended with."""
    output = Output.of(as_json)
    with RemoteService.at(server, load_settings()).client() as client:
        job = whole(client.job(job_id))
        with reading():
            output.write_object(job if output.is_json else _readable(job))


def watch_job(job_id: JobArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Follow a job to its end; Ctrl-C ends the watching, not the job.

    Where stdout is no terminal, or with --json, every event is written as one JSON object a line. Exit code 0: the job
    has succeeded; 1: it failed or was cancelled.
    """
    output, service = Output.of(as_json), RemoteService.at(server, load_settings())
    with service.client() as client:
        if output.is_json:
            watch(service, client, job_id, output.write_object)
        else:
            output.write_object(summary(watch(service, client, job_id)))


def summary(job: dict[str, Any]) -> Record:
    """The facts of a job that has succeeded."""
    return {"adapter": job["fine_tuned_model"], "job": job["id"], "metrics": job["metrics"] or {}}


def _changing(change: "Change") -> Callable[..., None]:
    def command(job_id: JobArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
        output = Output.of(as_json)
        with RemoteService.at(server, load_settings()).client() as client:
            job = whole(client.change(job_id, change))
            with reading():
                output.write_records([job], _COLUMNS)
        if job["status"] == "running":
            say(f"{job_id} {_CHANGES[change].pending}")

    return command


def _readable(job: dict[str, Any]) -> Record:
    """A job for people: without empty fields, and with what matters most at the end, where a terminal shows it."""
    chosen: Record = {
        **{name: job[name] for name in ("training_file", "validation_file", "metadata", "seed", "attempt")},
        **{name: job[name] for name in ("hyperparameters", "report", "progress", "metrics", "trained_tokens")},
        "created": _time(job["created_at"]),
        "finished": _time(job["finished_at"]),
        "job": job["id"],
        "adapter set": job["fine_tuned_model"] or f"{job['suffix']} (not there yet)",
        "status": job["status"],
        "error": reason_of(job),
    }
    return _without_empty(chosen)


def _without_empty(record: Record) -> Record:
    within = {name: _without_empty(value) if isinstance(value, dict) else value for name, value in record.items()}
    return {name: value for name, value in within.items() if value not in (None, "", {}, [])}


def _progress(job: Record) -> str:
    progress = job["progress"]
    if not isinstance(progress, dict) or "total_steps" not in progress:
        return ""
    if not progress["total_steps"]:
        return str(progress.get("stage", ""))
    return f"{progress['step']}/{progress['total_steps']}"


def _time(seconds: object) -> str:
    """A time in this machine's time zone."""
    return "" if seconds is None else datetime.fromtimestamp(int(str(seconds)), UTC).astimezone().strftime(_MINUTES)
