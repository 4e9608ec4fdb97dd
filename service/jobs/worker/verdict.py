"""Whether a trained adapter set is worth publishing: one that is worse than doing nothing is not.

Judged by its manifest's figures on the validation texts; where those are too few to tell, the set has the benefit of
the doubt.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adavae.model.errors import AdaVAEError
from adavae.service.jobs.records.job import JobError

MIN_KL_NATS = 0.1
"""Below it z says next to nothing about a text: 0.1 nats tell apart 1.1 texts. Healthy sets have 5 to 100."""

MIN_ROWS_FOR_UNITS = 8
"""Validation texts below which no active unit may be chance: it means that mu varies by less than 0.1 over them."""

MIN_ROWS_FOR_HEAD = 20
"""Validation texts below which a head need not be better than the commonest label, only not clearly worse."""

CHANCE_OF_BAD_LUCK = 0.05
"""How rarely a head as good as the commonest label may come out as low as one that is called clearly worse."""

CLEARLY_ABOVE_GUESSING = 1.25
"""Times 1 / K: no way of guessing K labels without looking at the texts has a higher expected macro-F1 than 1 / K."""

MIN_ROWS_FOR_SAMENESS = 10
"""Reconstructed texts from which on one sentence for all of them is no chance."""

MIN_ROWS_FOR_RECOGNITION = 20
"""Reconstructed texts below which being nearer to others' texts than to their own may be chance."""

LUCK = 1.645 * 0.29
"""Over the square root of N: how far above 1/2 N texts that are about nothing come by chance in 5 of 100 runs.
0.29 is the deviation of a number drawn evenly from 0 to 1, which the place of one's own text among others then is."""

_WRITES = "generation"  # the preset whose sets are there to write


class NotWorthPublishing(AdaVAEError):
    """The set was trained and measured, and serves nobody."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


def judge(metrics: Mapping[str, Any], labels: Sequence[str], preset: str) -> None:
    """Raises NotWorthPublishing where a set that measured like this is worse than doing nothing.

    Args:
        metrics: Of the set's manifest.
        labels: Of its head.
        preset: What it was trained for.
    """
    if (error := _collapsed(metrics)) is not None:
        raise NotWorthPublishing(error)
    judge_use(metrics, labels, preset)


def judge_use(metrics: Mapping[str, Any], labels: Sequence[str], preset: str) -> None:
    """As ``judge``, of what the set is used for alone: its head, where it has one, and what it writes."""
    if preset == _WRITES and (error := _writes_without_reading(metrics)) is not None:
        raise NotWorthPublishing(error)
    if (error := _at_chance(metrics, len(labels))) is not None:
        raise NotWorthPublishing(error)


def _collapsed(metrics: Mapping[str, Any]) -> JobError | None:
    has_silent_units = metrics["rows"] >= MIN_ROWS_FOR_UNITS and metrics["au"] == 0
    if metrics["kl"] >= MIN_KL_NATS and not has_silent_units:
        return None
    return JobError(
        code="latent_collapsed",
        message=(
            f"the latent has collapsed, z says nothing about the text: its KL on the validation texts is "
            f"{metrics['kl']:.3g} nats (at least {MIN_KL_NATS:g} are needed), {metrics['au']} of "
            f"{metrics['latent_size']} units are active. Lower beta, raise free_bits, or train for longer"
        ),
        param="hyperparameters.beta",
    )


def _writes_without_reading(metrics: Mapping[str, Any]) -> JobError | None:
    """A set that is there to write is worth something if what it writes from a text's z is about that text."""
    rows, share = metrics.get("decoded_rows", 0), metrics.get("recognised")
    if share is None or rows < MIN_ROWS_FOR_SAMENESS:
        return None
    least = 0.5 + LUCK / math.sqrt(rows)
    if metrics["distinct_outputs"] > 1 and (rows < MIN_ROWS_FOR_RECOGNITION or share >= least):
        return None
    return JobError(
        code="writes_the_same",
        message=(
            f"the set writes without regard to the text: {metrics['distinct_outputs']} different sentences for {rows} "
            f"validation texts, and each is nearer to its own text than to another one in {share:.2f} of the cases "
            f"(0.5 is chance, {least:.2f} is needed). Train for longer (n_epochs), on more texts, or go on from a set "
            "that writes (adavae train --init-from); for labels alone, take the preset classification"
        ),
        param="hyperparameters.n_epochs",
    )


def _at_chance(metrics: Mapping[str, Any], num_labels: int) -> JobError | None:
    """A head is worth something if it is right more often than always naming the commonest label.

    Where labels are very uneven, that is right almost always: there a macro-F1 clearly above guessing counts as well.
    """
    if "accuracy" not in metrics:
        return None
    rows, accuracy, majority = metrics["rows"], metrics["accuracy"], metrics["majority_share"]
    is_above_guessing = metrics["macro_f1"] > CLEARLY_ABOVE_GUESSING / num_labels
    to_beat = 1 / num_labels if majority == 1 else majority  # always naming the only label there is cannot be beaten
    if rows < MIN_ROWS_FOR_HEAD:
        is_good = _chance_of_at_most(round(accuracy * rows), rows, to_beat) >= CHANCE_OF_BAD_LUCK
    else:
        is_good = accuracy > to_beat
    if is_good or is_above_guessing:
        return None
    return JobError(
        code="head_at_chance",
        message=(
            f"the head is no better than always naming the commonest label: accuracy {metrics['accuracy']:.3f} on "
            f"{metrics['rows']} validation texts, of which {majority:.3f} have that label. Check the labels, give more "
            "texts, or train for longer"
        ),
        param="training_file",
    )


def _chance_of_at_most(num_right: int, num_rows: int, share: float) -> float:
    """P(X <= num_right) of X ~ Binomial(num_rows, share)."""
    return sum(
        math.comb(num_rows, right) * share**right * (1 - share) ** (num_rows - right) for right in range(num_right + 1)
    )
