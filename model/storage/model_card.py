"""The model card of an adapter set, in Markdown: what it is, what it was made from, and its figures.

The block of YAML before it is for ``card_metadata``.
"""

import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from adavae.model.config import AdapterConfig
from adavae.model.storage.card_metadata import Origin, front_matter
from adavae.model.storage.latent_space_card import figure_rows, sample_blocks

_FIGURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "bleu4": "reconstruction BLEU-4",
    "exact_match": "exact match",
    "neg_elbo": "-ELBO, nats a text",
    "reconstruction_nats": "reconstruction, nats a text",
    "kl": "KL, nats a text",
    "mi": "mutual information, nats",
    "mi_ceiling": "its ceiling, ln N",
    "mi_gaussian": "mutual information by Gaussians, which has no ceiling, nats",
    "au": "active units",
    "ppl_word": "perplexity a word",
    "ppl_token": "perplexity a token",
    "ppl_rows": "texts they were measured on",
    "ppl_truncated": "of these cut to the context",
    "rows": "texts",
    "decoded_rows": "texts decoded",
    "truncated": "texts cut to the context",
}

_UNTOLD = "not recorded"

_USES = {
    "generation": "Reconstruction, interpolation and analogy of single sentences like those it was trained on.",
    "language-modelling": "Measuring: perplexity, ELBO and mutual information of a latent-variable language model.",
    "classification": "Classifying single sentences like those it was trained on; its latent also decodes.",
}
_USES_OF_ENCODER = {"classification": "Classifying single sentences like those it was trained on."}
_UNTRAINED_DECODER = "Its decoder's adapters had no step of training, and what it writes of a text says little of it."


def model_card(
    *,
    name: str,
    config: AdapterConfig,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    created_at: str,
    origin: Origin | None = None,
) -> str:
    """One set's card.

    Args:
        name: Name of the set.
        config: Its configuration.
        metrics: As returned by ``evaluation.evaluate``.
        training: ``preset``, ``command``, ``data`` (source, rows, digest, truncated), ``steps``, ``duration_s``,
            ``best_step``, ``decoder_from``, ``is_decoder_trained``, as far as they are known.
        created_at: ISO 8601, UTC.
        origin: What only its maker knows of it.
    """
    facts = {**_facts(training), "made": created_at}
    figures = {
        title: _as_text(value) for key in _FIGURES for title, value in _titled(key, metrics) if value is not None
    }
    settings = {key.replace("_", " "): _as_text(value) for key, value in config.to_dict().items()}
    preset = str(training.get("preset", ""))
    return front_matter(preset, metrics, origin or Origin()) + (
        "\n\n".join(
            [
                f"# {name}",
                _OPENING,
                _section("How it was made", _table(facts)),
                _section(f"Measured on {_one_line(metrics.get('data') or 'held-back texts')}", _table(figures)),
                *([_section("Its data", _prose(origin.about))] if origin is not None and origin.about else []),
                *_latent_space(metrics.get("latent_space") or {}),
                _section("What it consists of", _table(settings)),
                _section("Use", f'```sh\nadavae interpolate "one sentence." "another one." --adapter {name}\n```'),
                _section("Intended use", _uses(preset, training)),
                _section("Limits", _LIMITS),
            ]
        )
        + "\n"
    )


def _facts(training: Mapping[str, Any]) -> dict[str, object]:
    """How it was made; a set from elsewhere may not tell."""
    facts: dict[str, object] = {"preset": training.get("preset", _UNTOLD)}
    data, steps, command = training.get("data"), training.get("steps"), training.get("command")
    if isinstance(data, Mapping) and (told := _trained_on(data)):
        facts["trained on"] = told
    if isinstance(steps, int):
        facts["steps"] = f"{steps:,}{_in_time(training.get('duration_s'))}"
    if isinstance(training.get("best_step"), int):
        facts["best step"] = _best_step(training)
    return {**facts, "command": f"`{command}`" if command else _UNTOLD}


def _trained_on(data: Mapping[str, Any]) -> str:
    """As much of it as is known: ``reviews.tsv, 1,200 texts (sha256 0123456789ab)``."""
    source, rows, digest = (data.get(name) for name in ("source", "rows", "digest"))
    parts = [str(source)] if source else []
    parts += [f"{rows:,} texts"] if isinstance(rows, int) else []
    return ", ".join(parts) + (f" (sha256 {str(digest)[:12]})" if digest else "")


def _best_step(training: Mapping[str, Any]) -> str:
    """Which step the set is of, and what of it is of another one."""
    best, decoder_from = training["best_step"], training.get("decoder_from")
    if isinstance(decoder_from, int):
        earlier = "encoder and head are of an earlier one, where the head was best before the decoder had a step"
        better = "" if training.get("is_decoder_trained", True) else ", and no step of that was better"
        return f"{best:,}; {earlier}; from step {decoder_from:,} on the decoder alone was trained{better}"
    return f"{best:,}" if best else "0: no step was better than what the run began with"


def _uses(preset: str, training: Mapping[str, Any]) -> str:
    """What it is for; a set whose decoder was not trained is not for decoding."""
    if training.get("is_decoder_trained", True):
        return _USES.get(preset, "")
    return f"{_USES_OF_ENCODER.get(preset, _USES.get(preset, ''))} {_UNTRAINED_DECODER}".strip()


def _in_time(duration_s: object) -> str:
    if isinstance(duration_s, int | float) and math.isfinite(duration_s):
        return f" in {_time(round(duration_s))}"
    return ""


def _time(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes:,} minutes" if minutes > 1 else "1 minute"


def _titled(key: str, metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The title and value of a figure, or of each one whose name includes its importance samples."""
    if key in metrics:
        yield _FIGURES[key], metrics[key]
    for name, value in metrics.items():
        if (samples := name.removeprefix(f"{key}_iw")) != name:
            yield f"{_FIGURES[key]}, {samples} importance samples", value


_OPENING = "An adapter set of adavae: trained parts that make a text VAE of a frozen GPT-2 (AdaVAE, Tu et al. 2022)."

_LIMITS = (
    "It knows the kind of text it was trained on and little else; other texts come back altered. It repeats what its\n"
    "training texts say, prejudice included, and states nothing true on purpose. Labels are those of its data."
)


def _latent_space(space: Mapping[str, Any]) -> list[str]:
    """What its latent space writes, if that was measured."""
    rows = figure_rows(space)
    samples = sample_blocks(space)
    return [
        *([_section("What its latent space writes", f"{_JUDGED}\n\n{_table(rows)}")] if rows else []),
        *([_section("Samples", f"{_UNCHOSEN.format(seed=space.get('seed', 0))}\n\n{samples}")] if samples else []),
    ]


_JUDGED = (
    "Judged by a word n-gram model and a TF-IDF classifier that read the training texts and share nothing with the\n"
    "set; in brackets the worst case, or what real texts have. Nats reward blandness, SLOR (higher is better) does not."
)

_UNCHOSEN = "The first of what was drawn and walked with seed {seed}, greedily; nobody chose them."


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(rows: Mapping[str, object]) -> str:
    lines = [f"| {title} | {_cell(value)} |" for title, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(value: object) -> str:
    """Escapes bars, which would end the cell, and the backslashes before them."""
    return re.sub(r"(\\*)\|", r"\1\1\\|", _one_line(value))


def _prose(text: str) -> str:
    """A paragraph that is no markup but what one line of words can be."""
    return textwrap.fill(_one_line(text).strip(), 120, break_long_words=False, break_on_hyphens=False)


def _one_line(value: object) -> str:
    return re.sub(r"\s*[\r\n]\s*", " ", str(value))


def _as_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
