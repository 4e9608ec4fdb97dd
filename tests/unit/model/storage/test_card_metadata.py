"""The YAML of model cards: the Hub's own classes read what was meant, whatever was given."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from adavae.model.errors import ConfigError
from adavae.model.storage.card_metadata import Origin, front_matter, is_hub_id, without_front_matter
from adavae.model.training.config import Preset
from tests.unit.model.storage.test_model_card import METRICS, card

ORIGIN = Origin(license="cc-by-4.0", base_model="openai-community/gpt2", datasets=("Yelp/yelp_review_full", "no"))


def block(preset: str = "generation", origin: Origin = ORIGIN, metrics: dict[str, Any] = METRICS) -> str:
    return front_matter(preset, metrics, origin)


@pytest.mark.parametrize("preset", list(Preset))
def test_the_hub_reads_the_fields_that_were_meant(preset: Preset, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(block(preset) + "# yelp\n", encoding="utf-8")
    read = ModelCard.load(tmp_path / "README.md")
    assert read.data.library_name == "adavae"
    assert read.data.license == "cc-by-4.0"
    assert read.data.base_model == "openai-community/gpt2"
    assert read.data.datasets == ["Yelp/yelp_review_full", "no"]
    assert read.data.metrics == ["accuracy", "bleu"]
    assert {"adavae", str(preset)} <= set(read.data.tags or ())
    is_classifier = preset is Preset.CLASSIFICATION
    assert read.data.pipeline_tag == ("text-classification" if is_classifier else "text-generation")
    assert read.text.strip() == "# yelp"


def test_what_nobody_knows_is_not_there() -> None:
    values = yaml.safe_load(block(origin=Origin(), metrics={}).removesuffix("---\n\n"))
    assert values["license"] == "unknown"
    assert not {"base_model", "datasets", "metrics"} & values.keys()


def test_a_new_card_begins_with_it_and_is_the_same_without() -> None:
    written = card(origin=ORIGIN)
    assert ModelCard(written).data.base_model == "openai-community/gpt2"
    assert without_front_matter(written).startswith("# yelp\n")
    assert without_front_matter(without_front_matter(written)) == without_front_matter(written)


@pytest.mark.parametrize("text", ["# a\n", "---\n# a rule and no end\n", ""])
def test_a_card_without_it_stays_as_it_is(text: str) -> None:
    assert without_front_matter(text) == text


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("license", {"license": "MIT License"}),
        ("license", {"license": "mit\ntags: [x]"}),
        ("base_model", {"base_model": "../gpt2"}),
        ("base_model", {"base_model": "a/b/c"}),
        ("datasets", {"datasets": ["reviews.tsv and more"]}),
    ],
)
def test_what_the_hub_would_refuse_is_refused_here(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=field):
        Origin(**values)


def test_directories_are_no_ids_of_the_hub() -> None:
    assert is_hub_id("gpt2") and is_hub_id("owner/name")
    assert not any(map(is_hub_id, ("/tmp/gpt2", "./gpt2", "a/b/c", "name.", "x.git", "")))
