"""Whose row is next: clients take turns, whoever came with more; of a client's requests the one that is due first."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adavae.service.engine.fair_queue import FairQueue
from adavae.service.engine.ticket import due_at


@dataclass(eq=False)
class Asked:
    client: str
    due: float = 0.0


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
    long, short = Asked("c", due=due_at(0.0, 400)), Asked("c", due=due_at(0.5, 4))
    for number in range(100):
        rows.put(Row(long, number=number))
    for _ in range(10):
        rows.take()
    rows.put(Row(short, number=-1))
    assert [row.number for row in iter(rows.take, None)] == [-1, *range(10, 100)]


def test_a_request_that_is_due_goes_before_whatever_comes_later() -> None:
    """Eight texts in one request waited for ever beside other requests of one text each that did not end."""
    rows = queue()
    long = Asked("c", due=due_at(0.0, 100))
    for number in range(8):
        rows.put(Row(long, number=number))
    taken: list[float] = []
    for number in range(1000):
        came = 0.1 * number
        rows.put(Row(Asked("c", due=due_at(came, 1))))
        row = rows.take()
        assert row is not None
        if row.ticket is long:
            taken.append(came)
    due = due_at(0.0, 100)
    assert taken == pytest.approx([due + 0.1 * number for number in range(8)], abs=0.1)


def test_requests_due_at_once_go_in_the_order_they_came() -> None:
    rows = queue()
    for number in range(5):
        rows.put(Row(Asked("c"), number=number))
    assert [row.number for row in iter(rows.take, None)] == list(range(5))


def test_when_the_first_is_due_is_known_of_all_clients_together() -> None:
    rows = queue()
    assert rows.first_due == math.inf
    for client, due in (("a", 3.0), ("b", 2.0), ("b", 5.0), ("a", 4.0)):
        rows.put(Row(Asked(client, due)))
    assert rows.first_due == 2.0
    rows.take(lambda client: client == "b")
    assert rows.first_due == 3.0
    list(iter(rows.take, None))
    assert rows.first_due == math.inf


_ASKED = st.lists(
    st.tuples(st.floats(0, 3), st.integers(1, 800), st.integers(1, 4)), min_size=1, max_size=25
)  # seconds since the one before, tokens, rows


@given(asked=_ASKED, seconds_a_row=st.floats(0.01, 2))
def test_nobody_waits_for_what_came_after_it_was_due(asked: list[tuple[float, int, int]], seconds_a_row: float) -> None:
    """Each row takes as long as the others; requests come meanwhile."""
    rows, now, coming = queue(), 0.0, 0.0
    came: dict[Asked, float] = {}
    arrivals: list[tuple[float, Asked, int]] = []
    for pause, num_tokens, num_rows in asked:
        coming += pause
        arrivals.append((coming, Asked("c", due_at(coming, num_tokens)), num_rows))
    waiting: dict[Asked, int] = {}
    while arrivals or waiting:
        while arrivals and (not waiting or arrivals[0][0] <= now):
            at, ticket, num_rows = arrivals.pop(0)
            now = max(now, at)
            came[ticket], waiting[ticket] = at, num_rows
            for _ in range(num_rows):
                rows.put(Row(ticket))
        row = rows.take()
        assert row is not None
        assert not [other for other in waiting if other.due < came[row.ticket]]
        waiting[row.ticket] -= 1
        if not waiting[row.ticket]:
            del waiting[row.ticket]
        now += seconds_a_row


def test_no_request_lets_others_go_first_for_longer_than_the_longest() -> None:
    assert due_at(5.0, 0) == 5.0
    assert due_at(5.0, 10) < due_at(5.0, 20) < due_at(5.0, 100_000) == due_at(5.0, 512) < 20.0


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


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.floats(0.1, 50)), max_size=80),
    st.sets(st.integers(0, 79), max_size=10),
)
def test_nothing_is_lost_and_nothing_comes_twice(plan: list[tuple[str, int, float]], given_up_at: set[int]) -> None:
    rows, tickets = queue(), {(client, number): Asked(client) for client in "abc" for number in range(4)}
    put = [Row(tickets[client, number], cost) for client, number, cost in plan]
    taken: list[Row] = []  # or forgotten
    for place, row in enumerate(put):
        rows.put(row)
        if place % 3 == 2 and (one := rows.take()) is not None:
            taken.append(one)
        if place in given_up_at:
            taken += [each for each in rows if each.ticket is row.ticket]
            rows.forget(row.ticket)
        inside = {id(each) for each in put[: place + 1]} - set(map(id, taken))
        assert sorted(map(id, rows)) == sorted(inside)
        assert len(rows) == len(inside) == sum(map(rows.num_of, "abc"))
    taken += iter(rows.take, None)
    assert sorted(map(id, taken)) == sorted(map(id, put))
    assert (len(rows), list(rows)) == (0, [])


def test_what_nobody_waits_for_is_forgotten_and_charged_to_nobody() -> None:
    """Rows of a request that was given up stood before the client's next ones, and were counted as its own."""
    rows = queue()
    given_up, busy = Asked("a"), Asked("b")
    for _ in range(200):
        rows.put(Row(given_up, cost=128.0))
        rows.put(Row(busy))
    clients_of(rows, 10)
    rows.forget(given_up)
    assert rows.num_of("a") == 0
    assert len(rows) == rows.num_of("b") == len(list(rows))
    rows.put(Row(Asked("a"), cost=1.0))
    assert "a" in clients_of(rows, 129)  # behind no more than it was given before
    assert set(clients_of(rows, 200)) == {"b"}
    assert (len(rows), rows.take()) == (0, None)


def test_one_request_is_forgotten_and_its_clients_others_keep_their_order() -> None:
    rows = queue()
    asked = [Asked("c", due=number) for number in range(4)]
    for number, ticket in enumerate(asked):
        for _ in range(2):
            rows.put(Row(ticket, number=number))
    rows.forget(asked[0])
    assert rows.first_due == 1.0
    rows.forget(asked[2])
    rows.forget(asked[2])
    rows.forget(Asked("nobody"))
    assert rows.num_of("c") == 4
    assert [row.number for row in iter(rows.take, None)] == [1, 1, 3, 3]
    assert rows.first_due == math.inf


def test_giving_up_and_asking_again_brings_no_turns() -> None:
    rows = queue()
    honest = Asked("h")
    for _ in range(200):
        rows.put(Row(honest))
    num_taken = 0
    for _ in range(40):
        tricky = Asked("t")
        for _ in range(5):
            rows.put(Row(tricky, cost=10.0))
        num_taken += clients_of(rows, 5).count("t")
        rows.forget(tricky)
    assert num_taken <= 40 * 5 / 11 + 2


def test_clients_that_only_give_up_leave_nothing_behind() -> None:
    rows = queue()
    for number in range(100):
        ticket = Asked(str(number))
        rows.put(Row(ticket))
        rows.forget(ticket)
    assert rows.take() is None
    assert not rows._lines and not rows._turns
