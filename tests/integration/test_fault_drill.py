"""A few random faults in a row; the long form is ``python -m tests.bench.fault_drill``."""

from pathlib import Path

import pytest

from tests.bench.fault_drill import drill
from tests.integration.redis_server import StartRedis, start_redis

__all__ = ["start_redis"]

NUM_FAULTS = 5


@pytest.mark.slow
def test_no_job_is_lost_duplicated_or_half_published(tmp_path: Path, start_redis: StartRedis) -> None:
    summary = drill(tmp_path, start_redis(), num_faults=NUM_FAULTS, seed=1)
    assert summary.violations == []
    assert sum(summary.faults.values()) == NUM_FAULTS
    assert summary.statuses.get("succeeded", 0) >= 1
