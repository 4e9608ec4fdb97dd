"""The Ray Serve application: ``adavae.service.cluster.application:build`` is its import path.

    client -> Serve's proxy of any node -> the replica with fewer requests of two -> the app of service.main

Every replica is the whole service over one engine and carries many adapter sets: the engine makes the batches, so there
is neither a second batcher nor routing by adapter set.
"""

import math
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from adavae.service.cluster.arguments import ClusterArguments
from adavae.service.cluster.replica import Replica
from adavae.service.cluster.serve_config import NAME
from adavae.service.settings import Settings

_CHECK_EVERY_S, _CHECK_TIMEOUT_S = 5.0, 30.0
_DRAIN_LOOK_S = 0.5
_POLICY = "adavae.service.cluster.scaling:LoadPolicy"


def build(arguments: ClusterArguments) -> Application:
    """The application, for ``serve run``, ``serve deploy``, KubeRay and ``adavae cluster up`` alike.

    Raises:
        SettingsError: The settings are wrong on the machine that this runs on.
    """
    options = deployment_options(arguments.settings_here())
    return serve.deployment(serve.ingress()(Replica), name=NAME, **options).bind(arguments.model_dump())


def deployment_options(settings: Settings) -> dict[str, Any]:
    """How many replicas, with what, and what each may have in hand; the names are Serve's."""
    requests = settings.max_queued_rows
    gpus = {"num_gpus": settings.replica_gpus} if settings.replica_gpus else {}
    return {
        **_replicas(settings),
        "ray_actor_options": {"num_cpus": settings.replica_cpus, **gpus},
        # Each request has a row at least, so the replica's own queue, which knows clients, is full first.
        "max_ongoing_requests": requests,
        "max_queued_requests": requests,
        "backpressure_config": {"status_code": 429, "retry_after_s": 1},
        "health_check_period_s": _CHECK_EVERY_S,
        "health_check_timeout_s": _CHECK_TIMEOUT_S,
        "graceful_shutdown_timeout_s": drain_s(settings),
        "graceful_shutdown_wait_loop_s": _DRAIN_LOOK_S,
    }


def drain_s(settings: Settings) -> float:
    """How long a replica that leaves may take: no request may take longer, streams included."""
    return float(math.ceil(max(settings.deadline_s, settings.shutdown_s)))


def _replicas(settings: Settings) -> dict[str, Any]:
    if settings.max_replicas <= settings.min_replicas:
        return {"num_replicas": settings.min_replicas}
    target = float(settings.decode_rows)  # what one step of the device takes side by side
    kwargs = {"requests_a_replica": target, "rows_a_replica": target}
    policy = AutoscalingPolicy(policy_function=_POLICY, policy_kwargs=kwargs)
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=settings.min_replicas,
            max_replicas=settings.max_replicas,
            target_ongoing_requests=target,
            policy=policy,
        )
    }
