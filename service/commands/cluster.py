"""``adavae cluster``: the service on a Ray cluster, brought up, looked at, taken down, or written as a serve.yaml.

The cluster is Ray's: `ray start` makes it on one machine or many, and nothing here starts or stops a machine.
"""

from pathlib import Path
from typing import Annotated

import typer

from adavae.model.errors import AdaVAEError
from adavae.service.commands.options import JsonOption
from adavae.service.commands.serve import HostOption, PortOption, open_listener, refuse_open_door, resolved
from adavae.service.commands.terminal import Output, say, show_lines
from adavae.service.jobs.worker.gpus_for_processes import refuse_too_few_reserved_gpus
from adavae.service.settings import Settings, SettingsError, load_settings

AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="The Ray cluster; RAY_ADDRESS, or this machine's own."),
]
PatienceOption = Annotated[float, typer.Option("--wait", min=1, max=3600, help="Seconds to wait until it serves.")]


class CannotWrite(AdaVAEError):
    """The file cannot be had."""


def create_app() -> typer.Typer:
    """The commands under ``adavae cluster``."""
    app = typer.Typer(help="The service on a Ray cluster (pip install 'adavae\\[ray]').", no_args_is_help=True)
    for command in (up, status, down, config):
        app.command()(command)
    return app


def up(
    host: HostOption = None, port: PortOption = None, address: AddressOption = None, wait_s: PatienceOption = 300.0
) -> None:
    """Serve on every machine of the cluster; a service that runs there is replaced, without a gap.

    Settings of this environment (ADAVAE_...) hold for all replicas; secrets are not sent, each machine has its own.
    """
    from adavae.service.cluster.reaching import reached

    settings = _settings(host, port)
    needs_keys = _needs_keys(settings)
    with reached(address):
        from adavae.service.cluster.control import bring_up, is_serving

        if not is_serving():
            open_listener(settings).close()
        bring_up(settings, requires_keys=needs_keys, patience_s=wait_s)
    say(f"adavae serves on the cluster, port {settings.port} of every machine that has a replica")


def status(address: AddressOption = None, as_json: JsonOption = False) -> None:
    """What runs where: replicas, proxies, machines, training."""
    from adavae.service.cluster.reaching import reached

    with reached(address):
        from adavae.service.cluster.control import overview

        Output.of(as_json).write_object(overview())


def down(address: AddressOption = None) -> None:
    """Stop serving and training; requests are finished, jobs keep a checkpoint. The machines stay Ray's."""
    from adavae.service.cluster.reaching import reached

    settings = load_settings()
    with reached(address):
        from adavae.service.cluster.control import take_down

        was_there = take_down(settings.shutdown_s)
    say("the service is down; `ray stop` ends Ray on a machine" if was_there else "there was no service to take down")


def config(
    host: HostOption = None,
    port: PortOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, metavar="FILE", help="Write here, not to stdout.")
    ] = None,
) -> None:
    """Write a serve.yaml from the settings of this environment, for `serve deploy` and KubeRay; it holds no secret."""
    import yaml

    from adavae.service.cluster.serve_config import serve_config

    settings = _settings(host, port)
    text = yaml.safe_dump(serve_config(settings, requires_keys=_needs_keys(settings)), sort_keys=False)
    if output is None:
        show_lines(text.splitlines())
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise CannotWrite(f"{output} cannot be written ({exc.strerror or exc}): choose another with --output") from exc


def _settings(host: str | None, port: int | None) -> Settings:
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = load_settings(given)
    if settings.port == 0:
        raise SettingsError("ADAVAE_PORT is 0, and every machine of a cluster listens on the same port: name one")
    if settings.max_replicas > 1 and settings.max_replicas < settings.min_replicas:
        raise SettingsError(
            f"ADAVAE_MAX_REPLICAS is {settings.max_replicas}, less than ADAVAE_MIN_REPLICAS, {settings.min_replicas}: "
            "raise it, or leave it out for as many as the least"
        )
    if settings.training in ("auto", "ray"):
        refuse_too_few_reserved_gpus(settings)
    return settings


def _needs_keys(settings: Settings) -> bool:
    """Whether others reach the address; raises SettingsError where they do and there are no keys here either."""
    from adavae.service.http.access import is_loopback

    _, number = resolved(settings)
    refuse_open_door(settings, number)
    return not is_loopback(number)
