"""What a member may hold, whoever gives it: HTTP, the command line, the demo and imports ask the same rules.

A noun says which rule each of its members obeys (``vessels.RULES``); its service demands them before
anything is stored, and its schemas tell callers of them.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harbor_api.domain.errors import Fault, ValidationFailed

# What no text may hold, for it is not seen and changes how the rest is: C0 and C1, separators of lines, soft
# hyphens and fillers, spaces without width, marks and overrides of direction (UAX #9), annotations, byte
# order marks, halves of surrogate pairs and what is no character at all.
_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff"
)
# What a text may hold, but not alone: blanks, the joiners that Persian and emoji need, variation selectors
# and the tags that make some flags.
_BLANK = (
    r"\x20\xa0\u034f\u1680\u17b4\u17b5\u180b-\u180d\u2000-\u200a\u200c\u200d\u202f\u205f\u2800\u3000"
    r"\ufe00-\ufe0f\U000e0000-\U000e0fff"
)
_HOLDS_UNSEEN = re.compile(f"[{_UNSEEN}]")
_HOLDS_SEEN = re.compile(f"[^{_UNSEEN}{_BLANK}]")


class Rule(Protocol):
    """Says what is wrong with a value."""

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value in plain English, None where nothing is."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of up to so many characters that is seen as it is."""

    longest: int
    may_be_empty: bool = False

    def fault(self, value: str) -> str | None:
        """Return what is wrong with a text."""
        if not value and not self.may_be_empty:
            return "Must not be empty."
        if len(value) > self.longest:
            return f"Must not be longer than {self.longest} characters."
        if _HOLDS_UNSEEN.search(value):
            return "Must not hold control characters, nor others that are not seen."
        if value and not _HOLDS_SEEN.search(value):
            return "Must not be blank."
        return None


@dataclass(frozen=True, slots=True)
class Form:
    """A text of one form, told by a regular expression of all of it."""

    pattern: str
    told: str

    def fault(self, value: str) -> str | None:
        """Return what is wrong with a text."""
        return None if re.fullmatch(self.pattern, value, re.ASCII) else self.told


@dataclass(frozen=True, slots=True)
class Number:
    """A number that somebody issued, written as text: with a check digit or the like."""

    holds: Callable[[str], bool]
    told: str

    def fault(self, value: str) -> str | None:
        """Return what is wrong with a text."""
        return None if self.holds(value) else self.told


@dataclass(frozen=True, slots=True)
class Span:
    """A finite number from one to another, both included."""

    least: float
    most: float

    def fault(self, value: float) -> str | None:
        """Return what is wrong with a number."""
        if math.isfinite(value) and self.least <= value <= self.most:
            return None
        return f"Must be a number from {self.least:g} to {self.most:g}."


def demand(rules: Mapping[str, Rule], members: Mapping[str, Any], *, told: str) -> None:
    """Raise ValidationFailed unless each member that has a rule obeys it; one that is None is not known."""
    known = ((name, rule) for name, rule in rules.items() if members.get(name) is not None)
    found = ((name, rule.fault(members[name])) for name, rule in known)
    faults = [Fault(detail, pointer=f"#/{name}") for name, detail in found if detail]
    if faults:
        raise ValidationFailed(told, faults=faults)
