"""Tables 4 and 5: what the paper's inputs become with an adapter set, beside what the paper prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from adavae.model.decoding.decoding import Decoding
from adavae.model.storage.latent_space_card import figure_rows
from adavae.model.text_model import TextModel
from adavae.model.training.reproduction.markdown import table

SOURCE = "it is a very nice place to call home !"
TARGET = "the food is so good and i seriously always feel like family ."
ANALOGIES = {
    "food was good , served in large portions .": (
        "food, and especially the appetizers, always exceeded my expectations."
    ),
    "great experience every time at prestige animal clinic !": (
        "best experience i have ever had in any restaurant, food wise, the staff is amazing!"
    ),
    "i was very disappointed with the quality and service .": (
        "the food was absolutely horrible, i absolutely never tasted the food and the quality of the service."
    ),
}
"""Table 4: the paper's output for each input C, as A becomes B; SOURCE is A, TARGET is B."""

WALK = (
    "the location is clean and the patio is great !",
    "the patio is in the middle of the block and the open right is better.",
    "the patio terrace is really nice and on the menu!",
    "the kitchen is perfect, however the menu is small on the menu option.",
    "after the reservation is open, the place is spacious and well organized.",
    "the restaurant is spacious with plenty of room to choose from, even inside a typical yelp.",
    "the menu is a perfect fit for a night stand, and the waiter's number is super friendly!",
    "in addition to its extensive menu, the patio is absolutely a wonderful place!",
    "if you are a fan of the service of a good restaurant, then definitely take a visit.",
    "very attentive, especially for a non english tour.",
    "very special place and highly recommended .",
)
"""Table 5: the paper's sentences at tau 0.0, 0.1 ... 1.0; the first and the last are the inputs."""

_MEASURED = {"table4": "analogies:", "table5": "walks:"}


def analogies(text_model: TextModel, name: str, decoding: Decoding) -> list[dict[str, Any]]:
    """Table 4, a record for each input C: ``output`` is ours."""
    outputs = text_model.analogy(SOURCE, TARGET, list(ANALOGIES), name, decoding)
    made_by = {"table": "table4", "adapter": text_model.reference_of(name), "a": SOURCE, "b": TARGET}
    return [
        {**made_by, "input": c, "output": output.text, "paper_output": paper}
        for (c, paper), output in zip(ANALOGIES.items(), outputs, strict=True)
    ]


def walk(text_model: TextModel, name: str, decoding: Decoding) -> list[dict[str, Any]]:
    """Table 5, a record for each tau: ``output`` is ours."""
    steps = text_model.interpolate(WALK[0], WALK[-1], len(WALK), name, decoding)
    made_by = {"table": "table5", "adapter": text_model.reference_of(name)}
    return [
        {**made_by, "tau": step.tau, "output": step.decoded.text, "paper_output": paper}
        for step, paper in zip(steps, WALK, strict=True)
    ]


def measured(of_table: str, metrics: Mapping[str, Any]) -> dict[str, str]:
    """What the set's card says of its analogies, or of its walks, by title; empty where it was not measured.

    Args:
        of_table: ``table4`` or ``table5``.
        metrics: Of the set's manifest.
    """
    rows = figure_rows(metrics.get("latent_space") or {})
    return {title: figure for title, figure in rows.items() if title.startswith(_MEASURED[of_table])}


def markdown(records: Sequence[Mapping[str, Any]], figures: Mapping[str, str]) -> str:
    """The table, and the set's measures below it."""
    is_walk = records[0]["table"] == "table5"
    shown = [f"{each['tau']:.1f}" if is_walk else str(each["input"]) for each in records]
    rows = [(first, each["output"], each["paper_output"]) for first, each in zip(shown, records, strict=True)]
    lines = table(("tau" if is_walk else "input C", str(records[0]["adapter"]), "the paper"), rows)
    if not is_walk:
        lines = [f"A: {SOURCE}", "", f"B: {TARGET}", "", *lines]
    if figures:
        lines += ["", "On many texts: " + "; ".join(f"{title} {figure}" for title, figure in figures.items()) + "."]
    return "\n".join(lines) + "\n"
