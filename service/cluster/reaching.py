"""A connection to a Ray cluster, or one sentence about why there is none."""

import contextlib
import importlib
import logging
from collections.abc import Iterator

from adavae.model.errors import AdaVAEError

NAMESPACE = "adavae"
_START = "start one with `ray start --head` here, and `ray start --address=HOST:PORT` on every other machine"


class NoRay(AdaVAEError):
    """Ray is not installed here."""


class NoCluster(AdaVAEError):
    """No Ray cluster can be reached."""


def require_ray() -> None:
    """Imports Ray Serve; raises NoRay where it is not installed."""
    try:
        importlib.import_module("ray.serve")
    except ImportError as exc:
        raise NoRay(
            f"Ray Serve is not installed here ({exc}): pip install 'adavae[ray]', on every machine of the cluster"
        ) from exc


def reach_cluster(address: str | None = None) -> None:
    """Connects this process to a running cluster; at once where it is connected.

    Args:
        address: Its ``host:port``; None for RAY_ADDRESS, else for the one that this machine belongs to.

    Raises:
        NoRay: Ray is not installed here.
        NoCluster: Nobody answers there.
    """
    require_ray()
    import ray

    if ray.is_initialized():
        return
    try:
        ray.init(address or "auto", namespace=NAMESPACE, configure_logging=False, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as exc:
        where = f"no Ray cluster answers at {address}" if address else "this machine belongs to no Ray cluster"
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise NoCluster(f"{where} ({reason}): {_START}, or name one by --address or RAY_ADDRESS") from exc


@contextlib.contextmanager
def reached(address: str | None = None) -> Iterator[None]:
    """As ``reach_cluster``, for the length of a command."""
    reach_cluster(address)
    import ray

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        yield
    finally:
        ray.shutdown()
