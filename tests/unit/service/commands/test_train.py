"""``adavae train``: what its options become, and what happens to the checkpoints of interrupted runs."""

import os
import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from typer import BadParameter

from adavae.model.config import AdapterConfig, AdapterPlacement
from adavae.model.errors import DatasetError, TrainingInterrupted, TrainingProcessLost
from adavae.model.training import run as training_run
from adavae.model.training.config import FreeBits, Preset, TrainingConfig, preset_config
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.readers.columns import Columns
from adavae.service import loading
from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.client.training import TrainingClient
from adavae.service.commands.interrupt import stop_on_signal
from adavae.service.commands.remote import RemoteService
from adavae.service.commands.remote_training import _create, hyperparameters
from adavae.service.commands.training_options import TrainingOptions
from tests.compose_file import REPOSITORY
from tests.tiny import TINY
from tests.unit.service.conftest import RunCommand

_NOT_OPTIONS = {"adapter", "preset", "init_from", "is_full_fine_tuning", "labels"}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[TrainingRequest]:
    """What reached training, which stops at once and leaves a checkpoint."""
    asked: list[TrainingRequest] = []

    def interrupt(request: TrainingRequest, _: object, *, directory: Path, **__: Any) -> None:
        asked.append(request)
        checkpoint = directory / "checkpoints" / "step-1"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text("", encoding="utf-8")
        raise TrainingInterrupted("stopped after step 1 of 9; checkpoint kept")

    pretrained = SimpleNamespace(backbone=SimpleNamespace(config=TINY))
    monkeypatch.setattr(loading, "load_pretrained", lambda *_, **__: pretrained)
    monkeypatch.setattr(training_run, "train_adapter_set", interrupt)
    return asked


@pytest.mark.parametrize(("given", "expected"), [([], 1), (["--nproc", "3"], 3)])
def test_a_run_is_shared_by_as_many_processes_as_asked_for(
    run_command: RunCommand,
    requests: list[TrainingRequest],
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    expected: int,
) -> None:
    asked: list[int] = []

    def lose_one(*_: Any, num_processes: int, **__: Any) -> None:
        asked.append(num_processes)
        raise TrainingProcessLost("training process 1 was ended by signal 9")

    monkeypatch.setattr(training_run, "train_adapter_set", lose_one)
    assert requests == []
    result = run_command("train", "texts.txt", "--name", "mine", *given)
    assert asked == [expected]
    assert "signal 9; run the same command with --resume" in result.err


def test_every_setting_of_a_run_is_an_option() -> None:
    settings = {field.name for kind in (TrainingConfig, AdapterConfig) for field in fields(kind)}
    assert {field.name for field in fields(TrainingOptions)} == settings - _NOT_OPTIONS


def test_options_replace_the_presets_settings() -> None:
    preset = preset_config(Preset.GENERATION, TINY)
    options = TrainingOptions(
        epochs=2.0, free_bits_form="whole", adapter_placement=AdapterPlacement.PARALLEL_ATTENTION, latent_size=7
    )
    config = options.applied_to(preset)
    assert (config.epochs, config.free_bits_form, config.adapter.latent_size) == (2.0, FreeBits.WHOLE, 7)
    assert config.adapter.adapter_placement is AdapterPlacement.PARALLEL_ATTENTION
    assert config.beta == preset.beta


def test_no_options_leave_the_preset_as_it_is() -> None:
    preset = preset_config(Preset.LANGUAGE_MODELLING, TINY)
    assert TrainingOptions().applied_to(preset) == preset


def test_a_run_is_asked_for_as_typed(run_command: RunCommand, requests: list[TrainingRequest]) -> None:
    run_command(
        "train", "my texts.tsv", "--name", "mine", "--preset", "classification", "--epochs", "2", "--limit", "9"
    )
    request = requests[0]
    assert (request.name, request.data, request.validation, request.limit) == ("mine", Path("my texts.tsv"), None, 9)
    assert (request.config.preset, request.config.epochs) == (Preset.CLASSIFICATION, 2.0)
    assert request.command == "adavae train 'my texts.tsv' --name mine --preset classification --epochs 2 --limit 9"


def test_every_option_that_a_service_does_not_take_is_in_the_readme() -> None:
    told = (REPOSITORY / "service" / "README.md").read_text(encoding="utf-8").split("`adavae train --remote URL`")[1]
    told = told.split("are refused with their names")[0]
    for field in fields(TrainingOptions):
        option = f"--{field.name.replace('_', '-')}"
        is_refused = False
        try:
            hyperparameters(TrainingOptions(**{field.name: 1}), "generation")
        except BadParameter:
            is_refused = True
        assert is_refused == (f"`{option}`" in told), option


def test_columns_are_named_for_a_run_here_and_sent_to_a_remote_one(
    run_command: RunCommand, requests: list[TrainingRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ["train", "a.csv", "--name", "mine", "--text-column", "body", "--label-column", "stars"]
    run_command(*named, "--pair-column", "answer")
    assert requests[0].columns == Columns("body", "stars", "answer")
    sent: dict[str, Any] = {}

    def train_remotely(_service: RemoteService, **given: Any) -> None:
        sent.update(given)
        raise DatasetError("that is enough")

    monkeypatch.setattr("adavae.service.commands.train.train_remotely", train_remotely)
    outcome = run_command(*named, "--remote", "http://127.0.0.1:9")
    assert "that is enough" in outcome.err
    assert sent["columns"] == {"text_column": "body", "label_column": "stars", "pair_column": None}


@pytest.mark.usefixtures("requests")
def test_ctrl_c_says_how_to_go_on(run_command: RunCommand) -> None:
    outcome = run_command("train", "texts.txt", "--name", "mine")
    assert (outcome.exit_code, outcome.out) == (130, "")
    said = "stopped after step 1 of 9; checkpoint kept; run the same command with --resume to go on\n"
    assert outcome.err.endswith(said)


def test_an_interrupted_run_is_not_overwritten_unasked(
    run_command: RunCommand, requests: list[TrainingRequest]
) -> None:
    run_command("train", "texts.txt", "--name", "mine")
    outcome = run_command("train", "texts.txt", "--name", "mine")
    assert outcome.exit_code == 1
    assert "--resume" in outcome.err
    assert len(requests) == 1


@pytest.mark.parametrize("option", ["--resume", "--restart"])
def test_an_interrupted_run_goes_on_or_is_thrown_away(
    run_command: RunCommand, requests: list[TrainingRequest], option: str
) -> None:
    run_command("train", "texts.txt", "--name", "mine")
    run_command("train", "texts.txt", "--name", "mine", option)
    assert [request.command for request in requests] == ["adavae train texts.txt --name mine"] * 2


@pytest.mark.parametrize("ways", [["--name", "mine"], ["--name", "mine", "--restart"], ["--name", "mine", "--resume"]])
def test_a_run_that_is_being_trained_is_left_alone(
    run_command: RunCommand,
    requests: list[TrainingRequest],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ways: list[str],
) -> None:
    """The second one removed or wrote over the first one's checkpoints, and both were lost."""
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path / "data"))
    interrupt, seen = training_run.train_adapter_set, list[Any]()

    def meanwhile(*given: Any, **options: Any) -> None:
        monkeypatch.setattr(training_run, "train_adapter_set", interrupt)
        directory = options["directory"]
        (directory / "checkpoints").mkdir(parents=True)
        (directory / "checkpoints" / "step-9").write_text("", encoding="utf-8")
        seen.append(run_command("train", "texts.txt", *ways))
        seen.append(run_command("train", "texts.txt", "--name", "another"))
        seen.append([path.name for path in (directory / "checkpoints").iterdir()])
        interrupt(*given, **options)

    monkeypatch.setattr(training_run, "train_adapter_set", meanwhile)
    assert run_command("train", "texts.txt", "--name", "mine").exit_code == 130
    same, another, left = seen
    assert same.exit_code == 2
    assert "--name is mine: it is being trained now" in " ".join(same.err.split())
    assert (another.exit_code, left) == (130, ["step-9"])
    assert [request.name for request in requests] == ["another", "mine"]
    assert sorted(path.name for path in (tmp_path / "data" / "runs").iterdir()) == ["another", "mine"]


def test_an_interrupted_run_is_thrown_away_only_for_a_run_that_begins(
    run_command: RunCommand, requests: list[TrainingRequest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was gone before a mistyped option or a broken file was told."""
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path / "data"))
    run_command("train", "texts.txt", "--name", "mine")
    checkpoint = tmp_path / "data" / "runs" / "mine" / "checkpoints" / "step-1"
    refused = []

    def refuse(*_: Any, on_begin: Callable[[], None], **__: Any) -> None:
        refused.append(checkpoint.exists())
        on_begin()
        refused.append(checkpoint.exists())
        raise DatasetError("that is enough")

    assert run_command("train", "texts.txt", "--name", "mine", "--restart", "--epochs", "0").exit_code == 2
    assert checkpoint.exists()
    monkeypatch.setattr(training_run, "train_adapter_set", refuse)
    assert run_command("train", "texts.txt", "--name", "mine", "--restart").exit_code == 1
    assert (refused, len(requests)) == ([True, False], 1)


@pytest.mark.usefixtures("requests")
def test_there_has_to_be_something_to_resume(run_command: RunCommand) -> None:
    outcome = run_command("train", "texts.txt", "--name", "mine", "--resume")
    assert outcome.exit_code == 1
    assert "no checkpoint" in outcome.err


@pytest.mark.parametrize(
    "options",
    ["--name Mine", "--name ../x", "--name a --resume --restart", "--name a --epochs 0", "--preset x --name a", ""],
)
def test_wrong_usage_starts_nothing(run_command: RunCommand, requests: list[TrainingRequest], options: str) -> None:
    assert run_command("train", "texts.txt", *options.split()).exit_code == 2
    assert requests == []


def test_the_first_signal_asks_and_the_second_one_stops() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signal() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert should_stop()
        os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signal():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("stored", [{}, [], {"id": "f"}, {"id": "f", "rows": 1, "labels": {}, "report": {}}])
def test_a_service_that_stores_files_in_another_way_is_told_so(tmp_path: Path, stored: Any) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=stored))
    with (
        TrainingClient("http://adavae.test", transport=transport) as client,
        pytest.raises(AdaVAEServiceError, match="is it adavae's service"),
    ):
        _create(client, {"training_file": tmp_path / "a.txt"}, {}, {})
