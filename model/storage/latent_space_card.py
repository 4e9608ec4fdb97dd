"""What a latent space writes, as a table and as part of the model card: figures beside real texts', and samples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SHOWN_DRAWS = 20

# Title, path of the figure, path of its comparison (worst case or real texts), or the known value after =.
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("walks: different sentences", "walks.distinct", "walks.distinct_worst"),
    ("walks: inner sentences of their own", "walks.own_inner", ""),
    ("walks: smoothness", "walks.smoothness", "walks.smoothness_worst"),
    ("walks: longest step", "walks.longest_step", ""),
    ("walks: inner sentences, nats a word", "walks.fluency.nats", "walks.fluency.real_nats"),
    ("walks: inner sentences, SLOR", "walks.fluency.slor", "walks.fluency.real_slor"),
    ("walks: inner sentences with a word never read", "walks.fluency.unknown", "walks.fluency.real_unknown"),
    ("draws: nats a word", "draws.fluency.nats", "draws.fluency.real_nats"),
    ("draws: SLOR", "draws.fluency.slor", "draws.fluency.real_slor"),
    ("draws: worse than 95 % of real texts, by nats", "draws.fluency.worse_by_nats", "=0.05"),
    ("draws: worse than 95 % of real texts, by SLOR", "draws.fluency.worse_by_slor", "=0.05"),
    ("draws: texts with a word never read", "draws.fluency.unknown", "draws.fluency.real_unknown"),
    ("draws: different texts", "draws.distinct", ""),
    ("draws: copies of training texts", "draws.copied", "draws.real_copied"),
    ("draws: distinct-2", "draws.distinct_2", "draws.real_distinct_2"),
    ("draws: told apart from real texts", "draws.told_apart", "=0.5"),
    ("draws: forward perplexity", "draws.fluency.perplexity", "draws.real_perplexity"),
    ("draws: reverse perplexity", "draws.reverse_perplexity", "draws.real_reverse_perplexity"),
    ("analogies: moved", "analogies.moved", "analogies.moved_worst"),
    ("analogies: words kept", "analogies.kept", "analogies.kept_worst"),
    ("analogies: nats a word over real ones", "analogies.fluency_ratio", "analogies.fluency_ratio_worst"),
    ("labels by a linear probe of z: accuracy", "latents.probe.accuracy", "latents.probe.majority"),
    ("half a sentence finds its whole", "latents.half.nearest", ""),
    ("a paraphrase finds its pair: mean of 1 / rank", "latents.paraphrases.found.reciprocal_rank", ""),
    ("a paraphrase is nearer than a pair that is none", "latents.paraphrases.told_apart", ""),
    ("spaces before punctuation: distance of z", "forms.spaced.distance", "forms.spaced.distance_worst"),
    ("capital letters: distance of z", "forms.capitalised.distance", "forms.capitalised.distance_worst"),
)


def figure_rows(space: Mapping[str, Any]) -> dict[str, str]:
    """Every measured figure by its title, with its comparison in brackets.

    Args:
        space: As returned by ``training.latent_space.measure_latent_space``.
    """
    figures = ((title, _at(space, path), _beside(space, beside)) for title, path, beside in _ROWS)
    return {title: f"{figure:.4g}{beside}" for title, figure, beside in figures if figure is not None}


def sample_blocks(space: Mapping[str, Any]) -> str:
    """The first draws, walk and analogies as Markdown; empty without samples."""
    samples = space.get("samples", {})
    blocks = []
    if draws := samples.get("draws"):
        blocks.append(("Draws", draws[:_SHOWN_DRAWS]))
    if walks := samples.get("walks"):
        blocks.append(("A walk", walks[0]))
    blocks += [(f"Analogies, {name}", list(_analogies(rows))) for name, rows in samples.get("analogies", {}).items()]
    return "\n\n".join(f"{title}:\n\n```text\n{_lines(lines)}\n```" for title, lines in blocks)


def _analogies(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for a, b, c, output in rows:
        yield from (f"a: {a}", f"b: {b}", f"c: {c}", f"d: {output}", "")


def _lines(lines: Sequence[str]) -> str:
    """One text per line, escaped so that no text can end the block."""
    return "\n".join(" ".join(line.split()).replace("```", "'''") for line in lines).rstrip("\n")


def _at(space: Mapping[str, Any], path: str) -> float | None:
    value: Any = space
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _beside(space: Mapping[str, Any], path: str) -> str:
    if path.startswith("="):
        return f" (real: {path[1:]})"
    figure = _at(space, path) if path else None
    if figure is None:
        return ""
    word = "worst" if path.endswith("_worst") else "majority" if path.endswith("majority") else "real"
    return f" ({word}: {figure:.4g})"
