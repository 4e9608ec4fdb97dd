"""Whose row is next: clients and requests take turns, whoever came with more."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from adavae.service.engine.fair_queue import FairQueue


@dataclass(eq=False)
class Asked:
    client: str


@dataclass(eq=False)
class Row:
    ticket: Asked
    cost: float = 1.0
    number: int = field(default=0)


def queue() -> FairQueue[Row]:
    return FairQueue(lambda row: row.cost)


def clients_of(rows: FairQueue[Row], num: int) -> str:
    taken = [rows.take() for _ in range(num)]
    return "".join(row.ticket.client for row in taken if row is not None)


def test_clients_take_turns_however_many_rows_each_has() -> None:
    rows = queue()
    greedy, small = Asked("g"), Asked("s")
    for _ in range(1000):
        rows.put(Row(greedy))
    assert clients_of(rows, 100) == "g" * 100
    for _ in range(3):
        rows.put(Row(small))
    assert sorted(clients_of(rows, 7)) == list("ggggsss")
    assert (len(rows), rows.num_of("g"), rows.num_of("s"), rows.num_of("nobody")) == (896, 896, 0, 0)


def test_many_requests_of_a_client_count_as_one_client() -> None:
    rows = queue()
    for _ in range(50):
        rows.put(Row(Asked("g")))
    other = Asked("s")
    for _ in range(50):
        rows.put(Row(other))
    assert clients_of(rows, 20).count("s") == 10


def test_turns_are_counted_by_what_they_cost() -> None:
    rows = queue()
    long, short = Asked("l"), Asked("s")
    for _ in range(20):
        rows.put(Row(long, cost=10.0))
    for _ in range(200):
        rows.put(Row(short, cost=1.0))
    taken = clients_of(rows, 110)
    assert 9 <= taken.count("l") <= 11


def test_within_a_client_a_short_request_overtakes_a_long_one() -> None:
    rows = queue()
    long, short = Asked("c"), Asked("c")
    for number in range(100):
        rows.put(Row(long, number=number))
    for _ in range(10):
        rows.take()
    rows.put(Row(short, number=-1))
    assert -1 in {row.number for row in (rows.take(), rows.take()) if row is not None}


def test_the_rows_of_a_request_keep_their_order() -> None:
    rows = queue()
    ticket = Asked("c")
    for number in range(10):
        rows.put(Row(ticket, number=number))
    assert [row.number for row in iter(rows.take, None)] == list(range(10))


def test_whoever_was_away_is_not_paid_back() -> None:
    rows = queue()
    greedy, late = Asked("g"), Asked("l")
    for _ in range(1000):
        rows.put(Row(greedy))
    clients_of(rows, 500)
    for _ in range(100):
        rows.put(Row(late))
    assert 9 <= clients_of(rows, 20).count("l") <= 11


def test_a_client_that_may_not_have_one_is_passed_over_and_keeps_its_turn() -> None:
    rows = queue()
    for client in "abab":
        rows.put(Row(Asked(client)))
    first = rows.take(lambda client: client == "b")
    assert first is not None
    assert first.ticket.client == "b"
    assert rows.take(lambda client: client == "c") is None
    assert len(rows) == 3
    assert sorted(clients_of(rows, 3)) == ["a", "a", "b"]
    assert rows.take() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.floats(0.1, 50)), max_size=80))
def test_nothing_is_lost_and_nothing_comes_twice(plan: list[tuple[str, int, float]]) -> None:
    rows, tickets = queue(), {(client, number): Asked(client) for client in "abc" for number in range(4)}
    put = [Row(tickets[client, number], cost) for client, number, cost in plan]
    taken: list[Row] = []
    for place, row in enumerate(put):
        rows.put(row)
        if place % 3 == 2 and (one := rows.take()) is not None:
            taken.append(one)
        assert sorted(map(id, rows)) == sorted({id(each) for each in put[: place + 1]} - set(map(id, taken)))
    taken += iter(rows.take, None)
    assert sorted(map(id, taken)) == sorted(map(id, put))
    assert (len(rows), list(rows)) == (0, [])
