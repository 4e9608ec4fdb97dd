"""Which texts of a dataset are held back for validation, so that no text is on both sides."""

import random
from collections import Counter
from collections.abc import Collection
from itertools import islice

from adavae.model.errors import DatasetError
from adavae.model.training.corpus import Dataset

_MOST_COPIES, _COPIES_SHARE = 5, 0.05  # rows of one text that may be held back: so many, or a share of all of those


def split_validation(dataset: Dataset, fraction: float | None = None, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Training and validation texts, with the same label proportions and no text on both sides.

    At least one text goes to each side, at most about 2,000 to validation; a label's last texts stay in training, and
    so does a text that occurs so often that validation would be of little else.

    Args:
        dataset: The texts.
        fraction: Share of the texts to hold back; None is ``validation_share``.
        seed: Seed of the draw.

    Raises:
        DatasetError: All texts are copies of one, or no label has a text to spare.
    """
    groups: dict[str, list[int]] = {}
    for row, text in enumerate(dataset.texts):
        groups.setdefault(" ".join(text.lower().split()), []).append(row)
    if len(groups) < 2:
        raise DatasetError(f"{dataset.source}: all texts are copies of one; at least two different ones are needed")
    share = min(validation_share(len(dataset.texts)) if fraction is None else fraction, 2000 / len(dataset.texts))
    most = max(_MOST_COPIES, round(share * len(dataset.texts) * _COPIES_SHARE))
    every = list(groups.values())
    usual = [group for group in every if len(group) <= most]
    chosen = next(filter(None, (_chosen(dataset, each, len(groups), share, seed) for each in (usual, every))), [])
    if not chosen:
        raise DatasetError(no_text_to_spare(dataset.source))
    held = {row for group in chosen for row in group}
    training = [row for row in range(len(dataset.texts)) if row not in held]
    return dataset.rows(training, dataset.source), dataset.rows(sorted(held), dataset.source)


def _chosen(dataset: Dataset, groups: list[list[int]], num_groups: int, share: float, seed: int) -> list[list[int]]:
    """A share of the groups, of ``num_groups`` in all, that may be held back; none where each would cost a label."""
    if not groups:
        return []
    ordered = _shuffled_by_label(dataset, groups, seed)
    wanted = min(num_groups - 1, len(ordered), max(1, round(share * len(ordered))))
    # Evenly spaced groups of a list ordered by label hold each label in proportion.
    places = [(2 * number + 1) * len(ordered) // (2 * wanted) for number in range(wanted)]
    return [ordered[place] for place in _spared(dataset, ordered, places)]


def _spared(dataset: Dataset, groups: list[list[int]], places: list[int]) -> list[int]:
    """Those of ``places`` whose groups leave every label a text; else another place, where there is one."""
    if dataset.labels is None:
        return places
    labels = dataset.labels
    left = Counter(labels)

    def is_to_spare(place: int) -> bool:
        counts = Counter(labels[row] for row in groups[place])
        if any(left[label] <= num_rows for label, num_rows in counts.items()):
            return False
        left.subtract(counts)
        return True

    return [place for place in places if is_to_spare(place)] or list(islice(filter(is_to_spare, range(len(groups))), 1))


def no_text_to_spare(source: str) -> str:
    """Why such texts cannot be split."""
    return (
        f"{source}: no label has a text to spare for validation: add texts, so that one label has two different ones, "
        "or give a validation file"
    )


def must_refuse(rows_of_labels: Collection[int], num_texts: int, num_conflicting: int) -> bool:
    """Whether ``split_validation`` is sure to find no text to spare, as far as counts tell.

    Args:
        rows_of_labels: How many rows each label has; empty without labels.
        num_texts: Different texts, where case and spacing make no difference.
        num_conflicting: Those of them that carry more than one label; then not all is known.
    """
    if not rows_of_labels:
        return False
    return max(rows_of_labels) == 1 or (num_conflicting == 0 and num_texts <= len(rows_of_labels))


def validation_share(num_texts: int) -> float:
    """A twentieth; with few texts more, so that there are a hundred, but never more than a fifth."""
    return max(0.05, min(0.2, 100 / num_texts))


def _shuffled_by_label(dataset: Dataset, groups: list[list[int]], seed: int) -> list[list[int]]:
    """The groups ordered by the label of their first row, at random within a label."""
    random.Random(seed).shuffle(groups)
    labels = dataset.labels
    return groups if labels is None else sorted(groups, key=lambda group: labels[group[0]])
