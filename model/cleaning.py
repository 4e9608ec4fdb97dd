"""What a text is to the model, whichever way it came: the same in training and in serving.

A text in which there is nothing to clean stays as it is, bit for bit.
"""

import re
import unicodedata

RULE = "1: stripped, plain spaces, no byte order marks, NFC"
"""What ``clean`` does, as the manifest of a set says it of its training texts; another rule gets another number."""

_SPACES = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # category Zs, less the space itself
_BYTE_ORDER_MARK = "\ufeff"  # inside a text where files were joined


_MANY_MARKS = 30  # that follow each other, as Unicode's stream-safe format has it
_NO_LETTERS_OF_ENGLISH = re.compile(rf"[^\x00-\u02ff]{{{_MANY_MARKS + 1},}}")  # marks begin at U+0300


def clean(text: str) -> str:
    """Without whitespace at its ends, with plain spaces for all others, accents composed (NFC)."""
    if text.isascii():
        return text.strip()
    spaced = _SPACES.sub(" ", text.replace(_BYTE_ORDER_MARK, ""))
    return (unicodedata.normalize("NFC", spaced) if is_normalisable(spaced) else spaced).strip()


def storable(text: str) -> str:
    """As UTF-8 can hold it: bytes of a name that were no UTF-8 are shown as escapes such as \\udcff."""
    return text.encode("utf-8", "backslashreplace").decode()


def is_normalisable(text: str) -> bool:
    """False where very many accents stand on one letter: ordering them takes time by the square of their number."""
    for run in _NO_LETTERS_OF_ENGLISH.finditer(text):
        num_marks = 0
        for character in run[0]:
            num_marks = num_marks + 1 if unicodedata.combining(character) else 0
            if num_marks > _MANY_MARKS:
                return False
    return True
