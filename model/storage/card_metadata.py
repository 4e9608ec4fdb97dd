"""The block of YAML at the beginning of a model card, by which the Hugging Face Hub sorts, filters and shows a set.

Fields are those of the Hub's model cards (https://huggingface.co/docs/hub/model-cards). What is not known is left out:
a place that is no data set of the Hub is not named as one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adavae.model.errors import ConfigError

LIBRARY = "adavae"
UNKNOWN_LICENSE = "unknown"
"""The Hub's word for a licence that nobody has named."""

MAX_ABOUT_CHARACTERS = 2000

_EDGE = "---\n"
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_PLAIN = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}

# The Hub's names of our figures, and the beginnings of our names.
_METRICS = {"accuracy": "accuracy", "f1": "macro_f1", "bleu": "bleu4", "perplexity": "ppl_word"}
_TASKS = {"classification": "text-classification"}
_BASE_TAGS = ("adavae", "text-vae", "gpt2", "latent-space")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What only its maker knows of a set.

    Attributes:
        license: An id of the Hub's, as ``mit`` or ``cc-by-4.0``.
        base_model: Id of its backbone on the Hub; None where it is not there.
        datasets: Ids of its data on the Hub.
        about: Where its data come from, and under which terms, in plain words.
    """

    license: str = UNKNOWN_LICENSE
    base_model: str | None = None
    datasets: Sequence[str] = field(default=())
    about: str = ""

    def __post_init__(self) -> None:
        if not _LICENSE.fullmatch(self.license):
            raise ConfigError("license", self.license, "must be an id as the Hub lists them, like mit or cc-by-4.0")
        if len(self.about) > MAX_ABOUT_CHARACTERS:
            rule = f"must have at most {MAX_ABOUT_CHARACTERS:,} characters"
            raise ConfigError("about", f"{len(self.about):,} characters", rule)
        for name, value in (("base_model", self.base_model), *(("datasets", each) for each in self.datasets)):
            if value is not None and not is_hub_id(value):
                raise ConfigError(name, value, "must be an id of the Hub, like gpt2 or owner/name")


def is_hub_id(text: str) -> bool:
    """Whether ``text`` can be ``owner/name``, or one of the few names without an owner."""
    return _HUB_ID.fullmatch(text) is not None and not text.endswith((".git", ".")) and ".." not in text


def front_matter(preset: str, metrics: Mapping[str, Any], origin: Origin) -> str:
    """The block with its edges.

    Args:
        preset: That the set was trained with.
        metrics: Its figures, of which the Hub is told the names.
        origin: What only its maker knows.
    """
    values: dict[str, str | list[str]] = {"library_name": LIBRARY, "license": origin.license}
    values["pipeline_tag"] = _TASKS.get(preset, "text-generation")
    if origin.base_model is not None:
        values["base_model"] = origin.base_model
    lists = {
        "datasets": list(origin.datasets),
        "metrics": [name for name, ours in _METRICS.items() if any(_is_a(key, ours) for key in metrics)],
        "tags": [*_BASE_TAGS, *([preset] if _PLAIN.fullmatch(preset) else [])],
    }
    values |= {name: listed for name, listed in lists.items() if listed}
    return f"{_EDGE}{''.join(_lines(values))}{_EDGE}\n"


def without_front_matter(card: str) -> str:
    """The card for people alone."""
    if not card.startswith(_EDGE):
        return card
    _, found, rest = card.removeprefix(_EDGE).partition(f"\n{_EDGE}")
    return rest.lstrip("\n") if found else card


def _is_a(key: str, ours: str) -> bool:
    return key == ours or key.startswith(f"{ours}_iw")


def _lines(values: Mapping[str, str | list[str]]) -> list[str]:
    lines = []
    for name, value in values.items():
        if isinstance(value, str):
            lines.append(f"{name}: {_scalar(value)}\n")
        else:
            lines += [f"{name}:\n", *(f"- {_scalar(each)}\n" for each in value)]
    return lines


def _scalar(text: str) -> str:
    """A word as it is where YAML cannot take it for anything else, else in quotes, which are JSON's."""
    return text if _PLAIN.fullmatch(text) and text not in _YAML_WORDS else json.dumps(text)
