"""Commands that talk to a running service: its address, its refusals as one line, and watching a job."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import urlsplit

import typer

from adavae.model.errors import AdaVAEError, TrainingInterrupted
from adavae.model.training.progress import judged_by
from adavae.service.commands.terminal import ProgressDisplay, progress_display, say
from adavae.service.settings import Settings, SettingsError
from adavae.service.shown_address import shown_address

if TYPE_CHECKING:
    from adavae.service.client.retries import AdaVAEServiceError
    from adavae.service.client.training import TrainingClient

ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="The service; ADAVAE_SERVER_URL if left out.")
]
Event = dict[str, Any]

_REMEDIES = {
    "no_answer": "is `adavae serve` running there, and is the address right (ADAVAE_SERVER_URL)?",
    "job_not_found": "`adavae jobs list` shows them",
    "model_not_found": "ADAVAE_BACKBONE says which one is asked for",
}
_FIELDS = (
    *("id", "status", "fine_tuned_model", "suffix", "progress", "created_at", "finished_at", "error", "metrics"),
    *("training_file", "validation_file", "metadata", "seed", "attempt", "hyperparameters", "report"),
    "trained_tokens",
)
_KEY_REMEDY = "set ADAVAE_API_KEY to a key with the scope train"


class ServiceRefused(AdaVAEError):
    """The service refused a request, or could not be reached."""


class JobNotSucceeded(AdaVAEError):
    """A job that was watched ended without an adapter set."""


@contextmanager
def reading() -> Iterator[None]:
    """Around whatever is done with a reply; raises ServiceRefused for one of another service, or another version."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as exc:
        raise ServiceRefused(
            f"the reply cannot be read ({type(exc).__name__}: {exc}): is it adavae's service, of this version? "
            "[unreadable_reply]"
        ) from exc


def reason_of(job: dict[str, Any], field: str = "message") -> str:
    """What a job's error says; empty where it has none. Raises AdaVAEServiceError for another service's."""
    from adavae.service.client.training import with_fields

    return str(with_fields(job["error"], field)[field]) if job["error"] else ""


def whole(job: dict[str, Any]) -> dict[str, Any]:
    """A job with every field that commands show; raises AdaVAEServiceError for another service's."""
    from adavae.service.client.training import with_fields

    return with_fields(job, *_FIELDS)


@dataclass(frozen=True, slots=True)
class RemoteService:
    """A service as a command names it.

    Attributes:
        url: Its address.
        api_key: The key to send, or None.
        is_usual: Whether it is the one that commands use if none is named.
    """

    url: str = field(repr=False)
    api_key: str | None = field(repr=False)
    is_usual: bool

    @classmethod
    def at(cls, url: str | None, settings: Settings) -> Self:
        """The service at ``url``, or the one in the settings; raises SettingsError if that is not an address."""
        chosen = _checked_url(url or settings.server_url)
        return cls(chosen, _checked_key(settings), chosen == settings.server_url)

    @property
    def shown_url(self) -> str:
        """Its address for messages, without a user and a password."""
        return shown_address(self.url)

    @contextmanager
    def client(self) -> Iterator["TrainingClient"]:
        """A client whose errors are shown as one line each."""
        from adavae.service.client.retries import AdaVAEServiceError
        from adavae.service.client.training import TrainingClient

        try:
            with TrainingClient(self.url, api_key=self.api_key) as client:
                yield client
        except AdaVAEServiceError as exc:
            raise ServiceRefused(_explain(exc)) from exc

    def command(self, words: str) -> str:
        """An ``adavae`` command as a user types it to reach this service."""
        return f"adavae {words}" if self.is_usual else f"adavae {words} --server {shlex.quote(self.shown_url)}"


def watch(
    service: RemoteService, client: "TrainingClient", job_id: str, on_event: Callable[[Event], None] | None = None
) -> dict[str, Any]:
    """Follows a job until it is finished; Ctrl-C ends the watching, not the job.

    Args:
        service: The service that has the job.
        client: A client of that service.
        job_id: The job's id.
        on_event: Called with every event; None shows them to the user.

    Returns:
        The job that has succeeded.

    Raises:
        JobNotSucceeded: It failed, or was cancelled.
        TrainingInterrupted: Ctrl-C.
    """
    try:
        if on_event is not None:
            _follow(client, job_id, on_event, say)
        else:
            with progress_display() as display:
                _follow(client, job_id, lambda event: _show(event, display), display.say)
        job = whole(client.job(job_id))
    except KeyboardInterrupt as exc:
        raise TrainingInterrupted(
            f"The job goes on without being watched.\n"
            f"  to watch it again: {service.command(f'jobs watch {shlex.quote(job_id)}')}\n"
            f"  to end it:         {service.command(f'jobs cancel {shlex.quote(job_id)}')}"
        ) from exc
    if job["status"] != "succeeded":
        reason = reason_of(job)
        end = _ENDS.get(str(job["status"]), job["status"])
        raise JobNotSucceeded(f"{job_id} {end}: {reason}" if reason else f"{job_id} {end}")
    return job


_ENDS = {"failed": "has failed", "cancelled": "was cancelled"}


def _follow(
    client: "TrainingClient", job_id: str, on_event: Callable[[Event], None], notify: Callable[[str], None]
) -> None:
    for event in client.events(job_id, on_lost=lambda _: notify("The connection is lost; trying again for a minute")):
        with reading():
            on_event(event)


def _show(event: Event, display: ProgressDisplay) -> None:
    from adavae.service.client.training import with_fields

    with_fields(event, "type", "message")
    figures = event.get("data") or {}
    if event["type"] == "metrics" and "total_steps" in figures:
        step, total = figures["step"], figures["total_steps"]
        display.update("train", step, total, _figures(figures), eta_s=figures.get("eta_s"))
        if step >= total:
            display.update("measure", 0, None)
        return
    display.say(event["message"])
    if "total_steps" in figures:
        display.update("train", figures["step"], figures["total_steps"])
    if "attempt" in figures:
        display.update("train", 0, None, "getting ready")
    if "adapter" in figures:
        display.update("measure", 1, 1)


def _figures(figures: dict[str, Any]) -> str:
    """The figures that a user follows, if they are present."""
    names = {"loss": "loss", "reconstruction_nats": "rec", "kl_nats": "kl", "head_nats": "head"}
    names["validation_loss"] = "validation"
    shown = [f"{title} {figures[key]:.3g}" for key, title in names.items() if figures.get(key)]
    if judged := judged_by(figures):
        shown.append(judged)
    if figures.get("tokens_per_s"):
        shown.append(f"{figures['tokens_per_s']:,.0f} tokens/s")
    return "  ".join(shown)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not url.isprintable() or " " in url:
        raise SettingsError(
            f"the service's address is {shown_address(url)!r}, which is no URL: write it as http://127.0.0.1:8000"
        )
    return url.rstrip("/")


def _checked_key(settings: Settings) -> str | None:
    """Raises SettingsError, which does not show the key, if no service can have such a key."""
    key = settings.api_key.get_secret_value().strip() if settings.api_key is not None else ""
    if not all("!" <= each <= "~" for each in key):
        raise SettingsError("ADAVAE_API_KEY holds a blank or a character that is not ASCII: copy the key again")
    return key or None


def _explain(error: "AdaVAEServiceError") -> str:
    remedy = _KEY_REMEDY if error.status in (401, 403) else _REMEDIES.get(error.code)
    return f"{error}; {remedy}" if remedy else str(error)
