"""docker/compose.scale.yml as local processes: replicas behind a real balancer, one Redis, one volume."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.compose_file import FORMS
from tests.e2e.compose_stack import KEY, Stack, running_stack
from tests.e2e.load import REQUESTS, Load, connect, is_same

pytestmark = pytest.mark.slow

PORT = 8000
NUM_CLIENTS = 4


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(FORMS["scale"], tmp_path_factory.mktemp("replicas")) as running:
        running.up("balancer")
        yield running


@pytest.fixture(scope="module")
def replicas(stack: Stack) -> Iterator[list[httpx2.Client]]:
    """Each asked by itself, past the balancer."""
    clients = [connect(stack.url_of("service", place, PORT), KEY) for place in range(len(stack.containers["service"]))]
    yield clients
    for client in clients:
        client.close()


def num_answered(replica: httpx2.Client) -> int:
    """Requests to /encode since it started; 0 where it does not run."""
    try:
        lines = replica.get("/metrics").raise_for_status().text.splitlines()
    except httpx2.TransportError:
        return 0
    wanted = re.compile(r'adavae_requests_total\{.*method="POST",route="/encode",status="200"\} (\S+)')
    return sum(int(float(found[1])) for line in lines if (found := wanted.match(line)))


def has_more_from(replicas: list[httpx2.Client], counts: list[int]) -> bool:
    return all(num_answered(replica) > count for replica, count in zip(replicas, counts, strict=True))


def test_every_replica_gives_the_same_answers(replicas: list[httpx2.Client]) -> None:
    first, second = replicas
    for request in REQUESTS:
        reply, other = (client.post(request.path, json=request.body).raise_for_status().json() for client in replicas)
        assert reply["adapter"] == other["adapter"]
        assert is_same(request.essence(reply), request.essence(other)), request.path
    files = {"file": ("a.txt", b"one text .\nanother text .\n")}
    stored = first.post("/v1/files", files=files, data={"purpose": "fine-tune"}).raise_for_status().json()
    assert second.get(f"/v1/files/{stored['id']}").json() == stored
    assert second.delete(f"/v1/files/{stored['id']}").json()["deleted"]
    assert first.get(f"/v1/files/{stored['id']}").status_code == 404


def test_what_one_replica_has_encoded_the_other_has_cached(stack: Stack, replicas: list[httpx2.Client]) -> None:
    first, second = replicas
    texts = [f"text number {number} is new to both ." for number in range(8)]
    first_reply = first.post("/encode", json={"texts": texts}).raise_for_status().json()
    assert first_reply["usage"]["cached"] == 0
    stack.wait_for(lambda: first.post("/encode", json={"texts": texts}).json()["usage"]["cached"] == len(texts))
    other = second.post("/encode", json={"texts": texts}).raise_for_status().json()
    assert other["usage"]["cached"] == len(texts)
    assert [row["mu"] for row in other["data"]] == [row["mu"] for row in first_reply["data"]]


def test_a_replica_killed_under_load_costs_at_most_what_may_not_be_repeated(
    stack: Stack, replicas: list[httpx2.Client]
) -> None:
    """Requests in its hands are sent to the other one; uploads are not, for a second try could store a second file."""
    with Load(stack.url, KEY, num_clients=NUM_CLIENTS, uploads=True) as load:
        counts = [num_answered(replica) for replica in replicas]
        stack.wait_for(lambda: has_more_from(replicas, counts))
        stack.containers["service"][0].kill()
        load.more(40)
        assert num_answered(replicas[0]) == 0
        stack.start_again("service", 0)
        stack.wait_for(lambda: has_more_from(replicas, [0, 0]))
    assert load.account.refused == 0
    assert not [line for line in load.account.lost if not line.startswith(("/v1/files", "DELETE"))]
    assert len(load.account.lost) <= 1  # one client uploads, and one replica died once


def test_replicas_restart_one_after_the_other_and_nobody_notices(stack: Stack, replicas: list[httpx2.Client]) -> None:
    with Load(stack.url, KEY, num_clients=NUM_CLIENTS, uploads=True) as load:
        for place, replica in enumerate(replicas):
            stack.restart("service", place)
            stack.wait_for(lambda replica=replica: num_answered(replica) > 0)
        load.more(20)
    assert (load.account.refused, load.account.lost) == (0, [])
    assert stack.strays() == []
