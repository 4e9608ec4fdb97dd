"""``adavae.train`` and ``adavae.evaluate``: what is taken for a column of texts, and what comes out."""

import doctest
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adavae
from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, ConfigError, DatasetError
from adavae.model.loaded_set import LoadedSet
from adavae.model.training.corpus import read_dataset
from adavae.service import library, settings
from adavae.service.library import dataset_of
from adavae.service.loading import open_store
from adavae.service.progress_line import ProgressLine
from adavae.service.settings import Settings
from tests.tiny import PLAIN
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_sets import publish
from tests.tiny_text import as_tsv, reviews
from tests.unit.service.conftest import RunCommand

FEW: dict[str, Any] = {"importance_samples": 4, "decoded": 5, "latent_space": False, "progress": False}


class Column:
    """As pandas and polars have them: values of their own kinds, and a way to plain ones."""

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[object]:
        raise AssertionError("a column is asked for plain values")

    def tolist(self) -> list[object]:
        return self._values


class Table:
    columns = ("text", "label")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    configured = tiny_settings(tmp_path)
    publish_tiny(configured.own_adapters, configured.weights, "yelp", PLAIN, 3)
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(configured.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(configured.data))
    for module in (settings, library):
        monkeypatch.setattr(module, "load_settings", lambda: configured)
    return configured


def test_the_examples_of_the_documentation_are_right(home: Settings) -> None:
    tests = doctest.DocTestFinder().find(adavae, "adavae", globs={})
    shown = [test for test in tests if test.examples]
    assert {test.name for test in shown} == {"adavae.load", "adavae.train", "adavae.evaluate"}
    report = io.StringIO()
    runner = doctest.DocTestRunner()
    for test in shown:
        runner.run(test, out=report.write)
    assert not runner.failures, report.getvalue()
    assert (home.own_adapters / "days").is_dir()
    assert not list(home.runs.iterdir()), "the texts of a finished run are left behind"


@pytest.mark.usefixtures("home")
def test_the_figures_are_those_of_the_command(tmp_path: Path, run_command: RunCommand) -> None:
    held_out = reviews(12)
    (tmp_path / "held-out.tsv").write_text(as_tsv(held_out), encoding="utf-8")
    options = ["--importance-samples", "4", "--decoded", "5", "--group", "paper", "--json"]
    outcome = run_command("evaluate", "--adapter", "plain", "--data", str(tmp_path / "held-out.tsv"), *options)
    assert outcome.exit_code == 0, outcome.err
    told = json.loads(outcome.out)
    found = adavae.evaluate(list(held_out.texts), list(held_out.labels or ()), adapter="plain", **FEW)
    assert found.pop("data") == "texts of a program"
    del told["data"]
    assert json.loads(json.dumps(found)) == told
    assert adavae.evaluate(held_out.texts, adapter=adavae.load("plain"), **FEW)["rows"] == 12


def test_every_kind_of_column_is_the_same_texts() -> None:
    texts, labels = ["a b", "c d", "e f"], [1, 0, 1]
    expected = dataset_of(texts, labels, "texts", "labels")
    assert expected.labels == ("1", "0", "1")
    for given, names in (
        (tuple(texts), [np.int64(1), np.int8(0), np.uint32(1)]),
        (np.array(texts), np.array(labels)),
        (Column(list(texts)), Column([1, 0, 1])),
        (iter(texts), (str(label) for label in labels)),
    ):
        assert dataset_of(given, names, "texts", "labels").digest == expected.digest  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [[1.0, 0.0], [0.5, 2.0], [True, False], [float("inf"), 1], [np.bool_(True), 1e22]])
def test_labels_are_spelled_as_in_a_file(tmp_path: Path, labels: list[Any]) -> None:
    """1.0 became 1 here and stayed 1.0 in a file: a set did not know the labels that it was trained on."""
    rows = [json.dumps({"text": text, "label": label}, default=bool) for text, label in zip("ab", labels, strict=True)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    read = read_dataset(tmp_path / "rows.jsonl").labels
    for column in (labels, np.array(labels, dtype=object), Column(labels)):
        assert dataset_of(["a", "b"], column, "texts", "labels").labels == read  # type: ignore[arg-type]
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"t,{label}\n" for label in labels))
    assert read_dataset(tmp_path / "rows.csv").labels == read


@pytest.mark.usefixtures("home")
def test_labels_that_the_set_does_not_know_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """An accuracy of 0.0 came of labels that are spelled otherwise."""
    model = adavae.load("prefixed")
    known = model.labels[0]
    adavae.evaluate(["a b", "c d"], [known, "1"], adapter=model, **FEW)
    assert f"has labels that the set does not know, '1'; it tells '{known}'" in capsys.readouterr().err
    with pytest.raises(DatasetError, match="texts of a program: has labels that the set does not know, '0', '1'; it"):
        adavae.evaluate(["a b", "c d"], [1, 0], adapter=model, **FEW)


@pytest.mark.parametrize(
    ("texts", "labels", "words"),
    [
        ("one text", None, "texts is 'str': one string, must be several values: give a list"),
        (Table(), None, r"texts is 'Table': a table with the columns 'text', 'label': .* as table\['text'\]"),
        ({"text": ["a", "b"]}, None, r"texts is 'dict': a mapping with the keys 'text'.*as mapping\['text'\]"),
        ({"a", "b"}, ["x", "y"], "texts is 'set': a set, which has no order: give a list"),
        (["a", "b"], frozenset("xy"), "labels is 'frozenset': a set, which has no order"),
        (7, None, "texts is 'int'"),
        (["a", "b\ud800"], None, r"texts\[1\] is .*half of a surrogate pair at character 1"),
        (["a", None], None, r"texts\[1\] is None: must be a string"),
        (["a", float("nan")], None, r"texts\[1\] is nan"),
        (["a", "b"], ["x"], "1 labels.*each of the 2 texts"),
        (["a", "b"], ["x", ["y"]], r"labels\[1\] is \['y'\]"),
    ],
)
def test_what_is_no_column_of_texts_is_told_by_its_place(texts: Any, labels: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        dataset_of(texts, labels, "texts", "labels")


@pytest.mark.usefixtures("home")
def test_what_cannot_be_trained_is_refused_before_the_first_step() -> None:
    with pytest.raises(ConfigError, match="epohcs"):
        adavae.train(["a b"] * 30, name="x", epohcs=2)
    with pytest.raises(ConfigError, match="preset is 'chat': must be one of"):
        adavae.train(["a b"] * 30, name="x", preset="chat")
    with pytest.raises(ConfigError, match="name"):
        adavae.train(["a b"] * 30, name="../x")
    with pytest.raises(ConfigError, match="needs validation_texts"):
        adavae.train(["a b"] * 30, name="x", validation_labels=["y"])
    with pytest.raises(DatasetError, match=r"^texts: is empty: give at least 2"):
        adavae.train([], name="x")


@pytest.mark.usefixtures("home")
def test_a_text_that_cannot_be_used_is_told_by_its_place_in_what_was_given() -> None:
    """A line of a file was named that was there no more."""
    few = ["a b"] * 30
    for texts, labels, told in (
        (["a", " "], None, r"^texts\[1\]: the text is empty"),
        (["a", "b"], ["x", None], r"^texts\[1\]: some texts have a label"),
        (["a"], None, "^texts: has 1 texts"),
        (["a", "b"], ["x" * 101, "y"], r"^texts\[0\]: the label has 101 characters"),
    ):
        with pytest.raises(DatasetError, match=told):
            adavae.evaluate(texts, labels, adapter="plain", **FEW)
        with pytest.raises(DatasetError, match=told):
            adavae.train(texts, labels, name="x", progress=False)
    with pytest.raises(DatasetError, match=r"^validation_texts\[1\]: the text is empty"):
        adavae.train(few, name="x", validation_texts=["a", ""], progress=False)
    with pytest.raises(DatasetError, match=r"^validation_texts: has labels that the training data lacks"):
        adavae.train(few, ["x", "y"] * 15, name="x", validation_texts=few, validation_labels=["z"] * 30, progress=False)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"epochs": "2"}, "epochs is '2': must be a number"),
        ({"batch_size": 16.5}, "batch_size is 16.5: must be a whole number"),
        ({"max_steps": 10.5}, "max_steps is 10.5: must be a whole number"),
        ({"seed": 1.5}, "seed is 1.5: must be a whole number"),
        ({"latent_size": "8"}, "latent_size is '8': must be a whole number"),
        ({"adapter_scale": "1"}, "adapter_scale is '1': must be a number"),
    ],
)
def test_an_option_that_is_no_number_is_refused_in_words(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{told}"):
        adavae.train(["a b"] * 30, name="x", **options)
    if "seed" in options:
        with pytest.raises(ConfigError, match=f"^{told}"):
            adavae.evaluate(["a b", "c d"], adapter="plain", **options, **FEW)


def test_a_set_goes_on_from_one_that_is_installed(home: Settings) -> None:
    """Once ``init_from`` was written down as where the run had begun, and the run began afresh."""
    begun = adavae.load("plain")
    trained = train_for_a_step("on", init_from="plain")
    afresh = train_for_a_step("afresh", **{size: value for size, value in PLAIN.to_dict().items() if size != "labels"})
    store = open_store(home)
    assert store.read("on").manifest.training["settings"]["init_from"] == begun.reference
    assert store.read("afresh").manifest.training["settings"]["init_from"] is None
    mu = begun.encode(reviews(9).texts).mu
    assert torch.allclose(trained.encode(reviews(9).texts).mu, mu, atol=1e-2)
    assert not torch.allclose(afresh.encode(reviews(9).texts).mu, mu, atol=1e-1)


def test_what_cannot_be_gone_on_from_is_refused_as_by_the_command(home: Settings) -> None:
    with pytest.raises(AdapterSetNotFound, match=r"'plian'.*did you mean 'plain'"):
        train_for_a_step("x", init_from="plian")
    with pytest.raises(ConfigError, match=r"adapter_size is 6: plain@\w+ has 5: going on from it keeps that"):
        train_for_a_step("x", init_from="plain", adapter_size=6)
    publish(home.own_adapters, name="foreign")
    with pytest.raises(AdapterSetMismatch, match="backbone"):
        train_for_a_step("x", init_from="foreign")
    assert not (home.own_adapters / "x").exists()


def train_for_a_step(name: str, **options: Any) -> LoadedSet:
    few: dict[str, Any] = {"max_steps": 1, "learning_rate": 1e-7, "seed": 7, "truncate": True, "progress": False}
    return adavae.train(reviews(40).texts, name=name, preset="language-modelling", **few, **options)


def test_progress_is_one_line_drawn_over_itself_and_notes_stand_beside_it() -> None:
    stderr = io.StringIO()
    line = ProgressLine(stderr, is_shown=True)
    for done in range(101):
        line.update("train", done, 100, "loss 3.2")
    line.say("a note")
    line.update("prior", 1, 1)
    line.end()
    drawn = stderr.getvalue()
    assert drawn.startswith("\rtrain      [") and "100/100" in drawn
    assert drawn.count("\n") == 3  # behind each bar, and the note's
    assert "\na note\n" in drawn
    hidden = io.StringIO()
    quiet = ProgressLine(hidden, is_shown=False)
    quiet.update("train", 1, 1)
    quiet.say("a note")
    assert hidden.getvalue() == "a note\n"


@pytest.mark.usefixtures("home")
def test_a_seed_that_is_none_is_told_before_anything_is_measured() -> None:
    with pytest.raises(ConfigError, match="seed is 18446744073709551616"):
        adavae.evaluate(["a b", "c d"], adapter="plain", seed=2**64)
