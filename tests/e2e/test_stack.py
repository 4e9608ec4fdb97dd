"""The stack of docker-compose.yml as local processes: a user's day, each part restarted, all of it ended under load.

Memory limits are no limits here; that they are there, and leave room above what was measured, is checked at the end.
"""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.compose_file import FORMS, num_bytes
from tests.e2e.compose_stack import KEY, Stack, running_stack
from tests.e2e.load import Load, connect
from tests.tiny_text import as_tsv, reviews

pytestmark = pytest.mark.slow

ROOM = 1.5
A_FEW_STEPS = {"steps": 4, "batch_size": 4, "validations": 1}
MORE_STEPS = {"steps": 24, "batch_size": 4, "validations": 6}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(FORMS["cpu"], tmp_path_factory.mktemp("stack")) as running:
        running.up()
        yield running


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[httpx2.Client]:
    with connect(stack.url, KEY) as connected:
        yield connected


def start_training(client: httpx2.Client, name: str, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    data = {"file": ("reviews.tsv", as_tsv(reviews(36)).encode())}
    file = answer(client.post("/v1/files", files=data, data={"purpose": "fine-tune"}))
    body = {
        "model": "bundled",
        "training_file": file["id"],
        "suffix": name,
        "hyperparameters": hyperparameters,
        "seed": 0,
    }
    return answer(client.post("/v1/fine_tuning/jobs", json=body))


def look_at(client: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    return answer(client.get(f"/v1/fine_tuning/jobs/{job['id']}"))


def has_trained(client: httpx2.Client, job: dict[str, Any]) -> bool:
    """Whether the newest attempt has taken steps."""
    now = look_at(client, job)
    assert now["status"] in ("queued", "running"), now
    return now["status"] == "running" and bool(now["progress"] and now["progress"]["step"])


def is_finished(client: httpx2.Client, job: dict[str, Any]) -> bool:
    now = look_at(client, job)
    assert now["status"] in ("queued", "running", "succeeded"), now
    return bool(now["status"] == "succeeded")


def answer(response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return dict(response.json())


def ask(client: httpx2.Client, path: str, **body: Any) -> dict[str, Any]:
    return answer(client.post(path, json=body))


def test_a_users_day(stack: Stack, client: httpx2.Client) -> None:
    assert httpx2.post(f"{stack.url}/encode", json={"text": "hello"}).status_code == 401
    assert len(ask(client, "/encode", text="the food was great .")["data"][0]["mu"]) == 256
    walk = ask(client, "/interpolate", source="the food was bad .", target="the food was great .", steps=5)["data"]
    assert [walk[0]["text"], walk[-1]["text"]] == ["the food was bad.", "the food was great."]
    assert ask(client, "/analogy", a="bad food !", b="great food !", c="bad staff !")["data"][0]["text"]
    question = ask(client, "/classify", text="How many people live in Rome?", adapter="trec")
    assert question["data"][0]["label"] == "number"

    job = start_training(client, "mine", A_FEW_STEPS)
    stack.wait_for(lambda: is_finished(client, job))
    done = look_at(client, job)
    assert done["attempt"] == 1
    stack.wait_for(lambda: client.get("/adapters/mine").status_code == 200)
    encoded = ask(client, "/encode", text="the food was great .", adapter=done["fine_tuned_model"])
    assert encoded["adapter"]["name"] == "mine"
    assert ask(client, "/classify", text="the food was great .", adapter="mine")["data"][0]["scores"]


def test_each_part_restarts_while_requests_and_training_go_on(stack: Stack, client: httpx2.Client) -> None:
    job = start_training(client, "restarted", MORE_STEPS)
    stack.wait_for(lambda: has_trained(client, job))
    with Load(stack.url, KEY, num_clients=2) as load:
        stack.restart("worker")
        stack.restart("cache")
        stack.restart("queue")
        load.more(5)
        assert load.account.refused == 0
        stack.restart("service")
        load.more(5)
    assert load.account.lost == []
    stack.wait_for(lambda: look_at(client, job)["attempt"] == 2)
    assert client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel").status_code in (200, 409)


def test_redis_that_dies_is_missed_by_nobody(stack: Stack) -> None:
    with Load(stack.url, KEY, num_clients=2) as load:
        for name in ("cache", "queue"):
            stack[name].kill()
        load.more(20)
        for name in ("cache", "queue"):
            stack.start_again(name)
        load.more(20)
    assert (load.account.refused, load.account.lost) == (0, [])


def test_ended_under_load_it_loses_nothing(stack: Stack, client: httpx2.Client) -> None:
    text = "this sentence outlives a restart ."
    stack.wait_for(lambda: ask(client, "/encode", text=text)["data"][0]["cached"])
    job = start_training(client, "patient", MORE_STEPS)
    stack.wait_for(lambda: has_trained(client, job))
    with Load(stack.url, KEY, num_clients=8) as load:
        load.more(8)
        stack.down()
    assert load.account.lost == []
    assert stack.strays() == []

    stack.up()
    assert ask(client, "/encode", text=text)["data"][0]["cached"]
    stack.wait_for(lambda: is_finished(client, job))
    assert look_at(client, job)["attempt"] == 2
    events = answer(client.get(f"/v1/fine_tuning/jobs/{job['id']}/events", params={"limit": 100}))["data"]
    assert any(event["message"].startswith("Training goes on from step") for event in events)


def test_memory_limits_leave_room_above_what_was_needed(stack: Stack) -> None:
    needed = {name: max(each.note_memory() for each in containers) for name, containers in stack.containers.items()}
    limits = {
        name: num_bytes(definition["deploy"]["resources"]["limits"]["memory"])
        for name, definition in stack.compose["services"].items()
    }
    assert not {name: needed[name] for name in needed if needed[name] * ROOM > limits[name]}
