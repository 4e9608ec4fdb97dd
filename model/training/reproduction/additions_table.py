"""The ways of ``additions`` beside each other: a table for draws, one for walks, one for analogies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adavae.model.training.latent_cases import Group
from adavae.model.training.reproduction.addition_cells import TABLE, AdditionCell
from adavae.model.training.reproduction.markdown import pair, shown, table


@dataclass(frozen=True, slots=True)
class Measure:
    """A column.

    Attributes:
        title: Its heading.
        figure: Path of the figure.
        decimals: How it is written.
        beside: Path of the figure in brackets; empty for none.
    """

    title: str
    figure: str
    decimals: int = 2
    beside: str = ""

    def shown(self, figures: Mapping[str, float]) -> str:
        ours = figures.get(self.figure)
        return pair(ours, figures.get(self.beside), self.decimals) if self.beside else shown(ours, self.decimals)


_NATS = Measure("nats a word (real)", "fluency.nats", 2, "fluency.real_nats")
_SLOR = Measure("SLOR (real)", "fluency.slor", 2, "fluency.real_slor")
_WORSE = Measure("worse than 95 % of real by SLOR", "fluency.worse_by_slor", 3)
_UNKNOWN = Measure("a word never read (real)", "fluency.unknown", 3, "fluency.real_unknown")
MEASURES: dict[str, tuple[Measure, ...]] = {
    Group.DRAWS: (
        _NATS,
        _SLOR,
        _WORSE,
        _UNKNOWN,
        Measure("different texts", "distinct", 3),
        Measure("distinct-2 (real)", "distinct_2", 2, "real_distinct_2"),
        Measure("told apart", "told_apart"),
        Measure("reverse perplexity (real)", "reverse_perplexity", 0, "real_reverse_perplexity"),
    ),
    Group.WALKS: (
        Measure("different sentences (worst walk)", "distinct", 1, "distinct_worst"),
        Measure("inner ones of their own", "own_inner"),
        Measure("smoothness (worst)", "smoothness", 2, "smoothness_worst"),
        Measure("longest step", "longest_step"),
        _NATS,
        _SLOR,
        _WORSE,
        _UNKNOWN,
    ),
    Group.ANALOGIES: (
        Measure("moved (worst pair)", "moved", 2, "moved_worst"),
        Measure("words kept (worst)", "kept", 2, "kept_worst"),
        Measure("nats a word over real ones (worst)", "fluency_ratio", 2, "fluency_ratio_worst"),
        Measure("worse than 95 % of real by SLOR (worst)", "worse_by_slor", 2, "worse_by_slor_worst"),
    ),
}
_SAYS = {
    Group.DRAWS: "{num_draws:,} texts drawn in each way. Told apart from real texts: 0.5 is chance. The bound leads z "
    "to N(0, I); with a beta as small as that of the bundled sets texts lie elsewhere.",
    Group.WALKS: "{num_walks:,} walks of {steps} sentences between random pairs, the same in each way; nats and SLOR "
    "are those of inner sentences. Longest step: over the distance of the ends; 0.1 is even, 1 a jump.",
    Group.ANALOGIES: "{num_pairs:,} pairs a, b each way between two labels, each on {num_sentences:,} sentences c.",
}


def groups(cells: Sequence[AdditionCell]) -> list[list[AdditionCell]]:
    """The rows of each table."""
    return [[cell for cell in cells if cell.group == group] for group in dict.fromkeys(cell.group for cell in cells)]


def records(cells: Sequence[AdditionCell]) -> list[dict[str, Any]]:
    """One record a way."""
    shared = ("group", "row", "adapter", "backbone", "dataset", "scale", "seed", "cases", "settings", "figures")
    return [{"table": TABLE, **{name: getattr(cell, name) for name in (*shared, "seconds")}} for cell in cells]


def markdown(cells: Sequence[AdditionCell]) -> str:
    """Every table with what it is of, and what all of it cost."""
    first = cells[0]
    told = f"{first.adapter} on validation texts of {first.dataset}; the judges have read its training texts."
    parts = [f"{told} In brackets are real texts, or the worst case."]
    for group in groups(cells):
        measures = MEASURES[group[0].group]
        rows = [(cell.row, *(measure.shown(cell.figures) for measure in measures)) for cell in group]
        lines = table((group[0].group, *(measure.title for measure in measures)), rows)
        parts.append("\n".join([*lines, "", _SAYS[Group(group[0].group)].format(**group[0].cases)]))
    minutes, versions = sum(cell.seconds for cell in cells) / 60, ", ".join(sorted({cell.torch for cell in cells}))
    parts.append(f"{minutes:,.1f} minutes of one core. PyTorch {versions}, backbone {first.backbone[:12]}.")
    return "\n\n".join(parts) + "\n"
