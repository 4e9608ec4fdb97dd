"""The dispatcher of training tasks as everybody finds it: called where it is missing, and sent away."""

import contextlib
from typing import Any

from adavae.service.cluster.arguments import training_arguments_of
from adavae.service.cluster.reaching import NAMESPACE, NoCluster, reach_cluster
from adavae.service.jobs.worker.gpus_for_processes import refuse_too_few_reserved_gpus
from adavae.service.settings import Settings

NAME = "adavae-training"
_PATIENCE_S = 30.0


def call_trainers(settings: Settings) -> None:
    """Sees to it that the jobs on the volume of ``settings`` are trained on the cluster; blocks for moments.

    Raises:
        NoRay: Ray is not installed here.
        NoCluster: There is no cluster, or it does not answer.
        SettingsError: No job could be trained so.
    """
    refuse_too_few_reserved_gpus(settings)
    reach_cluster()
    import ray
    from ray.exceptions import RayError

    from adavae.service.cluster.dispatcher import Dispatcher

    arguments = training_arguments_of(settings).model_dump()
    options: dict[str, Any] = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    try:
        # It is started again wherever there is room, and what it is asked meanwhile is asked once more.
        anew = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        actor = ray.remote(Dispatcher).options(**options, **anew).remote(arguments)
        ray.get(actor.adopt.remote(arguments), timeout=_PATIENCE_S)
    except (RayError, ValueError) as exc:
        raise NoCluster(f"the cluster does not take training jobs at the moment ({_first_line(exc)})") from exc


def num_training_tasks() -> int:
    """Tasks on the connected cluster that train, or wait for room."""
    import ray
    from ray.exceptions import RayError

    try:
        actor = ray.get_actor(NAME, namespace=NAMESPACE)
        return int(ray.get(actor.num_tasks.remote(), timeout=_PATIENCE_S))
    except (ValueError, RayError):  # nobody has called them, or they are on their way to another machine
        return 0


def dismiss_trainers(patience_s: float) -> None:
    """Ends training on the connected cluster, every job with a checkpoint; they go on when trainers are called."""
    import ray
    from ray.exceptions import RayError

    with contextlib.suppress(ValueError):  # there are none
        actor = ray.get_actor(NAME, namespace=NAMESPACE)
        with contextlib.suppress(RayError):
            ray.get(actor.stop.remote(patience_s), timeout=patience_s + _PATIENCE_S)
        ray.kill(actor)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
