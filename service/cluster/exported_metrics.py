"""A registry's figures as Ray's own metrics, which Ray gathers from all processes of a machine for its Prometheus port.

``GET /metrics`` of a cluster is that of whichever replica answers; what Ray exports has every replica's, by the label
``replica``. All go as gauges under their own names after ``ray_``, parts of histograms too: Ray's counters would have
other names and its histograms take single observations. PromQL's ``rate`` and ``histogram_quantile`` take them alike.
"""

import asyncio

import ray
from prometheus_client import CollectorRegistry
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.util.metrics import Gauge

_EVERY_S = 5.0
_OF_THE_PROCESS, _CREATED = "process_", "_created"  # Ray watches processes itself


class ExportedMetrics:
    """Hands on one registry; used from one event loop."""

    def __init__(self, registry: CollectorRegistry, labels: dict[str, str]) -> None:
        """``labels`` say whose figures they are."""
        self._registry, self._labels = registry, labels
        self._gauges: dict[str, Gauge] = {}

    async def run(self) -> None:
        """Every few seconds, until cancelled; not at all where there is no cluster (Serve's local testing mode)."""
        while ray.is_initialized():
            self.export()
            await asyncio.sleep(_EVERY_S)

    def export(self) -> None:
        """Once."""
        for family in self._registry.collect():
            for sample in family.samples:
                if not sample.name.startswith(_OF_THE_PROCESS) and not sample.name.endswith(_CREATED):
                    labels = {**sample.labels, **self._labels}
                    self._gauge(sample.name, family.documentation, tuple(labels)).set(sample.value, tags=labels)

    def _gauge(self, name: str, about: str, labels: tuple[str, ...]) -> Gauge:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, about, tag_keys=labels)
        return self._gauges[name]


def replica_name() -> str:
    """What Serve calls the replica that runs here; empty outside of one."""
    try:
        return str(serve.get_replica_context().replica_id.unique_id)
    except RayServeException:
        return ""
