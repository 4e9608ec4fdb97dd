"""Training jobs as the routes ask for them: checked requests become records on the volume, and records answers."""

import asyncio
import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from adavae.model.config import BackboneConfig
from adavae.model.errors import AdaVAEError, ConfigError
from adavae.model.training.config import Preset
from adavae.model.training.splitting import must_refuse, no_text_to_spare
from adavae.service.caller import CALLER
from adavae.service.errors import InvalidRequest, ServiceError
from adavae.service.jobs.backbone_description import BackboneDescription
from adavae.service.jobs.hyperparameters import Hyperparameters, effective_hyperparameters
from adavae.service.jobs.job_watches import JobWatches
from adavae.service.jobs.protocol import FileOperations, Page
from adavae.service.jobs.queue.queue import JobQueue
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.caller import EVERYBODY, Caller
from adavae.service.jobs.records.event_log import event_number
from adavae.service.jobs.records.job import Job, JobEvent, JobStatus, NewJob, StoredFile
from adavae.service.jobs.records.job_errors import JobDamaged, JobNotFound
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.jobs.records.open_records import open_owners, open_volume
from adavae.service.jobs.records.volume import Volume
from adavae.service.settings import Settings

_POLL_S, _POLL_STORE_S = 0.25, 1.0  # every look at a store costs a request or two
_CHANGES_OF_ONE_JOB = 4
_LABELS_TOLD, _WARNINGS_TOLD, _LONGEST_WARNING = 20, 20, 2000


class JobService:
    """``JobOperations`` over the store; the event loop never waits for the disk.

    All its methods raise ServiceError (503) where the volume is away, full, or fails.
    """

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        files: FileOperations,
        queue: JobQueue,
        describe: Callable[[], BackboneDescription],
        volume: Volume | None = None,
    ) -> None:
        """``describe`` gives the backbone; raises ServiceError as long as that is not known."""
        self._volume = volume or open_volume(settings)
        self._settings, self._store, self._files, self._queue = settings, store, files, queue
        self._describe, self._set_owners = describe, open_owners(settings)
        poll_s = _POLL_S if settings.shared is None else _POLL_STORE_S
        self._watches = JobWatches(store.records, self._volume, poll_s)
        self._under_way = Counter[str]()
        self._telling: set[asyncio.Task[None]] = set()

    async def create(self, new: NewJob, *, idempotency_key: str | None = None, caller: Caller = EVERYBODY) -> Job:
        request_digest = _digest(new)
        if idempotency_key is not None:
            earlier = await self._volume.read(self._store.made_with, idempotency_key, request_digest, caller.owner)
            if earlier is not None:
                return earlier
        draft = await self._draft(new, idempotency_key, caller)
        job = await self._volume.change(self._put_in_store, draft, request_digest)
        if job.id == draft.id:
            await self._refuse_files_that_went(job)
            self._tell_workers(job)
        return job

    async def get(self, job_id: str) -> Job:
        return await self._volume.read(self._intact, job_id)

    async def list(
        self,
        *,
        limit: int,
        after: str | None,
        metadata: dict[str, str] | None = None,
        caller: Caller = EVERYBODY,
    ) -> Page[Job]:
        return await self._volume.read(self._page, limit, after, metadata or {}, caller)

    async def events(self, job_id: str, *, limit: int, after: str | None) -> Page[JobEvent]:
        before = _number(after) if after is not None else None
        history = await self._volume.read(self._store.history, job_id)
        written = await self._volume.read(history.read)
        events = [event for event in reversed(written) if before is None or (event_number(event.id) or 0) < before]
        return Page(events[:limit], has_more=len(events) > limit)

    def watch(self, job_id: str, *, after: str | None) -> AsyncGenerator[JobEvent, None]:
        """Raises Overloaded at once where the caller has too many streams."""
        client = CALLER.get()
        self._watches.check_room(client)
        return self._watched(job_id, after, client)

    async def _watched(self, job_id: str, after: str | None, client: str) -> AsyncGenerator[JobEvent, None]:
        last = _number(after) if after is not None else 0
        async with aclosing(self._watches.events(job_id, last, client)) as events:
            async for event in events:
                yield event

    async def cancel(self, job_id: str) -> Job:
        return await self._change(wishes.cancel, job_id)

    async def pause(self, job_id: str) -> Job:
        return await self._change(wishes.pause, job_id)

    async def resume(self, job_id: str) -> Job:
        job = await self._change(wishes.resume, job_id)
        if job.status is JobStatus.QUEUED:
            self._tell_workers(job)
        return job

    def end_watching(self) -> None:
        """Every ``watch`` ends within a moment with an error that asks to come back; safe in a signal handler."""
        self._watches.end()

    async def close(self) -> None:
        """Waits for what is being told to workers."""
        await asyncio.gather(*self._telling)

    async def _change(self, wish: Callable[[JobStore, str], Job], job_id: str) -> Job:
        """Few at a time of one job: where its lock is stuck, the changes of others still find a thread."""
        if self._under_way[job_id] >= _CHANGES_OF_ONE_JOB:
            message = (
                f"{_CHANGES_OF_ONE_JOB} requests wait for {job_id[:60]!r} already: its worker or the volume hangs, try "
                "again later"
            )
            raise ServiceError(503, "job_busy", message, retry_after_s=5)
        self._under_way[job_id] += 1
        try:
            return await self._volume.change(wish, self._store, job_id)
        finally:
            self._under_way[job_id] -= 1
            if not self._under_way[job_id]:
                del self._under_way[job_id]

    def _tell_workers(self, job: Job) -> None:
        """Without waiting for the queue: they find the job anyway."""
        telling = asyncio.create_task(self._queue.enqueue(job.id))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _draft(self, new: NewJob, idempotency_key: str | None, caller: Caller) -> Job:
        """The job that a request asks for; raises ServiceError where something is wrong with it."""
        self._refuse_unknown_backbone(new.backbone)
        _refuse_name(new.adapter_name)
        if not caller.is_admin:
            await self._volume.read(self._refuse_shadowing, new.adapter_name, caller.owner)
        training = await self._file(new.training_file, "training_file", caller)
        held_back = None
        if new.validation_file is not None:
            held_back = await self._file(new.validation_file, "validation_file", caller)
        backbone = self._describe()
        seed = new.seed if new.seed is not None else secrets.randbelow(2**31)
        hyperparameters, config = await asyncio.to_thread(_configure, new, backbone.config, seed, training)
        if held_back is not None and Preset(config["preset"]).trains_head(len(training.labels)):
            _refuse_other_labels(training, held_back)
        if held_back is None:
            _refuse_unsparing(training)
        return Job(
            id=await self._volume.read(self._store.new_id),
            status=JobStatus.QUEUED,
            created_at=int(time.time()),
            training_file=training.id,
            validation_file=held_back.id if held_back is not None else None,
            backbone=new.backbone,
            backbone_digest=backbone.digest,
            adapter_name=new.adapter_name,
            hyperparameters=hyperparameters,
            config=config,
            seed=seed,
            metadata=dict(new.metadata),
            report=_report(training, held_back),
            idempotency_key=idempotency_key,
            owner=caller.owner,
            may_shadow=caller.is_admin,
        )

    def _refuse_unknown_backbone(self, name: str) -> None:
        served = self._settings.backbone
        if name != served:
            raise InvalidRequest(
                f"model is {name[:100]!r}, this service has the backbone {served!r} and trains over no other: ask for "
                f"{served!r}",
                param="model",
                code="model_not_found",
            )

    def _refuse_shadowing(self, name: str, owner: str | None) -> None:
        if (objection := self._set_owners.objection(name, owner)) is not None:
            raise ServiceError(403, "name_taken", objection, param="suffix")

    async def _refuse_files_that_went(self, job: Job) -> None:
        """A file may have been deleted before anybody could know that this job uses it."""
        try:
            await self._file(job.training_file, "training_file")
            if job.validation_file is not None:
                await self._file(job.validation_file, "validation_file")
        except ServiceError:
            await self._volume.change(wishes.cancel, self._store, job.id)
            raise

    async def _file(self, file_id: str, param: str, caller: Caller = EVERYBODY) -> StoredFile:
        try:
            stored = await self._files.get(file_id)
        except ServiceError as exc:
            if exc.status != 404:
                raise
            raise _no_such_file(file_id, param) from exc
        if not caller.sees(stored.owner):
            raise _no_such_file(file_id, param)
        return stored

    def _put_in_store(self, job: Job, request_digest: str) -> Job:
        limit, key_limit = self._settings.max_open_jobs, self._settings.max_open_jobs_per_key
        return self._store.create(job, request_digest=request_digest, max_open=limit, max_open_of_owner=key_limit)

    def _intact(self, job_id: str) -> Job:
        """A job whose hyperparameters can be shown; raises JobNotFound, and JobDamaged for any other."""
        job = self._store.get(job_id)
        try:
            effective_hyperparameters(job.hyperparameters, job.config)
        except (AdaVAEError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as exc:
            raise JobDamaged(job_id, f"config: {type(exc).__name__}") from exc
        return job

    def _intact_or_none(self, job_id: str) -> Job | None:
        """None where it is damaged, or has gone meanwhile: the other jobs of a list are shown all the same."""
        if self._store.readable(job_id) is None:
            return None
        try:
            return self._intact(job_id)
        except (JobDamaged, JobNotFound):
            return None

    def _page(self, limit: int, after: str | None, metadata: Mapping[str, str], caller: Caller) -> Page[Job]:
        """From the newest on, and no further than the page: in an object store every record is a request."""
        ids, is_seen = self._store.ids(), self._seen_by(caller)
        if after is not None:
            if after not in ids or not is_seen(after):
                raise InvalidRequest(f"after is {after[:100]!r}, and there is no such job: leave it out", param="after")
            ids = ids[ids.index(after) + 1 :]
        matching: list[Job] = []
        for job_id in filter(is_seen, ids):
            job = self._intact_or_none(job_id)
            if job is None or not caller.sees(job.owner):
                continue
            if all(job.metadata.get(key) == value for key, value in metadata.items()):
                matching.append(job)
            if len(matching) > limit:
                break
        return Page(matching[:limit], has_more=len(matching) > limit)

    def _seen_by(self, caller: Caller) -> Callable[[str], bool]:
        """Tells of an id whether the job is to be looked at for a caller; what its record says counts after that."""
        if caller.is_admin:
            return lambda _job_id: True
        return (lambda _job_id: False) if caller.owner is None else self._store.belonging_to(caller.owner)


def _configure(
    new: NewJob, backbone: BackboneConfig, seed: int, training: StoredFile
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hyperparameters as asked for, and the run's whole configuration as JSON types."""
    try:
        wanted = Hyperparameters.model_validate(dict(new.hyperparameters))
        config = wanted.training_config(backbone, seed=seed, num_labels=len(training.labels))
        config.adapter.check_fits(backbone)
    except ConfigError as exc:
        raise InvalidRequest(str(exc), param=f"hyperparameters.{exc.field}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        param = ".".join(map(str, ("hyperparameters", *first["loc"])))
        message = first["msg"] if first["input"] is None else f"{param} is {first['input']!r}: {first['msg']}"
        raise InvalidRequest(message, param=param) from exc
    return dict(new.hyperparameters), config.to_dict()


def _refuse_name(name: str) -> None:
    from adavae.model.storage.adapter_name import check_name

    try:
        check_name(name)
    except ConfigError as exc:
        raise InvalidRequest(str(exc), param="suffix") from exc


def _report(training: StoredFile, held_back: StoredFile | None) -> dict[str, Any]:
    """What was found in the data, and under which names it came; the files' own reports tell all of it."""
    files = (
        {"training_file": training} if held_back is None else {"training_file": training, "validation_file": held_back}
    )
    return {name: {"filename": stored.filename, **_summary(stored)} for name, stored in files.items()}


def _summary(stored: StoredFile) -> dict[str, Any]:
    """A file's report, bounded: of its labels the commonest and how many there are, of its warnings the beginning."""
    report = dict(stored.report)
    if "labels" in report:
        commonest = sorted(stored.labels, key=lambda name: (-stored.labels[name], name))[:_LABELS_TOLD]
        report["labels"] = {name: stored.labels[name] for name in sorted(commonest)}
        report["num_labels"] = len(stored.labels)
    if isinstance(warnings := report.get("warnings"), list):
        report["warnings"] = [str(warning)[:_LONGEST_WARNING] for warning in warnings[:_WARNINGS_TOLD]]
    return report


def _refuse_other_labels(training: StoredFile, held_back: StoredFile) -> None:
    """The head's classes are the training file's: others cannot be measured."""
    if unknown := sorted(set(held_back.labels) - set(training.labels)):
        message = f"validation_file has labels that training_file lacks ({', '.join(unknown[:5])}): remove those rows"
        raise InvalidRequest(message, param="validation_file")
    if not held_back.labels:
        message = "training_file has labels, and validation_file has none: add them, or leave it out"
        raise InvalidRequest(message, param="validation_file")


def _refuse_unsparing(training: StoredFile) -> None:
    """Where none are given, validation texts are split off; what the worker would find out is told at once."""
    duplicates, conflicting = (training.report.get(name) for name in ("normalised_duplicates", "conflicting_texts"))
    if not isinstance(duplicates, int) or not isinstance(conflicting, int):  # a record of another version
        duplicates, conflicting = 0, training.num_rows
    if must_refuse(training.labels.values(), training.num_rows - duplicates, conflicting):
        raise InvalidRequest(no_text_to_spare(training.filename), param="training_file", code="invalid_data")


def _no_such_file(file_id: str, param: str) -> InvalidRequest:
    message = f"{param} is {file_id[:100]!r}, and there is no such file: upload it with POST /v1/files"
    return InvalidRequest(message, param=param, code="file_not_found")


def _digest(new: NewJob) -> str:
    """Of everything that was asked for."""
    return hashlib.sha256(json.dumps(asdict(new), sort_keys=True).encode()).hexdigest()


def _number(after: str) -> int:
    number = event_number(after)
    if number is None:
        raise InvalidRequest(f"after is {after[:100]!r}, and event ids look like ftevent-000000001", param="after")
    return number
