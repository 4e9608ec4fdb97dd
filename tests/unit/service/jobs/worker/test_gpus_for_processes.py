"""More processes than GPUs: refused where somebody reads it who can change it."""

from typing import Any

import pytest

from adavae.service.jobs.worker.gpus_for_processes import (
    refuse_too_few_gpus,
    refuse_too_few_reserved_gpus,
    visible_gpus,
)
from adavae.service.settings import SettingsError, load_settings


def test_more_processes_than_gpus_are_refused_with_both_numbers_and_a_remedy() -> None:
    with pytest.raises(SettingsError, match=r"ADAVAE_TRAINING_PROCESSES is 4, and 2 GPUs .* set it to 2 at most"):
        refuse_too_few_gpus(load_settings({"training_processes": 4}), lambda: 2)


@pytest.mark.parametrize(
    ("fields", "num_gpus"),
    [({"training_processes": 2}, 2), ({"training_processes": 2}, 0), ({"training_processes": 1}, 1)],
)
def test_as_many_as_there_are_or_cores_are_shared(fields: dict[str, Any], num_gpus: int) -> None:
    refuse_too_few_gpus(load_settings(fields), lambda: num_gpus)


@pytest.mark.parametrize("fields", [{"training_processes": 1}, {"training_processes": 2, "device": "cpu"}])
def test_gpus_are_counted_only_where_that_matters(fields: dict[str, Any]) -> None:
    refuse_too_few_gpus(load_settings(fields), lambda: pytest.fail("counted"))


def test_on_a_cluster_what_a_job_reserves_counts() -> None:
    with pytest.raises(SettingsError, match=r"PROCESSES is 2, and a job reserves 1 GPUs .*GPUS is 0\.5.* both alike"):
        refuse_too_few_reserved_gpus(load_settings({"training_processes": 2, "training_gpus": 0.5}))
    for fields in ({"training_gpus": 2.0}, {"training_gpus": 0.0}, {"training_gpus": 1.0, "device": "cpu"}):
        refuse_too_few_reserved_gpus(load_settings({"training_processes": 2} | fields))


def test_this_machines_gpus_are_counted_in_a_process_of_their_own() -> None:
    import torch

    assert visible_gpus() == torch.cuda.device_count()
