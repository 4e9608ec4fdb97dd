"""What cannot be measured is told before anything is loaded; what was measured before a fault is shown."""

import json
from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.text_model import TextModel
from adavae.model.training import evaluation, latent_space
from adavae.model.training.corpus import Dataset
from adavae.service import loading
from tests.tiny import PREFIXED
from tests.tiny_text import as_tsv, reviews, tiny_text_model
from tests.unit.service.conftest import RunCommand

FEW = ("--importance-samples=0", "--decoded=0", "--walks=2", "--draws=4", "--pairs=2", "--sentences=2")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sets that were loaded."""
    names: list[str] = []

    def load(settings: object, references: list[str], device: str | None = None) -> TextModel:  # noqa: ARG001
        names.extend(references)
        return tiny_text_model({"yelp": PREFIXED})

    monkeypatch.setattr(loading, "load_text_model", load)
    return names


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, ...]:
    return _options(tmp_path, reviews(60, seed=1), reviews(300, seed=2))


def _options(folder: Path, held_out: Dataset, learned: Dataset) -> tuple[str, ...]:
    for name, dataset in (("held-out", held_out), ("learned", learned)):
        (folder / f"{name}.tsv").write_text(as_tsv(dataset), encoding="utf-8")
    return ("evaluate", "--data", str(folder / "held-out.tsv"), "--judge-data", str(folder / "learned.tsv"), *FEW)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("-g", "paper", "-g", "analogies", "--pair-certainty", "1"), "too few for analogies"),
        (("--pair", "bad food", "good food", "--labels", "no", "yess"), "has no label 'yess'"),
        (("--pair", "bad food", "good food", "--labels", "nope", "yes"), "has no label 'nope'"),
    ],
)
def test_what_the_data_do_not_allow_is_refused_at_once(
    run_command: RunCommand, loaded: list[str], data: tuple[str, ...], asked: tuple[str, ...], told: str
) -> None:
    outcome = run_command(*data, *asked)
    assert (outcome.exit_code, outcome.out, loaded) == (1, "", [])
    assert told in outcome.err


@pytest.mark.parametrize("group", ["draws", "analogies"])
def test_a_group_without_its_judge_is_refused_at_once(
    run_command: RunCommand, loaded: list[str], data: tuple[str, ...], group: str
) -> None:
    outcome = run_command(*data[:3], "-g", "paper", "-g", group)
    assert (outcome.exit_code, outcome.out, loaded) == (1, "", [])
    assert "--judge-data" in outcome.err


@pytest.mark.parametrize("group", ["walks", "latents", "forms"])
def test_copies_of_one_text_are_refused_at_once(
    run_command: RunCommand, loaded: list[str], tmp_path: Path, group: str
) -> None:
    data = _options(tmp_path, Dataset.of(["one text"] * 4, ["no"] * 4, "copies"), reviews(40))
    outcome = run_command(*data, "-g", group)
    assert (outcome.exit_code, outcome.out, loaded) == (1, "", [])
    assert "different" in outcome.err


@pytest.mark.parametrize("asked", [("-g", "analogies"), ("--pair", "a", "b", "--labels", "no", "yes")])
def test_a_judge_that_learns_nothing_is_told_at_once(
    run_command: RunCommand, loaded: list[str], tmp_path: Path, asked: tuple[str, ...]
) -> None:
    codes = [Dataset.of([f"{kind}-{row:04}" for row in range(40)], ["no", "yes"] * 20, "codes") for kind in "AB"]
    outcome = run_command(*_options(tmp_path, *codes), *asked)
    assert (outcome.exit_code, outcome.out, loaded) == (1, "", [])
    assert "the judge of labels cannot learn from these 40 texts" in outcome.err


def test_everything_that_is_allowed_is_measured(
    run_command: RunCommand, loaded: list[str], data: tuple[str, ...]
) -> None:
    outcome = run_command(*data, "--pair", "bad food", "good food", "--labels", "no", "yes")
    assert outcome.exit_code == 0, outcome.err
    (figures,) = map(json.loads, outcome.out.splitlines())
    assert list(figures)[:2] == ["adapter", "data"]
    assert {"walks", "draws", "analogies", "latents", "forms"} <= figures["latent_space"].keys()
    assert (figures["transfer"]["direction"], loaded) == ("no -> yes", ["yelp"])


@pytest.mark.usefixtures("loaded")
def test_what_was_measured_before_a_fault_is_shown(
    run_command: RunCommand, data: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of measuring were lost with a refusal at their end."""

    def refuse(*_: object, **__: object) -> None:
        raise DatasetError("not these texts")

    monkeypatch.setattr(evaluation, "evaluate_transfer", refuse)
    outcome = run_command(*data, "-g", "paper", "--pair", "bad food", "good food", "--labels", "no", "yes")
    assert outcome.exit_code == 1
    assert "not these texts" in outcome.err
    assert json.loads(outcome.out)["neg_elbo"] > 0


@pytest.mark.usefixtures("loaded")
def test_a_named_group_that_fails_late_is_a_failure_beside_the_others(
    run_command: RunCommand, data: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DatasetError("not these draws")

    monkeypatch.setattr(latent_space, "measure_draws", refuse)
    outcome = run_command(*data, "-g", "draws", "-g", "walks")
    assert outcome.exit_code == 1
    assert "draws could not be measured: not these draws" in outcome.err
    space = json.loads(outcome.out)["latent_space"]
    assert (space["walks"]["num_walks"], space["left_out"]) == (2, {"draws": "not these draws"})


@pytest.mark.usefixtures("loaded")
def test_the_last_seed_is_one_like_others(run_command: RunCommand, data: tuple[str, ...]) -> None:
    outcome = run_command(*data, f"--seed={2**63 - 1}", "--importance-samples=1", "--draws=260", "--decoded=2")
    assert outcome.exit_code == 0, outcome.err
    assert json.loads(outcome.out)["latent_space"].get("left_out") is None


@pytest.mark.usefixtures("loaded")
def test_labels_that_the_set_does_not_know_are_told_or_refused(run_command: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "held-out.tsv"
    asked = ("evaluate", "--data", str(path), *FEW, "-g", "paper")
    path.write_text("label\ttext\nno\tbad food\n0\tgood food\n")
    outcome = run_command(*asked)
    assert outcome.exit_code == 0 and "accuracy" in outcome.out
    assert "held-out.tsv has labels that the set does not know, '0'; it tells 'no', 'yes' apart" in outcome.err
    path.write_text("label\ttext\n1\tbad food\n0\tgood food\n")
    outcome = run_command(*asked)
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert "'0', '1'" in outcome.err
