"""Which column of a table, or field of an object, is the text, which its pair and which the label.

As told, or by its name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adavae.model.errors import DatasetError

TEXT_NAMES = ("text", "sentence", "review", "content")
_FIRST_NAMES = ("text1", "sentence1", "premise", "question1")  # only beside a second text
LABEL_NAMES = ("label", "labels", "class", "category", "sentiment")
PAIR_NAMES = ("text_pair", "text2", "sentence2", "hypothesis", "question2")


class NoTextColumn(DatasetError):
    """No column is named as texts usually are; ``names`` are those that there are."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


@dataclass(frozen=True, slots=True)
class Found:
    """The columns of one file that are read; None where it has none of that kind."""

    text: str
    label: str | None
    pair: str | None


@dataclass(frozen=True, slots=True)
class Columns:
    """Names that the user gives; None lets the reader guess by usual names, whatever their case."""

    text: str | None = None
    label: str | None = None
    pair: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in (self.text, self.label, self.pair) if name is not None]
        if len(set(given)) < len(given):
            twice = next(name for name in given if given.count(name) > 1)
            raise DatasetError(f"the column {twice[:60]!r} is named twice: text, pair and label are different columns")

    def found(self, names: Sequence[str], place: str) -> Found:
        """The columns among ``names`` that are read; arguments and errors as for the methods below."""
        text, pair = self.text_of(names, place), self.pair_of(names, place)
        return Found(text, self.label_of(names, place), pair)

    def text_of(self, names: Sequence[str], place: str) -> str:
        """The text's column among ``names``; ``place`` is the file and line, for messages.

        Raises:
            NoTextColumn: There is none.
            DatasetError: There is more than one.
        """
        usual = TEXT_NAMES if self.pair_of(names, place) is None else (*TEXT_NAMES, *_FIRST_NAMES)
        found = _found(names, usual if self.text is None else (self.text,), exactly=self.text is not None, at=place)
        if found is not None:
            return found
        wanted = f"named {self.text!r}" if self.text is not None else f"with texts, named {', '.join(TEXT_NAMES)}"
        raise NoTextColumn(
            f"{place}: there is no column {wanted}; there are {shown(names)}: add a header line, rename the column to "
            "text, or name it with --text-column (text_column over HTTP); texts alone, one a line, go into a .txt file",
            names,
        )

    def label_of(self, names: Sequence[str], place: str) -> str | None:
        """The label's column; None where there is none and none was named.

        Raises:
            DatasetError: The one that was named is missing, or there are two of it.
        """
        found = _found(
            names, LABEL_NAMES if self.label is None else (self.label,), exactly=self.label is not None, at=place
        )
        if found is None and self.label is not None:
            raise DatasetError(
                f"{place}: there is no column named {self.label!r}; there are {shown(names)}: name one of these with "
                "--label-column (label_column over HTTP)"
            )
        return found

    def pair_of(self, names: Sequence[str], place: str) -> str | None:
        """The column of each text's second half (``model.pairs``); None where texts stand alone.

        With a text column that was named, only ``text_pair`` is one: another is a text like any other then.

        Raises:
            DatasetError: There are two of it, or the one that was named is missing.
        """
        if self.pair is not None:
            if (found := _found(names, (self.pair,), exactly=True, at=place)) is None:
                raise DatasetError(
                    f"{place}: there is no column named {self.pair!r}; there are {shown(names)}: name one of these "
                    "with --pair-column (pair_column over HTTP)"
                )
            return found
        return _found(names, PAIR_NAMES if self.text is None else PAIR_NAMES[:1], exactly=False, at=place)


GUESSED = Columns()


def shown(names: Iterable[str]) -> str:
    """Names for a message, never too many of them or too long ones."""
    listed = list(names)
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return ", ".join(repr(name[:40]) for name in listed[:10]) + more


def _found(names: Sequence[str], wanted: Sequence[str], *, exactly: bool, at: str) -> str | None:
    for each in wanted:
        found = [name for name in names if (name if exactly else name.strip().lower()) == each]
        if len(found) > 1:
            raise DatasetError(f"{at}: has the column {each!r} {len(found)} times, it must be there once: rename one")
        if found:
            return found[0]
    return None
