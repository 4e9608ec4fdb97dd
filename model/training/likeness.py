"""Texts and labels that differ to a computer and not to a reader."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from adavae.model.cleaning import is_normalisable

_NAMED, _NAMED_OF_A_GROUP = 5, 10
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f]")
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+\Z")
_NO_WORD = re.compile(r"[\W_]+")


def label_key(label: str) -> str:
    """The same for labels that look alike: in other case, spacing or width, with invisible characters, ``1.0``."""
    shown = _INVISIBLE.sub("", unicodedata.normalize("NFKC", label))
    return _WHOLE_NUMBER.sub(r"\1", " ".join(shown.casefold().split()))


def text_key(text: str) -> str:
    """The same for texts that differ in case, accents, spacing and punctuation only."""
    letters = text
    if not text.isascii() and is_normalisable(text):
        letters = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return _NO_WORD.sub(" ", letters.casefold()).strip() or text


def label_warnings(labels: Mapping[str, int]) -> Iterator[str]:
    """Labels that were probably meant to be one, in plain words; each with how many rows carry it."""
    alike: dict[str, list[str]] = {}
    for name in labels:
        alike.setdefault(label_key(name), []).append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    if groups:
        told = "; ".join(_named(names, labels) for names in groups[:_NAMED])
        yield f"labels that look alike and count as different ones: {told}; write each in one way"


def _named(names: Sequence[str], labels: Mapping[str, int]) -> str:
    """The first of a group; there may be a thousand in one."""
    named = ", ".join(f"{name!r} ({labels[name]})" for name in names[:_NAMED_OF_A_GROUP])
    num_more = len(names) - _NAMED_OF_A_GROUP
    return f"{named} and {num_more} more" if num_more > 0 else named
