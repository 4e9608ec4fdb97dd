"""Two keys and an admin over one volume: nobody sees, changes or uses up what belongs to another."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adavae.service.jobs.backbone_description import BackboneDescription
from adavae.service.jobs.data.file_store import FileStore
from adavae.service.jobs.job_service import JobService
from adavae.service.jobs.owned import OwnedFiles, OwnedJobs, OwnedTraining
from adavae.service.jobs.queue.in_process import InProcessQueue
from adavae.service.jobs.records.caller import EVERYBODY, Caller
from adavae.service.jobs.records.job import NewJob
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.main import create_app
from tests.tiny import TINY
from tests.unit.service.jobs.file_home import TRAINABLE, count_with_tiny_tokenizer
from tests.unit.service.jobs.job_home import new_job
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

ALICE, ALICE_ANEW, BOB, ROOT = (f"{name}-0123456789abcdef" for name in ("alice", "anew", "bob", "root"))
KEYS = f"{ALICE}:train,name=alice {ALICE_ANEW}:train,name=alice {BOB}:train {ROOT}:train,admin"
NEVER_WAS = {"file": "file-" + "0" * 24, "job": "ftjob-" + "0" * 24}


class Training:
    """``TrainingOperations`` over a real volume, on which nobody trains."""

    def __init__(self, root: Path, **fields: Any) -> None:
        self.settings = stub_settings(
            data=root / "data", weights=root / "weights", default_adapter="standard@1", api_keys=KEYS, **fields
        )
        (self.settings.bundled_adapters / "yelp" / "1").mkdir(parents=True)
        self.store = JobStore(self.settings.jobs)
        self.files = FileStore(self.settings, self.store, count_with_tiny_tokenizer)
        description = BackboneDescription(TINY, "d" * 64)
        self.jobs = JobService(self.settings, self.store, self.files, InProcessQueue(), lambda: description)

    def seen_by(self, caller: Caller) -> OwnedTraining:
        return OwnedTraining(OwnedFiles(self.files, caller), OwnedJobs(self.jobs, caller))

    async def start(self) -> None: ...

    def end_watching(self) -> None:
        self.jobs.end_watching()

    async def stop(self) -> None: ...


@dataclass
class Key:
    """Requests with one key."""

    client: TestClient
    key: str

    def ask(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        headers = {"x-api-key": self.key, **options.pop("headers", {})}
        reply = self.client.request(method, path, headers=headers, **options)
        return reply.status_code, reply.json()

    def upload(self) -> str:
        form = {"files": {"file": ("a.jsonl", TRAINABLE)}, "data": {"purpose": "fine-tune"}}
        status, stored = self.ask("POST", "/v1/files", **form)
        assert status == 200, stored
        return str(stored["id"])

    def create(self, file_id: str, suffix: str = "mine", **headers: str) -> tuple[int, dict[str, Any]]:
        body = {"model": "bundled", "training_file": file_id, "suffix": suffix}
        return self.ask("POST", "/v1/fine_tuning/jobs", json=body, headers=headers)

    def listed(self, path: str) -> list[str]:
        status, page = self.ask("GET", path)
        assert status == 200
        return [entry["id"] for entry in page["data"]]


@dataclass
class Tenants:
    training: Training
    alice: Key
    alice_anew: Key
    bob: Key
    root: Key


def tenants_of(training: Training) -> Iterator[Tenants]:
    app = create_app(training.settings, StubLatentService(), training=training)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=True) as client:
        yield Tenants(training, *(Key(client, key) for key in (ALICE, ALICE_ANEW, BOB, ROOT)))


@pytest.fixture
def tenants(tmp_path: Path) -> Iterator[Tenants]:
    yield from tenants_of(Training(tmp_path))


@pytest.fixture
def tenants_with_quotas(tmp_path: Path) -> Iterator[Tenants]:
    yield from tenants_of(Training(tmp_path, max_files_per_key=2, max_open_jobs_per_key=2))


def install(training: Training, name: str, owner: str | None = None) -> None:
    (training.settings.own_adapters / name / "1").mkdir(parents=True)
    if owner is not None:
        training.settings.set_owners.mkdir(exist_ok=True)
        (training.settings.set_owners / f"{name}.json").write_text(
            f'{{"owner": "{owner}", "versions": ["1"]}}', encoding="utf-8"
        )


OF_FILES = [("GET", ""), ("GET", "/content"), ("DELETE", "")]
OF_JOBS = [("GET", ""), ("GET", "/events"), ("GET", "/events?stream=true")]
OF_JOBS += [("POST", f"/{change}") for change in ("cancel", "pause", "resume")]


@pytest.mark.parametrize(("method", "path"), OF_FILES)
def test_anothers_file_is_answered_like_a_missing_one(tenants: Tenants, method: str, path: str) -> None:
    file_id = tenants.alice.upload()
    refused = tenants.bob.ask(method, f"/v1/files/{file_id}{path}")
    status, error = tenants.bob.ask(method, f"/v1/files/{NEVER_WAS['file']}{path}")
    assert refused[0] == status == 404
    assert str(refused[1]).replace(file_id, "") == str(error).replace(NEVER_WAS["file"], "")
    assert tenants.alice.ask("GET", f"/v1/files/{file_id}")[0] == 200


@pytest.mark.parametrize(("method", "path"), OF_JOBS)
def test_anothers_job_is_answered_like_a_missing_one(tenants: Tenants, method: str, path: str) -> None:
    _, job = tenants.alice.create(tenants.alice.upload())
    refused = tenants.bob.ask(method, f"/v1/fine_tuning/jobs/{job['id']}{path}")
    status, error = tenants.bob.ask(method, f"/v1/fine_tuning/jobs/{NEVER_WAS['job']}{path}")
    assert refused[0] == status == 404
    assert str(refused[1]).replace(job["id"], "") == str(error).replace(NEVER_WAS["job"], "")
    assert tenants.alice.ask("GET", f"/v1/fine_tuning/jobs/{job['id']}")[1]["status"] == "queued"


def test_lists_have_the_callers_own_and_admins_see_all(tenants: Tenants) -> None:
    of_alice, of_bob = [tenants.alice.upload(), tenants.alice_anew.upload()], [tenants.bob.upload()]
    jobs = {key: owner.create(file_id)[1]["id"] for key, owner, file_id in owners_and_files(tenants, of_alice, of_bob)}
    assert tenants.alice.listed("/v1/files") == tenants.alice_anew.listed("/v1/files") == of_alice[::-1]
    assert tenants.bob.listed("/v1/files") == of_bob
    assert tenants.root.listed("/v1/files") == (of_alice + of_bob)[::-1]
    assert tenants.alice.listed("/v1/fine_tuning/jobs") == [jobs["alice"]]
    assert tenants.bob.listed("/v1/fine_tuning/jobs") == [jobs["bob"]]
    assert tenants.root.listed("/v1/fine_tuning/jobs") == [jobs["bob"], jobs["alice"]]
    assert tenants.bob.ask("GET", f"/v1/fine_tuning/jobs?after={jobs['alice']}")[0] == 422


def owners_and_files(tenants: Tenants, of_alice: list[str], of_bob: list[str]) -> list[tuple[str, Key, str]]:
    return [("alice", tenants.alice, of_alice[0]), ("bob", tenants.bob, of_bob[0])]


def test_pages_of_the_callers_own_are_whole_among_others(tenants: Tenants) -> None:
    mine = []
    for _ in range(3):
        mine.append(tenants.alice.upload())
        tenants.bob.upload()
    status, page = tenants.alice.ask("GET", "/v1/files?limit=2")
    assert (status, [entry["id"] for entry in page["data"]], page["has_more"]) == (200, mine[:0:-1], True)
    _, rest = tenants.alice.ask("GET", f"/v1/files?limit=2&after={page['last_id']}")
    assert ([entry["id"] for entry in rest["data"]], rest["has_more"]) == (mine[:1], False)


def test_a_job_over_anothers_file_is_refused_like_one_over_a_missing_file(tenants: Tenants) -> None:
    file_id = tenants.alice.upload()
    refused, never_was = tenants.bob.create(file_id), tenants.bob.create(NEVER_WAS["file"])
    assert refused[0] == never_was[0] == 422
    assert refused[1]["error"]["code"] == never_was[1]["error"]["code"] == "file_not_found"
    assert tenants.root.create(file_id)[0] == 200
    mine, held_back = tenants.bob.upload(), {"validation_file": file_id}
    body = {"model": "bundled", "training_file": mine, "suffix": "mine", **held_back}
    assert tenants.bob.ask("POST", "/v1/fine_tuning/jobs", json=body)[0] == 422


def test_an_idempotency_key_is_its_owners(tenants: Tenants) -> None:
    """Regression: one key's job was given to another that took the same idempotency key."""
    once = {"idempotency-key": "once"}
    file_id = tenants.alice.upload()
    first, again = tenants.alice.create(file_id, **once), tenants.alice_anew.create(file_id, **once)
    assert first == again
    status, others = tenants.bob.create(tenants.bob.upload(), **once)
    assert (status, others["id"] == first[1]["id"]) == (200, False)
    assert tenants.alice.create(file_id, "other", **once)[0] == 409


def test_one_key_cannot_use_up_the_places_of_all(tenants_with_quotas: Tenants) -> None:
    alice, alice_anew, bob = (getattr(tenants_with_quotas, name) for name in ("alice", "alice_anew", "bob"))
    files = [alice.upload(), alice_anew.upload()]
    form = {"files": {"file": ("a.jsonl", TRAINABLE)}, "data": {"purpose": "fine-tune"}}
    status, error = alice.ask("POST", "/v1/files", **form)
    assert (status, error["error"]["code"]) == (409, "too_many_files")
    assert "2 files of this key" in error["error"]["message"] and "ADAVAE_MAX_FILES_PER_KEY" in str(error)
    jobs = [alice.create(files[0])[1]["id"], alice_anew.create(files[1])[1]["id"]]
    status, error = alice.create(files[0])
    assert (status, error["error"]["code"]) == (429, "overloaded")
    assert "2 training jobs of this key" in str(error) and "ADAVAE_MAX_OPEN_JOBS_PER_KEY" in str(error)
    assert bob.create(bob.upload())[0] == 200
    assert alice.ask("POST", f"/v1/fine_tuning/jobs/{jobs[0]}/cancel")[0] == 200
    assert alice.create(files[0])[0] == 200
    assert alice.ask("DELETE", f"/v1/files/{files[1]}")[0] == 409


@pytest.mark.asyncio
async def test_uploads_under_way_count_for_their_key(tmp_path: Path) -> None:
    training = Training(tmp_path, max_files_per_key=1)
    may_go_on, has_begun = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield TRAINABLE
        has_begun.set()
        await may_go_on.wait()

    async def at_once() -> AsyncIterator[bytes]:
        yield TRAINABLE

    alice, bob = (training.seen_by(Caller(name, is_admin=False)).files for name in ("alice", "bob"))
    under_way = asyncio.create_task(alice.create("a.jsonl", "fine-tune", slowly()))
    await has_begun.wait()
    with pytest.raises(Exception, match="1 files of this key"):
        await alice.create("a.jsonl", "fine-tune", at_once())
    await bob.create("a.jsonl", "fine-tune", at_once())
    may_go_on.set()
    await under_way


@pytest.mark.parametrize("suffix", ["yelp", "standard", "bobs", "nobodys"])
def test_taking_a_name_that_others_rely_on_takes_admin(tenants: Tenants, suffix: str) -> None:
    """Regression: a key with train and the suffix yelp replaced the default set for everybody."""
    install(tenants.training, "bobs", "bob-was-here")
    install(tenants.training, "nobodys")
    status, error = tenants.alice.create(tenants.alice.upload(), suffix)
    assert (status, error["error"]["code"], error["error"]["param"]) == (403, "name_taken", "suffix")
    assert "admin" in error["error"]["message"] and "choose another suffix" in error["error"]["message"]
    assert "bob" not in error["error"]["message"].replace("bobs", "")
    status, job = tenants.root.create(tenants.root.upload(), suffix)
    assert status == 200
    assert tenants.training.store.get(job["id"]).may_shadow


def test_the_callers_own_name_and_a_free_one_are_accepted(tenants: Tenants) -> None:
    install(tenants.training, "own", "alice")
    for suffix in ("own", "free"):
        status, job = tenants.alice_anew.create(tenants.alice.upload(), suffix)
        assert status == 200
        assert job["owner"] == "alice"
        assert not tenants.training.store.get(job["id"]).may_shadow


def test_a_key_without_a_name_owns_by_a_digest_that_is_not_the_key(tenants: Tenants) -> None:
    _, job = tenants.bob.create(tenants.bob.upload())
    owner = tenants.training.store.get(job["id"]).owner
    assert owner is not None and owner.startswith("key-") and "bob" not in owner


@pytest.mark.asyncio
async def test_without_keys_everything_is_everybodys_and_later_an_admins(tmp_path: Path) -> None:
    training = Training(tmp_path)

    async def content() -> AsyncIterator[bytes]:
        yield TRAINABLE

    everybody = training.seen_by(EVERYBODY)
    stored = await everybody.files.create("a.jsonl", "fine-tune", content())
    job = await everybody.jobs.create(NewJob(training_file=stored.id, adapter_name="yelp"))
    assert (stored.owner, job.owner, job.may_shadow) == (None, None, True)
    assert await everybody.jobs.get(job.id) == job
    admin = training.seen_by(Caller("root", is_admin=True))
    assert (await admin.files.get(stored.id), await admin.jobs.get(job.id)) == (stored, job)
    alice = training.seen_by(Caller("alice", is_admin=False))
    assert not (await alice.files.list(limit=9, after=None)).items
    assert not (await alice.jobs.list(limit=9, after=None)).items
    mine = await admin.files.create("a.jsonl", "fine-tune", content())
    assert (await everybody.files.get(mine.id)).owner == "root"


def test_records_from_before_there_were_owners_are_nobodys(tmp_path: Path) -> None:
    training = Training(tmp_path)
    job = training.store.create(_job_of_old(training), request_digest="d", max_open=9)
    path = training.store.directory(job.id) / "job.json"
    path.write_text(path.read_text().replace(', "owner": null, "may_shadow": true', ""), encoding="utf-8")
    assert "owner" not in path.read_text()
    old = training.store.get(job.id)
    assert (old.owner, old.may_shadow) == (None, True)


def _job_of_old(training: Training) -> Any:
    return replace(new_job(), adapter_name=training.settings.default_adapter.partition("@")[0])
