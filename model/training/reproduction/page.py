"""Everything that was run as one Markdown page: the paper's claims with their answers, then table by table."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from adavae.model.training.reproduction import accuracy_table, additions_table, bound_table, claims
from adavae.model.training.reproduction.addition_cells import AdditionCell
from adavae.model.training.reproduction.additions import ADDITIONS
from adavae.model.training.reproduction.checkpoint import asked
from adavae.model.training.reproduction.comparison import Answer
from adavae.model.training.reproduction.grid import TABLES, Cell
from adavae.model.training.reproduction.markdown import table
from adavae.model.training.reproduction.scale import SCALES, Scale, ScaleName
from adavae.model.training.reproduction.tables import CHECKPOINT_OPTIONS, datasets_of, procedures_of, rows_of

TITLES = {
    "table1": "Table 1: variants of AdaVAE",
    "table2": "Table 2: language models and VAEs",
    "table3": "Table 3: latent classification",
    "figure1": "Figure 1: few labels",
    "table4": "Table 4: analogies",
    "table5": "Table 5: a walk",
}


def page(cells: Sequence[Cell], examples: dict[str, str], additions: Sequence[AdditionCell] = ()) -> str:
    """The page, without a title, rows as in the paper; cells of scale smoke, of former sizes, procedures or files are
    left out.

    Args:
        cells: Of any table, scale and seed.
        examples: Tables 4 and 5 in Markdown, by name.
        additions: What this project adds, on and off, of one set on one data set.
    """
    sizes = {str(name): asdict(scale) for name, scale in SCALES.items() if name is not ScaleName.SMOKE}
    procedures = {table: procedures_of(table) for table in TABLES}
    cells = [
        cell
        for cell in cells
        if cell.sizes == sizes.get(cell.scale) and cell.procedures == procedures[cell.table].get(cell.row)
    ]
    order = {(table, row): place for table in TABLES for place, row in enumerate(procedures[table])}
    newest = sorted(_of_newest_files(cells), key=lambda cell: (order[cell.table, cell.row], cell.seed))
    sections = ["## What the paper claims", "", *_claims(newest)]
    for name, title in TITLES.items():
        sections += ["", f"## {title}", ""]
        sections += _example(name, examples) if name not in TABLES else _table(name, newest, cells)
    sections += ["", "## Beyond the paper: priors, denoised walks, analogies", "", *_additions(additions)]
    return "\n".join(sections) + "\n"


def _additions(cells: Sequence[AdditionCell]) -> list[str]:
    if not cells:
        return ["Not run yet:", "", *_block("adavae reproduce additions --data DATA")]
    there = {(cell.group, cell.row) for cell in cells}
    missing = [f"{way.group}: {way.name}" for way in ADDITIONS if (way.group, way.name) not in there]
    told = ["", f"Not run yet: {'; '.join(missing)}. The same command runs what is missing."] if missing else []
    return [*_block(cells[0].command), "", additions_table.markdown(cells).rstrip("\n"), *told]


def _claims(cells: Sequence[Cell]) -> list[str]:
    answered = claims.answers(cells)
    of_paper = [each for each in answered if not each[0].is_ours]
    ours = [each for each in answered if each[0].is_ours]
    nums = Counter(answer for _, answer, _ in of_paper)
    counts = [f"{answer.partition(':')[0]} {nums[answer]}" for answer in Answer if answer in nums]
    told = [f"{len(of_paper)} claims: {'; '.join(counts)}.", "", *_answered(of_paper)]
    return [*told, "", "Asked of the same tables, and not claimed by the paper:", "", *_answered(ours)]


def _answered(answered: Sequence[tuple[claims.Claim, Answer, list[claims.Verdict]]]) -> list[str]:
    rows = [
        (
            TITLES[claim.table].partition(":")[0],
            claim.text,
            f"**{answer}**",
            "; ".join(f"{verdict.dataset}: {verdict.numbers}" for verdict in found),
        )
        for claim, answer, found in answered
    ]
    return table(("where", "claim", "here", "by"), rows)


def _of_newest_files(cells: Sequence[Cell]) -> list[Cell]:
    """Of a data set that had other files before, the cells of those that the last cell was run on."""
    newest = {_data_of(cell): cell.files for cell in cells}
    return [cell for cell in cells if cell.files == newest[_data_of(cell)]]


def _data_of(cell: Cell) -> tuple[str, str, str, str]:
    return cell.table, cell.dataset, cell.scale, cell.backbone


def _table(name: str, cells: Sequence[Cell], with_former: Sequence[Cell]) -> Iterator[str]:
    own = [cell for cell in cells if cell.table == name]
    if not own:
        yield from ("Not run yet:", "", *_block(_whole(name, ScaleName.CPU)))
        return
    markdown = accuracy_table.markdown if name in accuracy_table.TABLES else bound_table.markdown
    kinds = dict.fromkeys((cell.scale, cell.backbone, cell.checkpoint) for cell in own)
    for scale, backbone, checkpoint in sorted(kinds, key=lambda kind: kind[2]):
        alike = [cell for cell in own if (cell.scale, cell.backbone, cell.checkpoint) == (scale, backbone, checkpoint)]
        yield from (*_block(_command(name, scale, alike)), "", markdown(alike).rstrip("\n"), "", _cost(alike))
        shown = {_data_of(cell): cell.files for cell in alike}
        for data, files in shown.items():
            former = [cell for cell in with_former if cell.files != files and cell.checkpoint == checkpoint]
            if num := sum(_data_of(cell) == data for cell in former):
                yield from ("", f"{data[1]} had other files before: {num} cells of those are left out.")
        if not checkpoint and (missing := _missing(name, alike)):
            yield from ("", f"Not run yet: {'; '.join(missing)}. What is missing is run by", "")
            yield from _block(_whole(name, scale))


def _block(command: str) -> tuple[str, ...]:
    return "```sh", command, "```"


def _whole(name: str, scale: str) -> str:
    return f"adavae reproduce {name} --data DATA --scale {scale}"


def _cost(cells: Sequence[Cell]) -> str:
    minutes = [cell.seconds / 60 for cell in cells]
    versions = ", ".join(sorted({cell.torch for cell in cells}))
    return (
        f"Cells: {len(cells)}, {sum(minutes):,.0f} minutes of one core: {min(minutes):.1f} to {max(minutes):.1f} each. "
        f"PyTorch {versions}, {_precisions(cells)}, backbone {cells[0].backbone[:12]}."
    )


def _precisions(cells: Sequence[Cell]) -> str:
    """In which numbers cells were run, and of how many nobody wrote it down."""
    nums = Counter(cell.precision or "not recorded" for cell in cells)
    if len(nums) == 1:
        return f"precision {next(iter(nums))}"
    return f"precision {', '.join(f'{name} ({num:,} cells)' for name, num in sorted(nums.items()))}"


def _missing(name: str, cells: Sequence[Cell]) -> list[str]:
    """Rows without a cell, data set by data set, and seeds that only other rows have."""
    seeds = {cell.seed for cell in cells}
    found: dict[tuple[str, str], set[int]] = {}
    for cell in cells:
        found.setdefault((cell.dataset, cell.row), set()).add(cell.seed)
    rows, missing = [row.name for row in rows_of(name, _scale(cells))], []
    for dataset in datasets_of(name):
        by_seeds: dict[tuple[int, ...], list[str]] = {}
        for row in rows:
            if left := seeds - found.get((dataset, row), set()):
                by_seeds.setdefault(tuple(sorted(left)), []).append(row)
        told = [_of_seeds(left, names, seeds, rows) for left, names in sorted(by_seeds.items(), key=_most_seeds)]
        if told:
            missing.append(f"{dataset}, {', and '.join(told)}")
    return missing


def _most_seeds(missing: tuple[tuple[int, ...], list[str]]) -> int:
    return -len(missing[0])


def _of_seeds(missing: tuple[int, ...], names: Sequence[str], seeds: set[int], rows: Sequence[str]) -> str:
    """Rows that lack the same seeds; these are left out where the rows have none."""
    listed = "all rows" if names == rows else ", ".join(f"`{name}`" for name in names)
    which = f"seed{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))}"
    return listed if set(missing) == seeds else f"{which} of {listed}"


def _scale(cells: Sequence[Cell]) -> Scale:
    return SCALES[ScaleName(cells[0].scale)]


def _command(name: str, scale: str, cells: Sequence[Cell]) -> str:
    """What makes these cells; rows are named where some are missing."""
    words = ["adavae", "reproduce", name, "--data", "DATA", "--scale", scale]
    datasets, rows = dict.fromkeys(cell.dataset for cell in cells), dict.fromkeys(cell.row for cell in cells)
    if list(datasets) != list(datasets_of(name)):
        words += [word for dataset in datasets for word in ("--dataset", dataset)]
    if set(rows) != {row.name for row in rows_of(name, _scale(cells))}:
        words += [word for row in rows for word in ("--row", row)]
    if name in accuracy_table.TABLES:
        words += ["--seeds", str(len({cell.seed for cell in cells}))]
    if cells[0].checkpoint:
        words += [CHECKPOINT_OPTIONS[name], asked(cells[0].checkpoint)]
    return shlex.join(words)


def _example(name: str, examples: dict[str, str]) -> list[str]:
    command = ["```sh", f"adavae reproduce {name}", "```", ""]
    return [*command, examples[name].rstrip("\n")] if name in examples else ["Not asked for."]
