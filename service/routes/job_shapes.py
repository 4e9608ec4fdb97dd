"""How training jobs and their events look on the wire: OpenAI's fields and, beside them, ours."""

from dataclasses import asdict

from adavae.service.jobs.hyperparameters import effective_hyperparameters
from adavae.service.jobs.records.job import Job, JobEvent

_ORGANIZATION = "adavae"  # OpenAI's shape has one; there is only this one here


def shape_job(job: Job) -> dict[str, object]:
    """``fine_tuning.job``, with the hyperparameters that the job really trains with."""
    hyperparameters = effective_hyperparameters(job.hyperparameters, job.config)
    return {
        "object": "fine_tuning.job",
        "id": job.id,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "model": job.backbone,
        "fine_tuned_model": job.adapter,
        "organization_id": _ORGANIZATION,
        "status": job.status,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "hyperparameters": hyperparameters,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        "trained_tokens": job.trained_tokens,
        "result_files": [],
        "seed": job.seed,
        "error": asdict(job.error) if job.error is not None else None,
        "estimated_finish": job.estimated_finish,
        "integrations": [],
        "metadata": job.metadata,
        "suffix": job.adapter_name,
        "attempt": job.attempt,
        "report": job.report,
        "progress": job.progress,
        "metrics": job.metrics,
        "owner": job.owner,
    }


def shape_checkpoint(job: Job, adapter: str) -> dict[str, object]:
    """``fine_tuning.job.checkpoint``: the set that the job published; a run's other checkpoints serve nobody."""
    progress = job.progress or {}
    given = progress.get("step")
    step = given if isinstance(given, int) else 0  # a record is trusted no more than a client
    metrics = {"step": step, "train_loss": progress.get("loss"), "valid_loss": progress.get("validation_loss")}
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": job.id.replace("ftjob-", "ftckpt-"),
        "created_at": job.finished_at or job.created_at,
        "fine_tuned_model_checkpoint": adapter,
        "fine_tuning_job_id": job.id,
        "step_number": step,
        "metrics": {name: value for name, value in metrics.items() if value is not None},
    }


def shape_event(event: JobEvent) -> dict[str, object]:
    """``fine_tuning.job.event``."""
    return {"object": "fine_tuning.job.event", **asdict(event)}
