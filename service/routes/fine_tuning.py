"""/v1/fine_tuning/jobs: training runs, made, listed, watched, and told to stop and to go on."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Header, Path, Query, Response

from adavae.service.http.replies import JsonReply
from adavae.service.jobs.protocol import JobOperations
from adavae.service.jobs.records.event_log import event_number
from adavae.service.jobs.records.job import JobEvent
from adavae.service.routes.dependencies import IdempotencyKey, Training
from adavae.service.routes.event_stream import EventStream
from adavae.service.routes.job_shapes import shape_checkpoint, shape_event, shape_job
from adavae.service.schemas.training import EVENT_ID, CheckpointsQuery, EventsQuery, JobBody, JobsQuery

JobIdInPath = Annotated[str, Path(description="The job's id.", max_length=200, examples=["ftjob-" + "0" * 24])]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", pattern=EVENT_ID, description="The last event that an earlier stream gave."),
]
Accept = Annotated[str, Header(include_in_schema=False)]


async def create_job(body: JobBody, training: Training, idempotency_key: IdempotencyKey = None) -> JsonReply:
    """Queues a training run over stored texts; it becomes an adapter set called `suffix`.

    Labels in the texts train a classification head; without labels only the latent space is trained.
    """
    return JsonReply(shape_job(await training.jobs.create(body.to_new_job(), idempotency_key=idempotency_key)))


async def list_jobs(query: Annotated[JobsQuery, Query()], training: Training) -> JsonReply:
    """Jobs, newest first; with `metadata[key]=value` those that have this pair."""
    page = await training.jobs.list(limit=query.limit, after=query.after, metadata=query.metadata or None)
    return JsonReply({"object": "list", "data": [shape_job(job) for job in page.items], "has_more": page.has_more})


async def get_job(job_id: JobIdInPath, training: Training) -> JsonReply:
    """One job: how far it is, or what it ended with."""
    return JsonReply(shape_job(await training.jobs.get(job_id)))


async def list_events(
    job_id: JobIdInPath,
    query: Annotated[EventsQuery, Query()],
    training: Training,
    last_event_id: LastEventId = None,
    accept: Accept = "",
) -> Response:
    """What happened in a job, newest first.

    With `stream=true` or `Accept: text/event-stream` the reply is server-sent events, oldest first, each with its id,
    until the job is finished and all is told; then `[DONE]`. A client that comes back with `Last-Event-ID` goes on
    from there; where there is nothing more to tell it is answered 204, by which a browser's EventSource ends.
    """
    jobs = training.jobs
    if query.stream or "text/event-stream" in accept:
        job = await jobs.get(job_id)  # before the reply begins: what is refused has a status of its own
        if job.status.is_finished and last_event_id and await _knows_all(jobs, job_id, last_event_id):
            return Response(status_code=204)
        events = jobs.watch(job_id, after=last_event_id or query.after)
        return EventStream(_shaped(events), id_of=lambda event: str(event["id"]))
    page = await jobs.events(job_id, limit=query.limit, after=query.after)
    data = [shape_event(event) for event in page.items]
    return JsonReply({"object": "list", "data": data, "has_more": page.has_more})


async def list_checkpoints(
    job_id: JobIdInPath, query: Annotated[CheckpointsQuery, Query()], training: Training
) -> JsonReply:
    """What of a job can be used as a model: the set that it published, once it has; nothing before."""
    job = await training.jobs.get(job_id)
    shaped = [] if job.adapter is None else [shape_checkpoint(job, job.adapter)]
    data = [each for each in shaped if each["id"] != query.after][: query.limit]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return JsonReply({"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last})


async def cancel_job(job_id: JobIdInPath, training: Training) -> JsonReply:
    """Ends a job; one that is running is `cancelled` within seconds."""
    return JsonReply(shape_job(await training.jobs.cancel(job_id)))


async def pause_job(job_id: JobIdInPath, training: Training) -> JsonReply:
    """Lays a job aside; one that is running keeps a checkpoint first."""
    return JsonReply(shape_job(await training.jobs.pause(job_id)))


async def resume_job(job_id: JobIdInPath, training: Training) -> JsonReply:
    """Queues a paused job again; it goes on from its checkpoint."""
    return JsonReply(shape_job(await training.jobs.resume(job_id)))


async def _knows_all(jobs: JobOperations, job_id: str, last_event_id: str) -> bool:
    """Whether nothing came after this event; asked of a finished job."""
    newest = (await jobs.events(job_id, limit=1, after=None)).items
    return not newest or (event_number(newest[0].id) or 0) <= (event_number(last_event_id) or 0)


async def _shaped(events: AsyncGenerator[JobEvent, None]) -> AsyncGenerator[dict[str, object], None]:
    async with contextlib.aclosing(events):
        async for event in events:
            yield shape_event(event)
