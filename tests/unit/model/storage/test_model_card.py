"""The model card: its facts are the set's, and its Markdown is whole."""

import re
from dataclasses import replace
from typing import Any

import pytest

from adavae.model.config import AdapterConfig
from adavae.model.storage.model_card import model_card
from adavae.model.training.config import Preset
from tests.tiny import VARIANTS

TRAINING: dict[str, Any] = {
    "preset": "classification",
    "settings": {"learning_rate": 1e-4},
    "command": "adavae train reviews.tsv --name yelp",
    "data": {"source": "reviews.tsv", "rows": 443259, "digest": "0123456789abcdef" * 4, "truncated": 3},
    "steps": 12345,
    "stopped_early": False,
    "validation_loss": None,
    "duration_s": 5430,
}
METRICS: dict[str, Any] = {
    "adapter": "yelp",
    "data": "held-out.tsv",
    "rows": 1000,
    "truncated": 0,
    "neg_elbo": 41.23456,
    "kl": 12.5,
    "mi": 6.5,
    "au": 32,
    "bleu4": 31.4159,
    "accuracy": 0.9512,
    "examples": [["a", "b"]],
}


def card(**changes: Any) -> str:
    values: dict[str, Any] = {
        "name": "yelp",
        "config": AdapterConfig(labels=("bad", "good")),
        "metrics": METRICS,
        "training": TRAINING,
        "created_at": "2026-01-02T03:04:05+00:00",
    }
    return model_card(**(values | changes))


def rows_of(markdown: str) -> dict[str, str]:
    """First and second cell of every table row, as a reader sees them; checks every table on the way."""
    rows: dict[str, str] = {}
    for table in re.findall(r"(?:^\|.*\n)+", markdown + "\n", re.MULTILINE):
        header, rule, *body = table.splitlines()
        assert re.fullmatch(r"\|(?:-+\|)+", rule)
        for line in (header, rule, *body):
            assert line.startswith("|")
            assert line.endswith("|")
            assert len(cells(line)) == len(cells(rule)) == 2, line
        rows |= {line[0]: line[1] for line in map(cells, body)}
    return rows


def cells(line: str) -> list[str]:
    found = re.findall(r"((?:\\.|[^|\\])*)\|", line)[1:]
    return [re.sub(r"\\([|\\])", r"\1", cell.strip()) for cell in found]


def test_the_card_states_what_the_set_was_made_from() -> None:
    rows = rows_of(card())
    assert rows["preset"] == "classification"
    assert rows["trained on"] == "reviews.tsv, 443,259 texts (sha256 0123456789ab)"
    assert rows["steps"] == "12,345 in 90 minutes"
    assert rows["command"] == "`adavae train reviews.tsv --name yelp`"
    assert rows["made"] == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (18, "18 s"),
        (59, "59 s"),
        (60, "1 minute"),
        (89, "1 minute"),
        (90, "2 minutes"),
        (716, "12 minutes"),
    ],
)
def test_the_card_says_how_long_a_run_took_as_people_do(seconds: int, said: str) -> None:
    """Runs of less than half a minute took "0 minutes", others "1 minutes"."""
    assert rows_of(card(training={**TRAINING, "duration_s": seconds}))["steps"] == f"12,345 in {said}"


def test_the_card_states_what_was_measured_and_nothing_else() -> None:
    text = card()
    rows = rows_of(text)
    assert "## Measured on held-out.tsv" in text
    assert rows["accuracy"] == "0.9512"
    assert rows["-ELBO, nats a text"] == "41.23"
    assert rows["reconstruction BLEU-4"] == "31.42"
    assert rows["active units"] == "32"
    assert rows["texts"] == "1000"
    assert not {"perplexity a word", "macro-F1"} & rows.keys()


def test_the_card_says_how_many_importance_samples_a_perplexity_has() -> None:
    rows = rows_of(card(metrics={**METRICS, "ppl_word_iw100": 94.25, "ppl_token_iw100": 48.9, "ppl_rows": 500}))
    assert rows["perplexity a word, 100 importance samples"] == "94.25"
    assert rows["perplexity a token, 100 importance samples"] == "48.9"
    assert rows["texts they were measured on"] == "500"


@pytest.mark.parametrize("config", VARIANTS)
def test_the_card_states_every_setting_of_the_set(config: AdapterConfig) -> None:
    rows = rows_of(card(config=config))
    for name, value in config.to_dict().items():
        shown = rows[name.replace("_", " ")]
        if isinstance(value, list):
            assert shown == (", ".join(value) or "none")
        elif isinstance(value, float):
            assert float(shown) == value
        else:
            assert shown == str(value)


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize("config", VARIANTS)
@pytest.mark.parametrize("command", ["", "adavae train x"])
def test_nothing_on_the_card_is_left_blank(preset: Preset, config: AdapterConfig, command: str) -> None:
    metrics = {**METRICS, "ppl_word_iw100": None, "data": None}
    training = {**TRAINING, "preset": str(preset), "command": command}
    text = card(config=config, metrics=metrics, training=training)
    assert not re.search(r"\b(None|nan|null)\b", text)
    assert not any(title.startswith("perplexity") for title in rows_of(text))
    assert "## Measured on held-back texts" in text
    assert all(rows_of(text).values())
    assert not re.search(r"^##.*\n\n(##|\Z)", text, re.MULTILINE), "a section without text"


def test_every_preset_says_what_it_is_for() -> None:
    uses = {card(training={**TRAINING, "preset": str(preset)}).split("## Intended use")[1] for preset in Preset}
    assert len(uses) == len(Preset)


def test_the_card_is_whole_markdown() -> None:
    text = card()
    headings = re.findall(r"^(#+) (.*)$", text, re.MULTILINE)
    assert headings[0] == ("#", "yelp")
    assert {level for level, _ in headings[1:]} == {"##"}
    assert len({title for _, title in headings}) == len(headings)
    assert text.count("```") == 2
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\n\n\n" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert f"\n\n{table}\n" in text, "a table stands between blank lines"


def test_the_example_names_the_set() -> None:
    assert "--adapter yelp\n```" in card()


@pytest.mark.parametrize("wild", ["a|b", "|", "a\nb", "a\r\nb", "\n\n", "a\\|b", "\\\\|", "a\\", "| --- |"])
def test_wild_names_break_no_table(wild: str) -> None:
    """A bar or a line break in a file's name or a label ended the cell, or the whole table."""
    training = {**TRAINING, "command": f"adavae train '{wild}'", "data": {**TRAINING["data"], "source": wild}}
    config = replace(AdapterConfig(), labels=(wild, "good"))
    text = card(config=config, training=training, metrics={**METRICS, "data": wild})
    rows = rows_of(text)
    assert rows.keys() == rows_of(card()).keys()
    assert rows["labels"].endswith(", good")
    assert [len(re.findall(rf"^{level} ", text, re.MULTILINE)) for level in ("#", "##")] == [
        len(re.findall(rf"^{level} ", card(), re.MULTILINE)) for level in ("#", "##")
    ]
    assert re.search(r"^## Measured on .*\n\n\|", text, re.MULTILINE)


def test_bars_are_shown_as_they_are() -> None:
    rows = rows_of(card(config=AdapterConfig(labels=("yes|no", "good"))))
    assert rows["labels"] == "yes|no, good"


def test_the_same_facts_are_the_same_card() -> None:
    assert card() == card()


def test_a_set_whose_decoder_was_not_trained_is_not_said_to_decode() -> None:
    """ "Its latent also decodes" stood on the card of a set whose decoder's adapters had never had a step."""
    assert "its latent also decodes" in card() and "best step" not in card()
    untrained = card(training=TRAINING | {"best_step": 0, "decoder_from": None, "is_decoder_trained": False})
    in_vain = card(training=TRAINING | {"best_step": 12, "decoder_from": 12, "is_decoder_trained": False})
    assert "from step 12 on the decoder alone was trained, and no step of that was better" in in_vain
    assert "also decodes" not in untrained and "Its decoder's adapters had no step of training" in untrained


@pytest.mark.parametrize(
    ("best_step", "decoder_from", "told"),
    [
        (300, None, "300"),
        (0, None, "0: no step was better than what the run began with"),
        (450, 200, "450; encoder and head are of an earlier one"),
    ],
)
def test_the_card_says_which_step_it_is_of(best_step: int, decoder_from: int | None, told: str) -> None:
    training = TRAINING | {"best_step": best_step, "decoder_from": decoder_from, "is_decoder_trained": True}
    assert rows_of(card(training=training))["best step"].startswith(told)


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ({"steps": 100}, {"steps": "100"}),
        ({"steps": "many", "best_step": "last", "data": "reviews"}, {}),
        (
            {"steps": 7, "duration_s": float("nan"), "best_step": 7, "decoder_from": "2"},
            {"steps": "7", "best step": "7"},
        ),
        ({"data": {"source": "x.tsv"}}, {"trained on": "x.tsv"}),
        ({"data": {"rows": "all", "digest": "ab" * 32}}, {"trained on": "(sha256 abababababab)"}),
        ({"data": {"source": "x.tsv", "rows": 1200}}, {"trained on": "x.tsv, 1,200 texts"}),
    ],
)
def test_what_a_set_from_elsewhere_does_not_tell_is_left_out(training: dict[str, Any], told: dict[str, str]) -> None:
    found = rows_of(card(training=training))
    assert {name: found[name] for name in ("trained on", "steps", "best step") if name in found} == told
