"""Commands that talk to a running service: where it is, what it refuses in one line, a job watched to its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from model.errors import AdaVAEError, TrainingInterrupted
from service.settings import Settings, SettingsError
from service.terminal import ProgressDisplay, progress_display, say

if TYPE_CHECKING:
    from service.training_client import TrainingClient

ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="The service; ADAVAE_SERVER_URL if left out.")
]
Event = dict[str, Any]


class ServiceRefused(AdaVAEError):
    """The service refused, or could not be reached."""


class JobNotSucceeded(AdaVAEError):
    """A job that was watched ended without an adapter set."""


@contextmanager
def training_client(settings: Settings, url: str | None) -> Iterator["TrainingClient"]:
    """A client of the service at ``url``, or where the settings say; its refusals become errors of the command line."""
    from service.http_retries import AdaVAEServiceError
    from service.training_client import TrainingClient

    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    try:
        with TrainingClient(_checked(url or settings.server_url), api_key=key) as client:
            yield client
    except AdaVAEServiceError as exc:
        remedy = ": set ADAVAE_API_KEY to a key with the scope train" if exc.status in (401, 403) else ""
        raise ServiceRefused(f"{exc}{remedy}") from exc


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"the service's address is {url!r}, which is no URL: write it as http://127.0.0.1:8000")
    return url


def watch(client: "TrainingClient", job_id: str, on_event: Callable[[Event], None] = lambda _: None) -> dict[str, Any]:
    """Shows a job's progress until it is finished; Ctrl-C ends the watching, not the job.

    Args:
        client: Of the service that has the job.
        job_id: Which one.
        on_event: Told of every event.

    Returns:
        The job that has succeeded.

    Raises:
        JobNotSucceeded: It failed, or was cancelled.
        TrainingInterrupted: Ctrl-C.
    """
    try:
        with progress_display() as display:
            for event in client.events(job_id):
                on_event(event)
                _show(event, display)
        job = client.job(job_id)
    except KeyboardInterrupt as exc:
        raise TrainingInterrupted(
            f"{job_id} goes on without being watched: look with `adavae jobs watch {job_id}`, end it with "
            f"`adavae jobs cancel {job_id}`"
        ) from exc
    if job["status"] != "succeeded":
        reason = f": {job['error']['message']}" if job["error"] else ""
        raise JobNotSucceeded(f"{job_id} is {job['status']}{reason}")
    return job


def _show(event: Event, display: ProgressDisplay) -> None:
    figures = event["data"]
    if event["type"] == "metrics" and "total_steps" in figures:
        display.update("train", figures["step"], figures["total_steps"], _figures(figures))
    elif event["type"] == "message":
        say(event["message"])


def _figures(figures: dict[str, Any]) -> str:
    """Those that a person follows, of the ones that are there."""
    names = {"loss": "loss", "reconstruction_nats": "rec", "kl_nats": "kl", "head_nats": "head"}
    names["validation_loss"] = "validation"
    shown = [f"{title} {figures[name]:.3f}" for name, title in names.items() if figures.get(name)]
    if figures.get("tokens_per_s"):
        shown.append(f"{figures['tokens_per_s']:,.0f} tokens/s")
    return "  ".join(shown)
