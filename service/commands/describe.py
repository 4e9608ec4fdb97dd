"""``adavae adapters describe``: a new card for a set, with what it writes and where its data come from."""

from pathlib import Path
from typing import Annotated

import typer

from adavae.model.training.readers.columns import Columns
from adavae.service import loading
from adavae.service.commands.adapters import ReferenceArgument
from adavae.service.commands.options import (
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    PairColumnOption,
    TextColumnOption,
    usage_errors,
)
from adavae.service.commands.terminal import Output, progress_display
from adavae.service.settings import load_settings


def describe(
    reference: ReferenceArgument,
    data: Annotated[Path, typer.Option("--data", "-d", help="Texts that the set has not learned from.")],
    judge_data: Annotated[Path, typer.Option(help="Its training texts, from which the judges learn.")],
    about: Annotated[str, typer.Option(help="Where its data come from, for its card.")] = "",
    license_id: Annotated[
        str, typer.Option("--license", help="Of the set, as the Hub lists licences: mit, cc-by-4.0, unknown.")
    ] = "unknown",
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    pair_column: PairColumnOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what an installed set writes, and install it once more with that on its card.

    The new version has the tensors of the old one, which stays.
    """
    from adavae.model.storage.adapter_set import read_adapter_set, write_adapter_set
    from adavae.model.storage.card_metadata import Origin
    from adavae.model.training.corpus import read_dataset
    from adavae.model.training.description import described
    from adavae.model.trial import try_out

    settings = load_settings()
    with usage_errors():
        origin = Origin(license=license_id, about=about)
    columns = Columns(text_column, label_column, pair_column)
    held_out, learned = (read_dataset(path, columns=columns) for path in (data, judge_data))
    if learned.digest == held_out.digest:
        raise typer.BadParameter("--judge-data has the texts of --data: a judge must not have read what it judges")
    adapter_set = read_adapter_set(loading.open_store(settings).resolve(reference).path)
    pretrained = loading.load_pretrained(settings, device)
    with progress_display() as display:
        new = described(adapter_set, pretrained, held_out, learned, origin, on_stage=display.update)
    path = write_adapter_set(
        settings.own_adapters, new, trying=lambda written: try_out(written, pretrained, held_out.texts[0])
    )
    Output.of(as_json).write_object({"adapter": f"{new.name}@{path.name}", "path": str(path)})
