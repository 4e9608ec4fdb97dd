"""A short drill: whatever request to an object store goes wrong, no job is lost, done twice or half published."""

from pathlib import Path

from tests.unit.service.objects.memory_objects import needs_obstore


@needs_obstore
def test_no_job_is_lost_doubled_or_half_published(tmp_path: Path) -> None:
    from tests.bench.record_drill import Drill

    summary = Drill(tmp_path, seed=3).run(40)
    assert summary.violations == []
    assert summary.statuses.get("succeeded", 0) > 0 and sum(summary.faults.values()) >= 40
