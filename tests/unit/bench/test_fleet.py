"""The simulated fleet against closed forms, and the ring's promises."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from tests.bench.fleet.measured import Constants
from tests.bench.fleet.placement import everywhere, one_owner, two_owners_bounded
from tests.bench.fleet.plan import cost_of_a_million, replicas_of_one_bucket, replicas_of_one_redis
from tests.bench.fleet.popularity import lru_hit_rate, zipf
from tests.bench.fleet.ring import Ring
from tests.bench.fleet.scenario import PLACEMENTS, Scenario
from tests.bench.fleet.simulator import Fleet, Traffic

_CONSTANTS = Constants()
_SETS = range(2000)


def _owner(ring: Ring, adapter_set: int) -> int:
    return next(ring.owners(adapter_set))


def test_a_replica_that_goes_moves_its_own_sets_alone() -> None:
    before, after = Ring(range(10)), Ring([each for each in range(10) if each != 3])
    moved = [each for each in _SETS if _owner(before, each) != _owner(after, each)]
    assert {_owner(before, each) for each in moved} == {3}
    assert 0.06 < len(moved) / len(_SETS) < 0.15  # a tenth, give or take what 64 points leave to chance


def test_owners_are_every_replica_once() -> None:
    ring = Ring(range(7))
    assert all(sorted(ring.owners(each)) == list(range(7)) for each in range(20))


def test_the_bound_holds_and_a_popular_set_spreads_no_further_than_it_needs() -> None:
    choose, load = two_owners_bounded(range(20), 0, slack=0.25, least=1), [0] * 21
    for _ in range(2000):
        chosen = choose(7, load)
        load[chosen] += 1
        load[-1] += 1
        assert load[chosen] <= 1.25 * load[-1] / 20 + 2
    few, load = two_owners_bounded(range(20), 0, least=50), [0] * 21
    for _ in range(60):
        chosen = few(7, load)
        load[chosen] += 1
        load[-1] += 1
    assert {each for each in range(20) if load[each]} == set(islice(Ring(range(20)).owners(7), 2))


def test_one_owner_is_always_the_same_and_everywhere_takes_the_less_loaded() -> None:
    assert len({one_owner(range(9), 0)(5, [0] * 10) for _ in range(5)}) == 1
    choose = everywhere([0, 1], 0)
    assert {choose(5, [9, 2, 11]) for _ in range(50)} == {1}
    assert everywhere([4], 0)(1, [0] * 6) == 4


@pytest.mark.parametrize("utilisation", [0.5, 0.7])
def test_one_replica_waits_as_an_m_d_1_queue_does(utilisation: float) -> None:
    """The mean wait is rho s / (2 (1 - rho)) (Pollaczek and Khinchine)."""
    generator = np.random.default_rng(1)
    per_s = utilisation / _CONSTANTS.service_s
    traffic = Traffic.poisson(60_000, per_s, np.ones(1), generator)
    fleet = Fleet(1, _CONSTANTS)
    fleet.memory[0].put(0, 0.0)
    outcome = fleet.serve(traffic, one_owner([0], 0))
    expected = utilisation * _CONSTANTS.service_s / (2 * (1 - utilisation))
    assert float(outcome.waits_s.mean()) == pytest.approx(expected, rel=0.05)


def test_requests_for_a_set_on_its_way_share_one_load() -> None:
    traffic = Traffic(arrivals_s=np.array([0.0, 0.001, 9.0]), adapter_sets=np.array([5, 5, 5]))
    outcome = Fleet(1, _CONSTANTS).serve(traffic, one_owner([0], 0))
    loaded = _CONSTANTS.fetch_s + _CONSTANTS.cold_s
    assert outcome.waits_s.tolist() == pytest.approx([loaded, loaded - 0.001 + _CONSTANTS.service_s, 0.0])
    assert outcome.is_fetched.tolist() == [True, False, False]
    assert outcome.is_in_memory.tolist() == [False, True, True]


def test_what_memory_forgot_is_on_the_disk() -> None:
    constants = replace(_CONSTANTS, bank_slots=1)
    traffic = Traffic(arrivals_s=np.array([0.0, 1.0, 2.0]), adapter_sets=np.array([5, 6, 5]))
    outcome = Fleet(1, constants).serve(traffic, one_owner([0], 0))
    assert outcome.is_fetched.tolist() == [True, True, False]
    assert outcome.waits_s[2] == pytest.approx(constants.cold_s)


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.2])
def test_hits_are_those_of_ches_approximation(exponent: float) -> None:
    probabilities = zipf(1000, exponent)
    traffic = Traffic.poisson(40_000, 1.0, probabilities, np.random.default_rng(2))
    constants = replace(_CONSTANTS, bank_slots=50)
    outcome = Fleet(1, constants).serve(traffic, one_owner([0], 0))
    assert float(outcome.is_in_memory[5000:].mean()) == pytest.approx(lru_hit_rate(probabilities, 50), abs=0.01)


def test_a_cache_for_all_sets_never_misses() -> None:
    assert lru_hit_rate(zipf(10, 1.0), 10) == 1.0
    assert lru_hit_rate(np.full(100, 0.01), 25) == pytest.approx(0.25)  # all alike: its share of them


def test_the_same_seed_gives_the_same_figures() -> None:
    scenario = Scenario(num_replicas=5, num_sets=300, requests_each=100)
    for placement in PLACEMENTS:
        assert scenario.run(placement, _CONSTANTS) == scenario.run(placement, _CONSTANTS)


def test_sharding_finds_more_in_memory_and_bounded_loads_keep_the_balance() -> None:
    scenario = Scenario(num_replicas=20, num_sets=2000, requests_each=300)
    alike, alone, bounded = (scenario.run(placement, _CONSTANTS)[0] for placement in PLACEMENTS)
    assert bounded.in_memory > alike.in_memory + 0.1
    assert alone.balance > 2.0 > bounded.balance
    assert alone.wait_p99_ms > 2 * bounded.wait_p99_ms


def test_costs_and_bounds_by_hand() -> None:
    constants = replace(_CONSTANTS, encodes_per_s=100.0, vcpu_hour=0.36, redis_commands_per_s=2000.0)
    costs = cost_of_a_million(constants, 0.5, 0.1)
    assert costs["bundled backbone, cores"] == pytest.approx(1e6 / 100 * 2 / 3600 / 0.5 * 0.36)
    assert costs["reads from the store"] == pytest.approx(100 * 0.0004)
    assert replicas_of_one_redis(constants, 0.5) == pytest.approx(20.0)
    assert replicas_of_one_bucket(constants, 550.0, 10) == pytest.approx(100.0)
    assert replicas_of_one_bucket(constants, 0.0, 10) == float("inf")
