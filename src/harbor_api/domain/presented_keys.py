"""What somebody presents as an API key, and what is wrong with it as far as its form tells.

The mistakes are those that people make again and again. Nothing that was sent is repeated: it may be most of
a key.
"""

import re

from harbor_api.domain.api_keys import PREFIX, is_well_formed
from harbor_api.domain.errors import KeyInvalid, KeyMissing
from harbor_api.domain.signatures import SECRET_PREFIX

_ASK = f"Send your API key as Authorization: Bearer {PREFIX}..."
_LENGTH = 40
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
# Forms of a key that is none, and what is wrong; the first that fits.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(form, re.ASCII | re.DOTALL), hint)
    for form, hint in (
        (r"(?i:bearer)\b.*", "the word Bearer stands twice"),
        (rf"[{_QUOTES}].*|.*[{_QUOTES}]", "it stands in quotation marks"),
        (rf"{SECRET_PREFIX}.*", "this is a tracker's secret, which signs fixes; ask for a new one"),
        (r"[<{$%(\[].*|.*\.\.\.", "a placeholder stands where the key belongs"),
        (r".*[\s,;].*", "there is more than one word"),
        (r".*(\\n|\\r|%0[aAdD])", "a line end stands behind it as text"),
        (rf"(?!{PREFIX})(?i:{PREFIX}).*", f"{PREFIX} is in lower case"),
        (r"[0-9A-Za-z]{36}", f"it lacks {PREFIX} at its beginning"),
        (rf"(?!{PREFIX}).*", f"a key begins with {PREFIX}"),
        (rf".{{0,{_LENGTH - 1}}}", f"it is cut off: a key has {_LENGTH} characters"),
        (rf".{{{_LENGTH + 1},}}", f"it is too long: a key has {_LENGTH} characters"),
        (r".*[^0-9A-Za-z_].*", f"behind {PREFIX} are letters and digits alone"),
    )
)
_MISTYPED = "it is mistyped: its last six characters do not fit the others"


def read(authorization: str) -> str:
    """Return the key in an ``Authorization`` header.

    KeyMissing where there is none, KeyInvalid where its form says that it was never issued.
    """
    text = authorization.strip()
    scheme, _, key = text.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise KeyMissing(_missing(text))
    if not is_well_formed(key):
        hint = next((hint for form, hint in _FORMS if form.fullmatch(key)), _MISTYPED)
        raise KeyInvalid(f"This is no API key: {hint}")
    return key


def _missing(text: str) -> str:
    lower = text.lower()
    if not text:
        return _ASK
    if lower == "bearer":
        return f"{_ASK}; there is no key behind Bearer"
    if lower.startswith("bearer"):
        return f"{_ASK}; between the two is one space"
    if lower.startswith(PREFIX):
        return f"{_ASK}; the word Bearer is missing"
    if lower.startswith("basic "):
        return f"{_ASK}; a name and a password are not taken"
    return f"{_ASK}; the word before the key is Bearer, and no other"
