"""How many replicas the load asks for: by requests under way and by rows that wait for the device, whichever asks more.

Ray copies this file into its controller, so it imports nothing of ours.
"""

from collections.abc import Mapping
from typing import Any, Protocol

QUEUE_ROWS = "queue_rows"
"""The figure that replicas report beside their requests."""


class Load(Protocol):
    """What Serve's controller knows of a deployment; ``ray.serve.config.AutoscalingContext`` is one."""

    @property
    def current_num_replicas(self) -> int: ...

    @property
    def target_num_replicas(self) -> int: ...

    @property
    def total_num_requests(self) -> float: ...

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...


class LoadPolicy:
    """An autoscaling policy of Ray Serve; bounds, delays and damping are Serve's own."""

    def __init__(self, requests_a_replica: float, rows_a_replica: float) -> None:
        """What one replica should have of each, under way and waiting; both above zero."""
        self._requests, self._rows = requests_a_replica, rows_a_replica

    def __call__(self, load: Load) -> tuple[float, dict[str, Any]]:
        """Replicas wanted, and no state: every look begins anew."""
        if load.current_num_replicas == 0:
            return float(load.target_num_replicas), {}
        waiting = (load.aggregated_metrics or {}).get(QUEUE_ROWS) or {}
        by_requests = load.total_num_requests / self._requests
        by_rows = sum(waiting.values()) / self._rows
        return max(by_requests, by_rows), {}
