"""The whole way on a tiny backbone: train, list, use, measure, move elsewhere; nothing is replaced by a fake."""

import json
from pathlib import Path
from typing import Any

import pytest

from adavae.model.config import BackboneConfig
from adavae.model.storage.pretrained import save_backbone
from adavae.model.training import run as training_run
from adavae.model.training.corpus import Dataset
from adavae.model.training.evaluation import EvaluationConfig
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.pretrain_start import fresh_backbone
from adavae.model.training.token_windows import train_tokenizer
from adavae.service.commands.evaluate import MeasureOptions
from tests.unit.service.conftest import Outcome, RunCommand

_NOUNS, _WORDS = ("food", "place", "staff", "room"), ("good", "bad", "fine", "vile")
_TEXTS = [f"the {noun} was {word} ." for noun in _NOUNS for word in _WORDS]
_LABELS = ["bad" if text.split()[3] in ("bad", "vile") else "good" for text in _TEXTS]
_SIZES = {
    "latent-size": 4,
    "adapter-size": 4,
    "latent-heads": 1,
    "latent-positions": 1,
    "batch-size": 4,
    "max-steps": 3,
}
_SMALL = [f"--{name}={value}" for name, value in _SIZES.items()]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("backbone")
    tokenizer = train_tokenizer([Dataset.of(_TEXTS, None, "texts.txt")], 300)
    config = BackboneConfig(vocab_size=tokenizer.vocab_size, n_positions=32, n_embd=32, n_layer=2, n_head=2, n_inner=64)
    save_backbone(directory, fresh_backbone(config, seed=0), tokenizer)
    return directory


@pytest.fixture
def data(tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A labelled file, in a world whose only backbone is the tiny one and where nothing is installed."""
    monkeypatch.setenv("ADAVAE_BACKBONE", str(backbone))
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ADAVAE_DEFAULT_ADAPTER", "mine")
    file = tmp_path / "texts.tsv"
    rows = [f"{label}\t{text}\n" for label, text in zip(_LABELS, _TEXTS, strict=True)]
    file.write_text("label\ttext\n" + "".join(rows), encoding="utf-8")
    return file


def _records(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.exit_code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_a_trained_set_is_found_by_every_command(run_command: RunCommand, data: Path) -> None:
    trained = _records(run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL))[0]
    reference = trained["adapter"]
    assert trained["labels"] == ["bad", "good"]
    assert [f"{each['name']}@{each['version']}" for each in _records(run_command("adapters", "list"))] == [reference]
    assert _records(run_command("adapters", "show", "mine"))[0]["path"] == trained["path"]

    encoded = run_command("encode", *_TEXTS[:2])
    decoded = _records(run_command("decode", "--max-tokens", "5", stdin=encoded.out))
    assert [each["adapter"] for each in decoded] == [reference] * 2
    assert len(_records(run_command("decode", "--samples", "3", "--strategy", "sample", "--max-tokens", "5"))) == 3
    walked = _records(run_command("interpolate", _TEXTS[0], _TEXTS[1], "--steps", "5", "--max-tokens", "5"))
    assert [each["tau"] for each in walked] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len(_records(run_command("analogy", *_TEXTS[:3], "--max-tokens", "5"))) == 1
    assert _records(run_command("classify", _TEXTS[0]))[0]["label"] in {"good", "bad"}


def test_a_file_whose_name_is_not_utf8_is_trained_on(run_command: RunCommand, data: Path) -> None:
    """The run was lost at its very end, when the card was written."""
    odd = data.rename(data.with_name("texts\udcff.tsv"))
    held_out = odd.with_name("held\udcff.tsv")
    held_out.write_bytes(odd.read_bytes())
    _records(run_command("train", str(odd), "--name", "mine", "--validation", str(held_out), *_SMALL))
    shown = _records(run_command("adapters", "show", "mine"))[0]
    assert shown["training"]["data"]["source"] == "texts\\udcff.tsv"
    assert shown["metrics"]["data"] == "held\\udcff.tsv"
    card = (Path(shown["path"]) / "README.md").read_text(encoding="utf-8")
    assert "texts\\udcff.tsv' --name mine" in card


def test_a_head_that_is_worse_than_the_commonest_label_is_not_installed(
    run_command: RunCommand, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was published as a success."""
    monkeypatch.setattr(training_run, "_majority_share", lambda _: 0.99)
    outcome = run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL)
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert "no better than always naming the commonest label" in outcome.err
    assert _records(run_command("adapters", "list")) == []


def test_evaluate_gives_one_object_with_every_figure(run_command: RunCommand, data: Path) -> None:
    run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL)
    outcome = run_command(
        "evaluate", "--data", str(data), "--importance-samples", "2", "--limit", "8", "--importance-rows", "5"
    )
    (figures,) = _records(outcome)
    wanted = {
        "ppl_word_iw2",
        "ppl_token_iw2",
        "mi_gaussian",
        "neg_elbo",
        "reconstruction_nats",
        "kl",
        "mi",
        "au",
        "bleu4",
        "exact_match",
        "accuracy",
        "macro_f1",
    }
    assert wanted <= set(figures)
    assert (figures["rows"], figures["ppl_rows"], figures["importance_samples"]) == (8, 5, 2)
    assert figures["adapter"].startswith("mine@")
    assert "importance samples 5/5" in outcome.err


def test_cards_and_evaluate_measure_with_as_many_samples_on_as_many_texts() -> None:
    """Cards had 20 samples and `evaluate` 100, under one name."""
    options = MeasureOptions()
    for config in (EvaluationConfig(), TrainingRequest.__dataclass_fields__["evaluation"].default_factory()):
        assert config.num_importance_samples == options.importance_samples == 100
        assert config.max_importance_rows == options.importance_rows


def test_evaluate_measures_what_the_latent_space_writes(run_command: RunCommand, data: Path, tmp_path: Path) -> None:
    run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL)
    held_out = tmp_path / "held-out.tsv"
    held_out.write_text(data.read_text(encoding="utf-8").replace("the", "this"), encoding="utf-8")
    asked = ("evaluate", "--data", str(held_out), "--judge-data", str(data), "--pairs=2", "--sentences=2", "--draws=5")
    (figures,) = _records(run_command(*asked, "--importance-samples", "2"))
    space = figures["latent_space"]
    assert {"walks", "draws", "analogies", "latents", "forms", "judges", "samples"} <= set(space)
    assert (space["draws"]["num_draws"], space["analogies"]["bad -> good"]["pairs"]) == (5, 2)
    (some,) = _records(run_command(*asked, "--group", "draws", "--group", "forms"))
    assert set(some["latent_space"]) == {"seed", "judges", "draws", "forms", "samples"}
    assert some["latent_space"]["draws"] == space["draws"]
    assert not [name for name in some if name.startswith("ppl")]
    (paper,) = _records(run_command(*asked, "--group", "paper", "--importance-samples", "2"))
    assert [name for name in paper if name.startswith("ppl_word_iw")]
    assert "latent_space" not in paper


def test_evaluate_measures_paraphrases_where_they_are_given(
    run_command: RunCommand, data: Path, tmp_path: Path
) -> None:
    run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL)
    pairs = tmp_path / "pairs.jsonl"
    rows = (("the food was good", "a good meal", 1), ("the food was bad", "a bad meal", 1), ("good", "bad service", 0))
    pairs.write_text(
        "".join(json.dumps(dict(zip(("text", "text_pair", "label"), row, strict=True))) + "\n" for row in rows),
        encoding="utf-8",
    )
    asked = ("evaluate", "--data", str(data), "--paraphrases", str(pairs), "--group")
    (figures,) = _records(run_command(*asked, "latents"))
    assert figures["latent_space"]["latents"]["paraphrases"]["num_pairs"] == 2
    assert figures["latent_space"]["latents"]["paraphrases"]["found"]["num_texts"] == 3
    assert run_command(*asked, "forms").exit_code == 2
    pairs.write_text('{"text": "alone"}\n{"text": "and alone"}\n', encoding="utf-8")
    assert "text_pair" in run_command(*asked, "latents").err


def test_judges_must_not_have_read_what_they_judge(run_command: RunCommand, data: Path) -> None:
    outcome = run_command("evaluate", "--data", str(data), "--judge-data", str(data))
    assert outcome.exit_code == 2
    assert "must not have read" in " ".join(outcome.err.split())


def test_a_group_that_cannot_be_measured_is_an_error(run_command: RunCommand, data: Path) -> None:
    run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL)
    outcome = run_command("evaluate", "--data", str(data), "--group", "draws")
    assert outcome.exit_code == 1
    assert "--judge-data" in outcome.err


def test_the_measure_of_transfer_needs_all_of_its_options(run_command: RunCommand, data: Path) -> None:
    outcome = run_command("evaluate", "--data", str(data), "--pair", "a", "b")
    assert outcome.exit_code == 2
    assert "--judge-data" in outcome.err


def test_a_set_moves_to_another_machine(run_command: RunCommand, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL)
    archive = data.parent / "mine.tar.gz"
    reference = _records(run_command("adapters", "export", "mine", str(archive)))[0]["adapter"]
    monkeypatch.setenv("ADAVAE_DATA", str(data.parent / "elsewhere"))
    assert run_command("encode", _TEXTS[0]).exit_code == 1
    assert _records(run_command("adapters", "import", str(archive)))[0]["adapter"] == reference
    assert _records(run_command("encode", _TEXTS[0]))[0]["adapter"] == reference


def test_a_flipped_byte_is_found(run_command: RunCommand, data: Path) -> None:
    trained = _records(run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL))[0]
    tensors = Path(trained["path"]) / "adapter.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    verified = run_command("adapters", "verify")
    assert verified.exit_code == 1
    assert json.loads(verified.out)["is_whole"] is False
    used = run_command("encode", _TEXTS[0])
    assert (used.exit_code, used.out) == (1, "")
    assert "adapter.safetensors" in used.err


def test_a_broken_line_stops_training_before_it_starts(run_command: RunCommand, data: Path) -> None:
    data.write_text(data.read_text(encoding="utf-8") + "no label here\n", encoding="utf-8")
    outcome = run_command("train", str(data), "--name", "mine")
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert f"{data}:{len(_TEXTS) + 2}:" in outcome.err


def test_an_unknown_set_is_answered_with_what_there_is(run_command: RunCommand, data: Path) -> None:
    run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL)
    outcome = run_command("encode", _TEXTS[0], "--adapter", "mien")
    assert outcome.exit_code == 1
    assert "mine" in outcome.err


def test_a_pretrained_backbone_can_be_used(
    run_command: RunCommand, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, output = tmp_path / "plain.txt", tmp_path / "fresh"
    texts.write_text("\n".join(_TEXTS * 3), encoding="utf-8")
    shape = ["--n-layer", "1", "--n-embd", "16", "--n-head", "2", "--n-positions", "32", "--vocab-size", "280"]
    options = ["--window", "8", "--long-window", "16", "--batch-size", "2", "--max-steps", "2"]
    record = _records(
        run_command("pretrain", str(texts), "--output", str(output), "--held-out", str(texts), *shape, *options)
    )[0]
    assert record["perplexity_per_word"] > 1.0
    monkeypatch.setenv("ADAVAE_BACKBONE", str(output))
    assert run_command("train", str(data), "--name", "mine", "--validation", str(data), *_SMALL).exit_code == 0
