"""What an Idempotency-Key is called where it is remembered, and the answer to one that was used for something else."""

import hashlib

from adavae.service.jobs.records.job_errors import JobConflict


class KeyReused(JobConflict):
    """The key was used before, with another request; ``made`` is what came of that."""

    def __init__(self, key: str, made: str) -> None:
        super().__init__(
            f"the Idempotency-Key {key[:60]!r} was used for another request, which made {made}: repeat that request, "
            "or take a new key",
            code="idempotency_key_reused",
        )


def key_name(key: str, owner: str | None) -> str:
    """Every owner has idempotency keys of its own; no name of an owner has a blank in it."""
    scoped = key if owner is None else f"{owner} {key}"
    return hashlib.sha256(scoped.encode()).hexdigest()
