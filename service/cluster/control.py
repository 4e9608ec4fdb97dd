"""The service on a connected cluster: brought up, replaced, looked at, taken down."""

import time
from collections import Counter
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.api import RunTarget
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ServeStatus

from adavae.model.errors import AdaVAEError
from adavae.service.cluster.application import build
from adavae.service.cluster.arguments import arguments_of
from adavae.service.cluster.serve_config import NAME, http_options, logging_config
from adavae.service.cluster.trainers import dismiss_trainers, num_training_tasks
from adavae.service.settings import Settings

_LOOK_EVERY_S = 0.5


class NotBroughtUp(AdaVAEError):
    """The cluster does not serve what it was told to."""


def is_serving() -> bool:
    """Whether Serve runs on the cluster already, and so has an address and port."""
    return bool(serve.status().proxies)


def bring_up(settings: Settings, *, requires_keys: bool, patience_s: float) -> None:
    """Starts Serve where it does not run, and the application; one that runs is replaced, a few replicas at a time.

    Raises:
        NotBroughtUp: It does not run within ``patience_s``, with what Ray says of the reason.
    """
    arguments = arguments_of(settings, requires_keys=requires_keys)
    try:
        serve.start("EveryNode", http_options=http_options(settings), logging_config=logging_config(settings))
        target = RunTarget(build(arguments), name=NAME, route_prefix="/", logging_config=logging_config(settings))
        serve.run_many([target], wait_for_applications_running=False)
    except (RayError, RayServeException, RuntimeError, TimeoutError) as exc:
        raise NotBroughtUp(f"Ray Serve does not start the service: {str(exc).strip()}") from exc
    _wait(patience_s)


def overview() -> dict[str, Any]:
    """What runs where, in words and numbers: replicas by state, proxies by node, machines, training."""
    status, nodes = serve.status(), [node for node in ray.nodes() if node["Alive"]]
    application = status.applications.get(NAME)
    deployment = None if application is None else application.deployments.get(NAME)
    return {
        "status": "NOT_RUNNING" if application is None else str(application.status.value),
        "message": "" if application is None else application.message or (deployment.message if deployment else ""),
        "replicas": {} if deployment is None else {str(state): num for state, num in deployment.replica_states.items()},
        "proxies": dict(Counter(str(each.value) for each in status.proxies.values())),
        "nodes": len(nodes),
        "resources": {name: ray.cluster_resources().get(name, 0.0) for name in ("CPU", "GPU")},
        "free": {name: ray.available_resources().get(name, 0.0) for name in ("CPU", "GPU")},
        "training_tasks": num_training_tasks(),
    }


def take_down(patience_s: float) -> bool:
    """Ends the application, when its requests have, and training, with checkpoints; returns whether it was there.

    Serve itself ends with the last application.
    """
    was_there = NAME in serve.status().applications
    if was_there:
        serve.delete(NAME)
    dismiss_trainers(patience_s)
    if not serve.status().applications:
        serve.shutdown()
    return was_there


def _wait(patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while True:
        application = serve.status().applications.get(NAME)
        if application is not None and application.status is ApplicationStatus.RUNNING:
            return
        if application is not None and application.status is ApplicationStatus.DEPLOY_FAILED:
            raise NotBroughtUp(f"the service does not start: {_reason(serve.status())}")
        if time.monotonic() > deadline_s:
            raise NotBroughtUp(
                f"the service does not run after {patience_s:g} s: {_reason(serve.status())}: see `adavae cluster "
                "status`; it starts when the cluster has room for it"
            )
        time.sleep(_LOOK_EVERY_S)


def _reason(status: ServeStatus) -> str:
    application = status.applications.get(NAME)
    if application is None:
        return "Serve does not know it yet"
    messages = [application.message, *(each.message for each in application.deployments.values())]
    return "; ".join(message.strip() for message in messages if message) or str(application.status.value)
