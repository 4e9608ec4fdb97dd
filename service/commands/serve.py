"""``adavae serve``: the HTTP service, from a bound port to a clean end."""

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adavae.model.errors import AdaVAEError
from adavae.service.commands.terminal import say
from adavae.service.objects.open_objects import check_objects
from adavae.service.settings import Settings, SettingsError, ignored_variables, load_settings

if TYPE_CHECKING:
    import uvicorn

    from adavae.service.jobs.training_service import CallTrainers

HostOption = Annotated[str | None, typer.Option("--host", help="Address to listen on; ADAVAE_HOST if left out.")]
PortOption = Annotated[
    int | None,
    typer.Option("--port", "-p", min=0, max=65535, help="Port, 0 for a free one; ADAVAE_PORT if left out."),
]
WeightFormatOption = Annotated[
    Literal["float16", "int8"] | None,
    typer.Option("--weight-format", help="Weights that the compiled code reads; ADAVAE_WEIGHT_FORMAT if left out."),
]


class CannotListen(AdaVAEError):
    """The address or port cannot be had."""


def serve(host: HostOption = None, port: PortOption = None, weight_format: WeightFormatOption = None) -> None:
    """Answer over HTTP: encode, decode, interpolate, analogy, classify.

    Ctrl-C or a termination signal ends it after the requests that are running.
    """
    options = {"host": host, "port": port, "weight_format": weight_format}
    given = {name: value for name, value in options.items() if value is not None}
    settings = load_settings().model_copy(update=given)
    check_objects(settings)
    _refuse_too_few_gpus(settings)
    listener = open_listener(settings)
    with listener:
        _run(settings, listener)


def _refuse_too_few_gpus(settings: Settings) -> None:
    """Where this service trains, or calls those who do."""
    from adavae.service.jobs.training_service import training_mode
    from adavae.service.jobs.worker.gpus_for_processes import refuse_too_few_gpus, refuse_too_few_reserved_gpus

    match training_mode(settings):
        case "embedded":
            refuse_too_few_gpus(settings)
        case "ray":
            refuse_too_few_reserved_gpus(settings)


def open_listener(settings: Settings) -> socket.socket:
    """A socket that listens on the configured address.

    Raises:
        SettingsError: Others than this machine could reach it, and there are no API keys; or there is no such address.
        CannotListen: The port is taken, or not allowed.
    """
    family, address = resolved(settings)
    refuse_open_door(settings, address)
    # The protocol is named because asyncio switches Nagle's algorithm off only then: replies waited 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, settings.port))
        listener.listen(2048)
    except OSError as exc:
        listener.close()
        raise CannotListen(
            f"cannot listen on {settings.host} port {settings.port}: {(exc.strerror or str(exc)).lower()}: end the "
            "program that uses it, or choose another with --port (0 takes a free one)"
        ) from exc
    return listener


def resolved(settings: Settings) -> tuple[socket.AddressFamily, str]:
    """The family and the number of the address to listen on; raises SettingsError where there is none."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        raise SettingsError(
            f"ADAVAE_HOST is {settings.host!r}, which is no address: take 127.0.0.1, or 0.0.0.0 for all addresses"
        ) from exc
    family, _, _, _, address = found[0]
    return family, str(address[0])


def refuse_open_door(settings: Settings, address: str) -> None:
    """Raises SettingsError where others than this machine could reach the address, and there are no API keys."""
    from adavae.service.http.access import is_loopback
    from adavae.service.http.api_keys import load_api_keys

    if not load_api_keys(settings) and not is_loopback(address):
        raise SettingsError(
            f"ADAVAE_HOST is {settings.host!r}, which others can reach, and there are no API keys: set ADAVAE_API_KEYS "
            "to 'KEY:infer,train,admin' (make a key with `openssl rand -hex 32`), or listen on 127.0.0.1"
        )


def _run(settings: Settings, listener: socket.socket) -> None:
    import structlog

    from adavae.service.http.connection_limits import ConnectionLimits, allow_descriptors
    from adavae.service.http.http_server import HttpServer, http_config
    from adavae.service.http.secret_files import exposed_secrets
    from adavae.service.jobs.training_service import TrainingService
    from adavae.service.latent_service import LatentService
    from adavae.service.log import set_up_log
    from adavae.service.main import create_app
    from adavae.service.metrics import Metrics
    from adavae.service.tracing import close_tracing, open_tracing, tracer_of

    set_up_log(settings)
    allow_descriptors()
    for warning in (*exposed_secrets(settings), ignored_variables()):
        if warning is not None:
            structlog.get_logger("adavae.serve").warning(warning)
    metrics = Metrics()
    training = None if settings.training == "off" else TrainingService(settings, metrics, call=_trainers(settings))
    outcome = _Outcome(_url(listener))
    traces = open_tracing(settings)
    latent = LatentService(settings, metrics, tracer_of(traces))
    app = create_app(settings, latent, metrics, outcome.on_started, training, traces)
    config = http_config(app, settings.shutdown_s)
    end_watching = (lambda: None) if training is None else training.end_watching
    outcome.server = HttpServer(config, end_watching, ConnectionLimits.of(settings))
    with _signals_end_quietly():
        outcome.server.run(sockets=[listener])
    close_tracing(traces)
    if outcome.error is not None:
        raise outcome.error


def _trainers(settings: Settings) -> "CallTrainers | None":
    """Only where tasks of a Ray cluster shall train is anything of Ray imported; raises NoRay where it is missing."""
    if settings.training != "ray":
        return None
    from adavae.service.cluster.reaching import require_ray
    from adavae.service.cluster.trainers import call_trainers

    require_ray()
    return call_trainers


class _Outcome:
    """How loading went: says that the server is ready, or ends it with the error it failed with."""

    def __init__(self, url: str) -> None:
        self.server: uvicorn.Server
        self.error: BaseException | None = None
        self._url = url

    def on_started(self, starting: "asyncio.Task[None]") -> None:
        if starting.cancelled():
            return
        self.error = starting.exception()
        if self.error is not None:
            self.server.should_exit = True
        else:
            gc.collect()
            gc.freeze()  # what is there now stays: looking through it again and again held up requests
            say(f"adavae serves at {self._url} (open it in a browser; the interface: {self._url}/docs; Ctrl-C ends it)")


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Uvicorn raises the signals that ended it once more when it is done; they are no failure."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    name = "localhost" if address in ("0.0.0.0", "::") else address
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
