"""No record is written that nothing reads again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from adavae.service.errors import InvalidRequest
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded_file, decoded_job
from adavae.service.jobs.records.encoding import encoded_file, encoded_job, encoded_new_job
from adavae.service.jobs.records.job import JobError, StoredFile
from adavae.service.jobs.records.job_errors import JobDamaged
from tests.unit.service.jobs.job_home import FIGURES, new_job

LONG = "x" * MAX_RECORD_BYTES
HALF = "x" * (MAX_RECORD_BYTES // 2)


def stored_file(**fields: Any) -> StoredFile:
    chosen: dict[str, Any] = {
        "id": f"file-{'1' * 24}",
        "created_at": 1,
        "filename": "a.tsv",
        "purpose": "fine-tune",
        "num_bytes": 1,
        "sha256": "s",
        "num_rows": 2,
        "labels": {},
        "report": {},
    }
    return StoredFile(**(chosen | fields))


def test_what_is_written_is_read_again() -> None:
    job, stored = new_job(metadata={"team": "a"}), stored_file(labels={"a": 2})
    assert decoded_job(encoded_new_job(job), job.id) == job
    assert decoded_job(encoded_job(job)[1], job.id) == encoded_job(job)[0] == job
    assert decoded_file(encoded_file(stored), stored.id) == stored


@pytest.mark.parametrize("report", [{"warnings": [HALF]}, {"warnings": ["\U00010400" * (MAX_RECORD_BYTES // 20)]}])
def test_a_new_job_that_is_too_large_is_refused_by_its_largest_field(report: Mapping[str, Any]) -> None:
    with pytest.raises(
        InvalidRequest, match=r"the limit is 2,097,152, and 2,\d+,\d+ of them are its report"
    ) as refused:
        encoded_new_job(new_job(report=report))
    assert refused.value.code == "record_too_large"


@pytest.mark.parametrize("odd", ["\ud800", 2**70])
def test_a_new_job_that_could_not_be_read_again_is_refused(odd: object) -> None:
    with pytest.raises(InvalidRequest, match="the job cannot be kept"):
        encoded_new_job(new_job(report={"odd": odd}))


def test_a_file_that_is_too_large_or_odd_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="of them are its labels: make that shorter"):
        encoded_file(stored_file(labels={LONG: 1}))
    with pytest.raises(InvalidRequest, match="the file cannot be kept"):
        encoded_file(stored_file(labels={"\ud800": 1}))


@pytest.mark.parametrize(
    ("grown", "left"),
    [
        ({"error": JobError(code="c", message=LONG)}, {"error": JobError(code="c", message="x" * 2000)}),
        ({"progress": {**FIGURES, "stage": LONG}}, {"progress": None}),
        ({"metrics": {"names": LONG}}, {"metrics": None}),
        ({"metrics": {"rows": 2**70}}, {"metrics": None}),
        ({"report": {"warnings": [LONG]}}, {"report": {}}),
    ],
)
def test_what_has_grown_is_left_out_of_a_job_that_is_there(grown: Mapping[str, Any], left: Mapping[str, Any]) -> None:
    job = new_job(**grown)
    kept, content = encoded_job(job)
    assert decoded_job(content, job.id) == kept
    changed = {name for name, value in asdict(kept).items() if value != asdict(job)[name]}
    assert {name: getattr(kept, name) for name in left} == left
    assert set(left) <= changed <= {*left, "error", "progress", "metrics"}


def test_a_job_that_nothing_makes_readable_is_not_written() -> None:
    with pytest.raises(JobDamaged):
        encoded_job(new_job(metadata={"a": LONG}))
