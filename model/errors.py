"""The error tree of the model: what can go wrong, in terms a caller can act on.

Every message names the value, the limit and the remedy; how an error is shown (exit code, HTTP status) is for others.
"""

_LONGEST_SHOWN = 200


class AdaVAEError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(AdaVAEError):
    """A configuration field has a value outside its rule."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(f"{field} is {shown(value)}: {rule}")
        self.field = field


class BackboneNotFound(AdaVAEError):
    """No checkpoint of the GPT-2 family at the given directory or hub id."""


class AdapterSetNotFound(AdaVAEError):
    """No adapter set of that name (or version) is installed."""


class AdapterSetMismatch(AdaVAEError):
    """An adapter set does not fit: another backbone, another tokenizer, or a part it does not have."""


class AdapterSetExists(AdaVAEError):
    """An adapter set of that name and version is there already, with other content."""


class SequenceTooLong(AdaVAEError):
    """A text has more tokens than the backbone's context holds."""


class LatentShapeError(AdaVAEError):
    """A latent vector has the wrong size or is not finite."""


class LogitsNotFinite(AdaVAEError):
    """The model overflowed on some rows of a batch; the other rows can be decoded without them."""

    def __init__(self, rows: tuple[int, ...]) -> None:
        named = f"row {rows[0]}" if len(rows) == 1 else f"rows {', '.join(map(str, rows))}"
        super().__init__(
            f"the model's logits are not finite for {named}: give a z nearer to the prior N(0, I); where that does not "
            "help, train the adapter set again"
        )
        self.rows = rows


class WeightsCorrupted(AdaVAEError):
    """A weights file is not what its manifest says it is."""


class DatasetError(AdaVAEError):
    """A dataset cannot be used as asked; names the file and, where there is one, the line."""


class TrainingDiverged(AdaVAEError):
    """The loss is no longer finite, or what was trained is of no use; good checkpoints of the run were kept."""


class TrainingInterrupted(AdaVAEError):
    """Training was asked to stop; the checkpoint it can be resumed from was kept."""


class TrainingProcessLost(AdaVAEError):
    """One of the processes of a training run ended or fell silent; the run ended with it, its checkpoints were kept.

    Attributes:
        complaint: The last line that it wrote to standard error, which can hold what is nobody else's business.
    """

    def __init__(self, message: str, complaint: str = "") -> None:
        super().__init__(f"{message} ({complaint})" if complaint else message)
        self.message, self.complaint = message, complaint


class CellFailed(AdaVAEError):
    """Cells of a reproduction failed; the others were run and kept."""


class CheckpointMismatch(AdaVAEError):
    """A checkpoint belongs to a run with other settings or other data."""


class StorageFull(AdaVAEError):
    """The disk took no more bytes; nothing half-written was left behind."""


def shown(value: object) -> str:
    """``value`` as a message shows it: a line at most, whatever somebody has put into a file."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of more digits than Python writes; nested without end
        return f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
