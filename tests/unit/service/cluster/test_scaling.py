"""How many replicas a load asks for."""

from dataclasses import dataclass, field

import pytest

from adavae.service.cluster.scaling import QUEUE_ROWS, LoadPolicy


@dataclass
class Load:
    """What Serve's controller knows."""

    current_num_replicas: int = 2
    target_num_replicas: int = 2
    total_num_requests: float = 0.0
    aggregated_metrics: dict[str, dict[str, float]] | None = field(default=None)


@pytest.mark.parametrize(
    ("requests", "rows", "wanted"),
    [(0, (0, 0), 0.0), (64, (0, 0), 2.0), (128, (0, 0), 4.0), (10, (96, 0), 6.0), (160, (16, 16), 5.0)],
)
def test_whichever_asks_for_more_counts(requests: float, rows: tuple[float, float], wanted: float) -> None:
    load = Load(total_num_requests=requests, aggregated_metrics={QUEUE_ROWS: {"a": rows[0], "b": rows[1]}})
    assert LoadPolicy(requests_a_replica=32, rows_a_replica=16)(load) == (wanted, {})


@pytest.mark.parametrize("figures", [None, {}, {QUEUE_ROWS: {}}])
def test_requests_alone_count_while_no_replica_has_reported_rows(figures: dict[str, dict[str, float]] | None) -> None:
    assert LoadPolicy(32, 16)(Load(total_num_requests=96, aggregated_metrics=figures))[0] == 3.0


def test_before_the_first_replica_runs_the_number_stays() -> None:
    assert LoadPolicy(32, 16)(Load(current_num_replicas=0, target_num_replicas=3, total_num_requests=999))[0] == 3.0
