"""What is in an upload, found out before it is accepted: what cannot be trained on is refused, what is odd is reported.

Reading takes several times the memory of the texts. Bytes, lines, the longest line and what decompressing needs are
therefore bounded first, in a stream: a file that decompresses to more than that is never read whole.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from adavae.model.errors import DatasetError
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.likeness import label_warnings
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.readers.lines import characters, lines
from adavae.model.training.readers.packed import split_ending
from adavae.service.jobs.data.check_pool import CheckTime

CountTokens = Callable[[Sequence[str]], list[int]]

MAX_LINES = 2_000_000
_MEASURED_ROWS = 20_000
_CHUNK_ROWS, _CHUNK_CHARACTERS = 1000, 200_000  # tenths of a second of the tokenizer's work
_FEW_ROWS, _FEW_PER_LABEL, _NAMED_LABELS = 100, 5, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLengths:
    """How many tokens texts have, over ``measured_rows`` of them: all, or of very many the longest and some others.

    Of a text that is far longer than the context only the beginning is counted.
    """

    measured_rows: int
    median: int
    p90: int
    p99: int
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """What was found.

    Attributes:
        rows: Texts.
        blank_lines: Lines between them that were passed over.
        labels: How many rows carry each label; empty without labels.
        exact_duplicates: Rows whose text an earlier row has.
        normalised_duplicates: The same, where case and spacing make no difference; includes the exact ones.
        conflicting_texts: Texts, normalised, that carry more than one label.
        tokens: Lengths of the rows.
        max_tokens: What the backbone's context leaves for a text.
        rows_over_max_tokens: Rows that are longer.
        warnings: What of this is worth a second look, in plain words.
    """

    rows: int
    blank_lines: int
    labels: Mapping[str, int]
    exact_duplicates: int
    normalised_duplicates: int
    conflicting_texts: int
    tokens: TokenLengths
    max_tokens: int
    rows_over_max_tokens: int
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "warnings": list(self.warnings)}


def report_on(
    path: Path,
    *,
    columns: Columns = GUESSED,
    count_tokens: CountTokens,
    max_tokens: int,
    max_bytes: int,
    max_line_bytes: int,
    check_time: CheckTime,
) -> DatasetReport:
    """Checks a data file from end to end.

    Args:
        path: The file; its ending says how it is read.
        columns: Which columns hold text, pair and label.
        count_tokens: The number of tokens of each text.
        max_tokens: What the backbone's context leaves for a text.
        max_bytes: How large the file may be, decompressed.
        max_line_bytes: How long a line of it may be.
        check_time: How long all of this may take.

    Raises:
        DatasetError: It cannot be trained on.
    """
    bounds = Bounds(
        max_bytes=max_bytes,
        max_line_bytes=max_line_bytes,
        max_lines=MAX_LINES,
        bytes_setting="ADAVAE_MAX_UPLOAD_BYTES",
        line_setting="ADAVAE_MAX_LINE_BYTES",
        ask=partial(check_time.ask, path),
    )
    _refuse_too_large(path, bounds)
    dataset = read_dataset(path, columns=columns, bounds=bounds)
    check_time.ask(path)
    labels = Counter(dataset.labels or ())
    groups = _labels_by_text(dataset)
    if len(groups) < 2:
        raise DatasetError(f"{path}: all {len(dataset.texts):,} texts are copies of one: add texts that differ from it")
    counts = _token_counts(path, dataset, count_tokens, max_tokens, check_time)
    report = DatasetReport(
        rows=len(dataset.texts),
        blank_lines=dataset.blank_lines,
        labels=dict(sorted(labels.items())),
        exact_duplicates=len(dataset.texts) - len(set(dataset.texts)),
        normalised_duplicates=len(dataset.texts) - len(groups),
        conflicting_texts=sum(len(names) > 1 for names in groups.values()),
        tokens=_lengths(counts),
        max_tokens=max_tokens,
        rows_over_max_tokens=sum(count > max_tokens for count in counts),
    )
    return replace(report, warnings=(*dataset.notes, *_warnings(report), *label_warnings(report.labels)))


def _refuse_too_large(path: Path, bounds: Bounds) -> None:
    """Reads the file once, holding none of it."""
    ending, _ = split_ending(path)
    if ending == ".json":  # may be one line; its entries are bounded when they are taken
        for _ in characters(path, bounds):
            bounds.ask()
        return
    for _ in lines(path, bounds):
        pass


def _labels_by_text(dataset: Dataset) -> dict[str, set[str]]:
    """The labels that each text has, where case and spacing make no difference; empty sets without labels."""
    found: dict[str, set[str]] = {}
    for row, text in enumerate(dataset.texts):
        names = found.setdefault(" ".join(text.lower().split()), set())
        if dataset.labels is not None:
            names.add(dataset.labels[row])
    return found


def _token_counts(
    path: Path, dataset: Dataset, count_tokens: CountTokens, max_tokens: int, check_time: CheckTime
) -> list[int]:
    """Numbers of tokens, ascending: of every row that may have too many, and of others up to some thousands.

    A token is at least one byte, so that a text of few bytes fits without being counted.
    """
    every = max(1, len(dataset.texts) // _MEASURED_ROWS)
    chosen = [row for row, text in enumerate(dataset.texts) if row % every == 0 or len(text.encode()) > max_tokens]
    counts: list[int] = []
    for rows in _chunks(chosen, dataset.texts):
        check_time.ask(path)
        found = count_tokens([dataset.texts[row] for row in rows])
        if 0 in found:
            raise DatasetError(f"{path}:{dataset.line_of(rows[found.index(0)])}: has no tokens: remove the line")
        counts += found
    return sorted(counts)


def _chunks(rows: Sequence[int], texts: Sequence[str]) -> Iterator[list[int]]:
    """Rows in groups of bounded length, because tokens take many times the memory of their text."""
    chunk: list[int] = []
    num_characters = 0
    for row in rows:
        chunk.append(row)
        num_characters += len(texts[row])
        if len(chunk) == _CHUNK_ROWS or num_characters > _CHUNK_CHARACTERS:
            yield chunk
            chunk, num_characters = [], 0
    if chunk:
        yield chunk


def _lengths(counts: Sequence[int]) -> TokenLengths:
    def at(share: float) -> int:
        return counts[min(len(counts) - 1, int(share * len(counts)))]

    return TokenLengths(measured_rows=len(counts), median=at(0.5), p90=at(0.9), p99=at(0.99), longest=counts[-1])


def _warnings(report: DatasetReport) -> Iterator[str]:
    if report.rows < _FEW_ROWS:
        yield f"there are only {report.rows} texts: a set that is any good takes hundreds, better thousands"
    if report.blank_lines:
        yield f"blank lines that were passed over: {report.blank_lines:,}"
    if report.exact_duplicates:
        yield f"rows that repeat an earlier one: {report.exact_duplicates:,}; each copy counts in training"
    if (nearly := report.normalised_duplicates - report.exact_duplicates) > 0:
        yield f"rows that differ from an earlier one in case or spacing only: {nearly:,}"
    if report.conflicting_texts:
        yield f"texts that occur with different labels: {report.conflicting_texts:,}; a head cannot learn these"
    if len(report.labels) == 1:
        (name,) = report.labels
        yield f"every text has the label {name!r}: enough to validate on, but a head is trained on at least 2 labels"
    rare = {name: count for name, count in report.labels.items() if count < _FEW_PER_LABEL}
    if rare:
        named = ", ".join(f"{name!r} ({count})" for name, count in list(rare.items())[:_NAMED_LABELS])
        yield f"labels with fewer than {_FEW_PER_LABEL} texts: {len(rare)}, as {named}; a head hardly learns these"
    if report.rows_over_max_tokens:
        yield (
            f"rows with more than {report.max_tokens:,} tokens, which is what the backbone takes: "
            f"{report.rows_over_max_tokens:,} of {report.rows:,}, the longest has {report.tokens.longest:,}; training "
            "uses their beginning only"
        )
