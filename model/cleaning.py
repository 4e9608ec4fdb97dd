"""What a text is to the model, whichever way it came: the same in training and in serving.

A text in which there is nothing to clean stays as it is, bit for bit.
"""

import re
import unicodedata

_SPACES = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # category Zs, less the space itself
_BYTE_ORDER_MARK = "\ufeff"  # inside a text where files were joined


def clean(text: str) -> str:
    """Without whitespace at its ends, with plain spaces for all others, accents composed (NFC)."""
    if text.isascii():
        return text.strip()
    spaced = _SPACES.sub(" ", text.replace(_BYTE_ORDER_MARK, ""))
    return unicodedata.normalize("NFC", spaced).strip()
