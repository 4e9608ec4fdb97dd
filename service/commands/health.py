"""``adavae health``: whether a service or a worker answers; what container health checks run."""

from http.client import HTTPException
from typing import Annotated
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import typer

from adavae.model.errors import AdaVAEError
from adavae.service.commands.terminal import Output


class NotHealthy(AdaVAEError):
    """There was no answer, or not that of a healthy process."""


def health(
    url: Annotated[str, typer.Argument(help="What must answer with 200.")] = "http://127.0.0.1:8000/readyz",
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, max=60, help="Seconds to wait.")] = 3.0,
) -> None:
    """Ask a running service or worker whether it is well; exit code 0 or 1."""
    if not url.startswith(("http://", "https://")):
        raise NotHealthy(f"{url!r} is no http:// or https:// address")
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=timeout_s) as reply:
            status = reply.status
    except HTTPError as refusal:
        with refusal:  # otherwise its connection stays open
            raise NotHealthy(f"{url}: {refusal}") from refusal
    except (URLError, HTTPException, OSError, ValueError) as exc:
        raise NotHealthy(f"{url}: {exc}") from exc
    Output.of(wants_json=False).write_object({"url": url, "status": status})
