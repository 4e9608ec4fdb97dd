"""What ``adavae reproduce additions`` runs: what this project adds to the paper, switched on and off for one set."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adavae.model.errors import DatasetError
from adavae.service import loading
from adavae.service.commands.terminal import progress_display
from adavae.service.settings import Settings

if TYPE_CHECKING:
    from adavae.model.training.reproduction.addition_cells import AdditionCell


def measured_additions(
    folder: Path,
    output: Path,
    name: str,
    scale: Literal["smoke", "cpu", "paper"],
    seed: int,
    settings: Settings,
    device: str | None,
) -> "list[AdditionCell]":
    """Every way of the set, those that are finished taken from ``output``.

    Raises:
        DatasetError: There is no such folder of texts, or it cannot be used.
        AdapterSetMismatch: The set has no flow.
    """
    from adavae.model.text_model import TextModel
    from adavae.model.training.reproduction.addition_cells import Asked, run_additions
    from adavae.model.training.reproduction.scale import ScaleName

    if not folder.is_dir():
        raise DatasetError(f"{folder}: is no folder: --data holds a folder per data set, and --dataset names one")
    pretrained = loading.load_pretrained(settings, device, weight_format="float16")
    text_model = TextModel.load(pretrained, loading.open_store(settings), [name])
    asked = Asked(text_model, name, pretrained.digest, folder, ScaleName(scale), seed, output)
    with progress_display() as display:
        return list(run_additions(asked, display.update))
