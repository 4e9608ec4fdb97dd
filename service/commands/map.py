"""``adavae map``: texts of files as points of a plane, for a table or a plot."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adavae.model.cleaning import storable
from adavae.model.storage.atomic import write_atomically
from adavae.model.training.readers.columns import Columns
from adavae.service import loading
from adavae.service.commands.options import (
    AdapterOption,
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    PairColumnOption,
    TextColumnOption,
    TruncateOption,
)
from adavae.service.commands.terminal import Output, Record, column, number, say
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.latent.map_points import MapPoints

_ENDINGS = (".csv", ".json")


def map_texts(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Texts, in files of any kind that train reads.")
    ],
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    pair_column: PairColumnOption = None,
    adapter: AdapterOption = None,
    method: Annotated[
        Literal["pca", "tsne"],
        typer.Option("--method", help="pca: where texts differ most, with the way back; tsne: neighbours."),
    ] = "pca",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="Write here: .csv, or .json with the way back"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Take only so many texts of each file, drawn at random.")
    ] = None,
    truncate: TruncateOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Map: every text as a point of a plane, with its nearest neighbour in z.

    Texts of several files that have no labels are labelled by their file.
    """
    _check_output(output)
    settings = load_settings()
    texts, labels = _read(files, limit, Columns(text_column, label_column, pair_column))
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    from adavae.model.latent.map_points import map_points

    drawn = map_points(text_model.encode(texts, name, truncate=truncate).mu.cpu().numpy(), labels, method)
    records = _records(texts, labels, drawn, text_model.reference_of(name))
    for line in _findings(drawn):
        say(line)
    if output is None:
        shown = [number("x", decimals=2), number("y", decimals=2), column("text")]
        Output.of(as_json).write_records(records, [*([column("label")] if labels is not None else []), *shown])
        return
    written = _as_csv(records) if output.suffix == ".csv" else _as_json(records, drawn, method)
    write_atomically(output.resolve(), written.encode())
    say(f"{len(records)} points are in {output}")


def _check_output(output: Path | None) -> None:
    """Raises typer.BadParameter, before anything is computed, where the map could not be written."""
    if output is None:
        return
    if output.suffix not in _ENDINGS:
        raise typer.BadParameter(f"--output is {output}: the ending must be one of {', '.join(_ENDINGS)}")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"--output is {output}: there is no folder {output.parent}, make it first")


def _read(files: list[Path], limit: int | None, columns: Columns) -> tuple[list[str], list[str] | None]:
    """Texts of all files, and labels where every file has them; else the files' names, where there are several."""
    from adavae.model.training.corpus import read_dataset

    datasets = [read_dataset(path, limit=limit, columns=columns) for path in files]
    texts = [text for dataset in datasets for text in dataset.texts]
    if all(dataset.labels is not None for dataset in datasets):
        return texts, [label for dataset in datasets for label in dataset.labels or ()]
    if len(datasets) == 1:
        return texts, None
    return texts, [storable(dataset.source) for dataset in datasets for _ in dataset.texts]


def _records(texts: list[str], labels: list[str] | None, drawn: "MapPoints", reference: str) -> list[Record]:
    records = []
    for index, (text, (x, y)) in enumerate(zip(texts, drawn.points.tolist(), strict=True)):
        record: Record = {"index": index, "text": text}
        if labels is not None:
            record["label"] = labels[index]
        near, away = int(drawn.neighbours.nearest[index]), float(drawn.neighbours.distance[index])
        records.append(record | {"x": x, "y": y, "nearest": near, "distance": away, "adapter": reference})
    return records


def _findings(drawn: "MapPoints") -> list[str]:
    findings = []
    if drawn.plane is not None:
        findings.append(f"the plane shows {sum(drawn.plane.explained):.1%} of what differs")
    if drawn.separation is not None:
        accuracy, majority = drawn.separation.accuracy, drawn.separation.majority
        findings.append(
            f"a linear classifier on z tells the labels with {accuracy:.1%} (always the commonest: {majority:.1%})"
        )
    return findings


def _as_csv(records: list[Record]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _as_json(records: list[Record], drawn: "MapPoints", method: str) -> str:
    """One object, as POST /map answers: the points and, with pca, z = mean + x * basis[0] + y * basis[1]."""
    plane, parting = drawn.plane, drawn.separation
    whole = {
        "method": method,
        "data": records,
        "mean": plane.mean.tolist() if plane is not None else None,
        "basis": plane.basis.tolist() if plane is not None else None,
        "explained": list(plane.explained) if plane is not None else None,
        "separation": {"accuracy": parting.accuracy, "majority": parting.majority, "rows": parting.rows}
        if parting is not None
        else None,
    }
    return json.dumps(whole, ensure_ascii=False) + "\n"
