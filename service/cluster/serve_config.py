"""A serve.yaml from settings, for Ray's own commands: ``serve deploy``, ``serve run``, KubeRay's ``serveConfigV2``."""

from typing import Any

from adavae.service.cluster.arguments import arguments_of
from adavae.service.settings import Settings

NAME = "adavae"
"""Of the application, and of its one deployment."""

IMPORT_PATH = "adavae.service.cluster.application:build"
_EVERY_NODE = "EveryNode"


def serve_config(settings: Settings, *, requires_keys: bool) -> dict[str, Any]:
    """The whole configuration, in the words of ``ray.serve.schema.ServeDeploySchema``; it holds no secret."""
    arguments = arguments_of(settings, requires_keys=requires_keys)
    return {
        "proxy_location": _EVERY_NODE,
        "http_options": http_options(settings),
        "logging_config": logging_config(settings),
        "applications": [
            {"name": NAME, "route_prefix": "/", "import_path": IMPORT_PATH, "args": arguments.model_dump()},
        ],
    }


def http_options(settings: Settings) -> dict[str, Any]:
    """Of Serve's proxies; how long a request may take is for the replicas to say."""
    return {"host": settings.host, "port": settings.port, "keep_alive_timeout_s": settings.keep_alive_s}


def logging_config(settings: Settings) -> dict[str, Any]:
    """Of Serve's processes; replicas log every request themselves."""
    encoding = "JSON" if settings.log_format == "json" else "TEXT"
    return {"encoding": encoding, "log_level": settings.log_level.upper(), "enable_access_log": False}
