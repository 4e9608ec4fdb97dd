"""Validation texts that nearly stand in the training data too: the figures measured on them flatter."""

from collections import defaultdict
from dataclasses import dataclass

from adavae.model.training.corpus import Dataset, drawn_rows
from adavae.model.training.likeness import text_key
from adavae.model.training.near_texts import LIKE, NearTexts
from adavae.model.training.progress import OnDone, ignore_done

_MAX_COMPARED = 10_000  # validation texts
_TOLD_EVERY = 1000  # training texts


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found.

    Attributes:
        equal: Validation rows with a training row that is the same, case, accents and punctuation aside.
        near: Further ones, with a training row that is the same but for a few words.
        num_compared: Validation texts that near ones were looked for.
        is_whole: Whether there was work enough to compare them all.
    """

    equal: dict[int, int]
    near: dict[int, int]
    num_compared: int
    is_whole: bool


def find_overlap(training: Dataset, validation: Dataset, on_done: OnDone = ignore_done) -> Overlap:
    """Reads the training texts once; holds the validation texts' words, of very many those of a sample.

    ``on_done`` is told how many training texts are read.
    """
    keys = [text_key(text) for text in validation.texts]
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows_of[key].append(row)
    compared = drawn_rows(len(keys), _MAX_COMPARED, seed=0)
    index = NearTexts([keys[row] for row in compared])
    equal: dict[int, int] = {}
    near: dict[int, int] = {}
    found: set[int] = set()  # places in the index
    for row, text in enumerate(training.texts):
        if row % _TOLD_EVERY == 0:
            on_done(row, len(training.texts))
        key = text_key(text)
        equal |= dict.fromkeys(rows_of.pop(key, ()), row)
        places = index.near(key, found)
        near |= {compared[place]: row for place in places}
        found.update(places)
    near = {held: row for held, row in near.items() if held not in equal}
    return Overlap(equal, near, len(compared), is_whole=not index.is_exhausted)


def overlap_notes(training: Dataset, validation: Dataset, on_done: OnDone = ignore_done) -> tuple[str, ...]:
    """What was found, in plain words; empty where there is nothing to tell."""
    found = find_overlap(training, validation, on_done)
    notes = []
    if found.equal:
        notes.append(
            f"{len(found.equal):,} of the {len(validation.texts):,} validation texts stand among the training texts "
            f"too (case, accents and punctuation aside), the first on {_where(found.equal, training, validation)}: "
            "their figures flatter, take them out"
        )
    if found.near:
        compared = (
            "" if found.num_compared == len(validation.texts) else f" of {found.num_compared:,} that were looked at"
        )
        notes.append(
            f"{len(found.near):,} validation texts{compared} are a training text but for a few words ({LIKE:.0%} of "
            f"words and pairs of words shared), the first on {_where(found.near, training, validation)}"
        )
    if not found.is_whole:
        notes.append("validation and training texts have so much in common that not all near ones could be looked for")
    return tuple(notes)


def _where(found: dict[int, int], training: Dataset, validation: Dataset) -> str:
    held = min(found)
    return f"line {validation.line_of(held)} of its file (line {training.line_of(found[held])} of the training texts)"
