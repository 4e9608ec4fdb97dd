"""What training shows at GET /metrics: jobs by status, and how the current run does."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from adavae.service.jobs.records.job import JobStatus

_LOSSES = {
    "loss": "total",
    "reconstruction_nats": "reconstruction",
    "kl_nats": "kl",
    "head_nats": "head",
    "validation_loss": "validation",
}


class TrainingMetrics:
    """Counters and gauges of one worker, in the registry of the process it runs in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Gauge("adavae_training_jobs", "Jobs that are not finished.", ["status"], registry=registry)
        self.attempts_total = Counter(
            "adavae_training_attempts_total", "Attempts by how they ended.", ["outcome"], registry=registry
        )
        self.steps_total = Counter("adavae_training_steps_total", "Training steps taken.", registry=registry)
        self.tokens_per_s = Gauge("adavae_training_tokens_per_second", "Target tokens a second.", registry=registry)
        self.progress = Gauge("adavae_training_progress", "Share of the run's steps, 0 to 1.", registry=registry)
        self.loss = Gauge(
            "adavae_training_loss", "Parts of the loss: nats, by token or by text.", ["part"], registry=registry
        )
        self.beta = Gauge("adavae_training_beta", "Weight of the KL.", registry=registry)

    def set_jobs(self, counts: Mapping[JobStatus, int]) -> None:
        for status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED):
            self.jobs.labels(status=str(status)).set(counts.get(status, 0))

    def set_progress(self, figures: Mapping[str, Any], *, num_steps: int) -> None:
        """The newest figures of a run, ``num_steps`` after those before."""
        self.steps_total.inc(num_steps)
        self.tokens_per_s.set(figures["tokens_per_s"])
        self.progress.set(figures["step"] / figures["total_steps"])
        self.beta.set(figures["beta"])
        for name, part in _LOSSES.items():
            if figures.get(name) is not None:
                self.loss.labels(part=part).set(figures[name])

    def set_idle(self) -> None:
        self.tokens_per_s.set(0)
        self.progress.set(0)
