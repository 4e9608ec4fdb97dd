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
"""Below it z says next to nothing of a text: 0.1 nats tell apart 1.1 texts. Healthy sets have 5 to 100."""

MIN_ROWS_FOR_UNITS = 8
"""Validation texts below which no active unit may be chance: it means that mu varies by less than 0.1 over them."""

MIN_ROWS_FOR_HEAD = 20
"""Validation texts below which accuracy says nothing of the head."""

CLEARLY_ABOVE_GUESSING = 1.25
"""Times 1 / K: no way of guessing K labels without looking at the texts has a higher expected macro-F1 than 1 / K."""

_MUST_BE_FINITE = ("neg_elbo", "reconstruction_nats", "kl", "mi", "ppl")


class NotWorthPublishing(AdaVAEError):
    """The set was trained and measured, and serves nobody."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


def judge(metrics: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Raises NotWorthPublishing where a set that measured like this is worse than doing nothing.

    Args:
        metrics: Of the set's manifest.
        labels: Of its head.
    """
    error = _not_finite(metrics) or _collapsed(metrics) or _at_chance(metrics, len(labels))
    if error is not None:
        raise NotWorthPublishing(error)


def _not_finite(metrics: Mapping[str, Any]) -> JobError | None:
    wrong = [name for name in _MUST_BE_FINITE if not math.isfinite(metrics.get(name, 0.0))]
    if not wrong:
        return None
    return JobError(
        code="not_finite",
        message=f"the trained set's {', '.join(wrong)} on the validation texts is not finite: lower the learning rate",
        param="hyperparameters.learning_rate",
    )


def _collapsed(metrics: Mapping[str, Any]) -> JobError | None:
    has_silent_units = metrics["rows"] >= MIN_ROWS_FOR_UNITS and metrics["au"] == 0
    if metrics["kl"] >= MIN_KL_NATS and not has_silent_units:
        return None
    return JobError(
        code="latent_collapsed",
        message=(
            f"the latent has collapsed, z says nothing of the text: its KL on the validation texts is "
            f"{metrics['kl']:.3g} nats (at least {MIN_KL_NATS:g} are needed), {metrics['au']} of "
            f"{metrics['latent_size']} units are active. Lower beta, raise free_bits, or train for longer"
        ),
        param="hyperparameters.beta",
    )


def _at_chance(metrics: Mapping[str, Any], num_labels: int) -> JobError | None:
    """A head is worth something if it is right more often than always naming the commonest label.

    Where labels are very uneven, that is right almost always: there a macro-F1 clearly above guessing counts as well.
    """
    if "accuracy" not in metrics or metrics["rows"] < MIN_ROWS_FOR_HEAD:
        return None
    majority = metrics["majority_share"]
    if metrics["accuracy"] > majority or metrics["macro_f1"] > CLEARLY_ABOVE_GUESSING / num_labels:
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
