"""``adavae adapters describe``: what it refuses before it measures, and where the new version stands."""

import json
from pathlib import Path

import pytest

from adavae.model.training import description
from adavae.model.training.latent_cases import Group, LatentSpaceConfig
from tests.tiny_home import tiny_settings
from tests.tiny_text import as_tsv, reviews
from tests.unit.service.conftest import RunCommand

SMALL = LatentSpaceConfig(groups=(Group.WALKS,), num_walks=2, num_texts=20, num_samples=2)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Held-out and training texts beside a tiny installation."""
    settings = tiny_settings(tmp_path)
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(settings.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(settings.data))
    monkeypatch.setattr(description.described, "__defaults__", (SMALL, *description.described.__defaults__[1:]))
    for name, seed in (("held.tsv", 1), ("read.tsv", 2)):
        (tmp_path / name).write_text(as_tsv(reviews(40, seed)), encoding="utf-8")
    return str(tmp_path / "held.tsv"), str(tmp_path / "read.tsv")


def test_the_described_set_is_the_users_own(run_command: RunCommand, files: tuple[str, str]) -> None:
    held, read = files
    outcome = run_command("adapters", "describe", "plain", "--data", held, "--judge-data", read, "--license", "mit")
    told = json.loads(outcome.out)
    assert outcome.exit_code == 0
    assert told["adapter"].startswith("plain@")
    card = (Path(told["path"]) / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in card
    assert "What its latent space writes" in card


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--license", "my own!"], "must be an id as the Hub lists them"),
        (["--about", "a" * 2001], "must have at most 2,000 characters"),
        ([], "has the texts of --data"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    run_command: RunCommand, files: tuple[str, str], options: list[str], message: str
) -> None:
    read = files[1] if options else files[0]
    outcome = run_command("adapters", "describe", "plain", "--data", files[0], "--judge-data", read, *options)
    assert outcome.exit_code == 2
    assert message in " ".join(outcome.err.split())
