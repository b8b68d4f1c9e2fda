"""The fleet as bytes: each vessel rendered once, and joined with its neighbours.

A fragment is the JSON of one Feature. Those whose ids lie together make a block, so that where one vessel
moves the others of its block are joined anew, and no more. Which block a vessel is in hangs on its id alone:
so whoever makes the same answer, of a whole fleet or of what a key sees of it, gives it the same tag.

Nothing here changes once it is made. What is new makes a new picture, which shares with the one before all
blocks that have stayed.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from harbor_api.domain import gzip_blocks, tags
from harbor_api.domain.fleet_search import EVERYTHING, Bearing, Search
from harbor_api.domain.vessels import EPOCH, VesselOnMap, is_stale
from harbor_api.schemas.vessels import feature_text, measured

BLOCK = 128
# How many answers to different questions are kept of one picture, and in all of them how many times the
# vessels of that, or how many vessels of a small one: a thousand take up to 1.1 MB, and there may be hundreds
# of pictures. The answer that was asked for last is kept, however large.
_MOST_KEPT = 64
_TIMES_KEPT = 2
_FEW_KEPT = 1_000
_STALE, _FRESH = b'"stale":true', b'"stale":false'
_TICK = timedelta(microseconds=1)


class Fragment(NamedTuple):
    """A vessel as one kind of key sees it: rendered, with its digest, and what a search looks at.

    ``number`` is as with ``VesselOnMap``; ``lat`` and ``lon`` are as they are shown.
    """

    id: int
    text: bytes
    digest: bytes
    number: int
    name: str
    imo: str | None
    mmsi: str | None
    call_sign: str | None
    kind: str | None
    flag: str | None
    lat: float | None
    lon: float | None
    received_at: datetime | None
    retired_at: datetime | None
    stale: bool
    stale_at: datetime | None

    def at(self, moment: datetime, key: bytes) -> "Fragment":
        """Return the vessel as it is at a moment if nothing has come: stale, or not yet."""
        stale = is_stale(self.stale_at, moment)
        if stale is self.stale:
            return self
        # No text of a vessel holds the quotes, which JSON escapes in it.
        text = self.text.replace(*((_FRESH, _STALE) if stale else (_STALE, _FRESH)), 1)
        return self._replace(text=text, digest=tags.of_part(key, text), stale=stale)


def fragment_of(shown: VesselOnMap, key: bytes) -> Fragment:
    """Return a vessel rendered; the ``key`` is that of tags."""
    text = feature_text(shown)
    details, latest = shown.vessel.details, shown.latest
    return Fragment(
        shown.vessel.id,
        text,
        tags.of_part(key, text),
        shown.number,
        details.name,
        details.imo,
        details.mmsi,
        details.call_sign,
        details.kind,
        details.flag,
        None if latest is None else latest.motion.lat,
        None if latest is None else latest.motion.lon,
        None if latest is None else latest.received_at,
        shown.vessel.retired_at,
        shown.stale,
        shown.stale_at,
    )


class Block:
    """Vessels whose ids lie together, in order of id."""

    def __init__(self, fragments: Mapping[int, Fragment], key: bytes) -> None:
        self.fragments = fragments
        self._key = key

    @cached_property
    def text(self) -> bytes:
        """All of them, with commas between."""
        return b",".join([each.text for each in self.fragments.values()])

    @cached_property
    def digest(self) -> bytes:
        """The digest of them all."""
        return tags.of_part(self._key, b"".join([each.digest for each in self.fragments.values()]))

    @cached_property
    def facts(self) -> "Facts":
        """What an answer says of all of them."""
        return Facts.of(self.fragments.values())

    @cached_property
    def first(self) -> gzip_blocks.Block:
        """The text deflated, to stand first."""
        return gzip_blocks.deflate_block(self.text)

    @cached_property
    def following(self) -> gzip_blocks.Block:
        """The text deflated, with the comma that parts it from what stands before."""
        return gzip_blocks.deflate_block(b"," + self.text)


class Facts(NamedTuple):
    """What an answer says of all its vessels: the greatest number, and times.

    ``latest`` is the latest time of what has happened, ``next`` when the first that is not stale becomes so.
    """

    number: int = 0
    latest: datetime = EPOCH
    next: datetime | None = None

    @classmethod
    def of(cls, fragments: Iterable[Fragment]) -> "Facts":
        """Return what is so of some vessels."""
        number, latest, following = cls()
        for each in fragments:
            number = max(number, each.number)
            if each.received_at is not None and each.received_at > latest:
                latest = each.received_at
            if each.retired_at is not None and each.retired_at > latest:
                latest = each.retired_at
            if each.stale_at is None:
                continue
            if not each.stale:
                following = each.stale_at if following is None else min(following, each.stale_at)
            elif each.stale_at > latest:
                latest = each.stale_at
        return cls(number, latest, following)

    def __or__(self, other: "Facts") -> "Facts":
        times = [each for each in (self.next, other.next) if each is not None]
        return Facts(
            max(self.number, other.number), max(self.latest, other.latest), min(times) if times else None
        )

    @property
    def moment(self) -> datetime | None:
        """A moment at which all is as it is told: whose ``stale_at`` has come by then is stale, and no other.

        None where nothing has happened yet of what is shown. A clock that is ahead may have a fix received
        when others are stale already.
        """
        if self.latest == EPOCH:
            return None
        return self.latest if self.next is None else min(self.latest, self.next - _TICK)


Position = tuple[int, ...]
"""Where a page ends: the last id, behind the distance in decimetres where the nearest come first."""


class Found:
    """The vessels of one answer, as bytes.

    ``number`` is the greatest number among all that were found, on this page or another, ``moment`` one at
    which all that is shown is so, ``many`` how many are shown, ``digest`` that of the text, ``more`` where
    the next page goes on.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        key: bytes,
        *,
        facts: Facts | None = None,
        number: int | None = None,
        more: Position | None = None,
    ) -> None:
        if facts is None:
            facts = Facts()
            for each in blocks:
                facts |= each.facts
        self.number = facts.number if number is None else number
        self.moment = facts.moment
        self.digest = tags.of_part(key, b"".join([each.digest for each in blocks]))
        self.more = more
        self.many = sum(len(each.fragments) for each in blocks)
        # What answers with this text are in some coding, by whoever codes them: for as long as it holds. One
        # is coded at a time, and who wants the same waits for it.
        self.coded: dict[tuple[bytes, str], bytes] = {}
        self.coding = threading.Lock()
        self._blocks = blocks

    @cached_property
    def text(self) -> bytes:
        """All Features, with commas between."""
        return b",".join([each.text for each in self._blocks])

    def __iter__(self) -> Iterator[Fragment]:
        for block in self._blocks:
            yield from block.fragments.values()

    @cached_property
    def size(self) -> int:
        """How many bytes the text has."""
        return sum(len(each.text) for each in self._blocks) + max(0, len(self._blocks) - 1)

    @cached_property
    def deflated(self) -> gzip_blocks.Block:
        """The same, deflated block by block, of which those that have stayed are there already."""
        first, following = self._blocks[:1], self._blocks[1:]
        return gzip_blocks.join_blocks(
            [*(each.first for each in first), *(each.following for each in following)]
        )


@dataclass(frozen=True, eq=False)
class Granted:
    """The ids of the vessels that a key may see, in order; one key's are nobody else's."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """What is asked of a picture: which vessels, how many of them, and behind which place.

    ``granted`` are those that the key may see; None for all.
    """

    search: Search
    retired: bool
    limit: int
    behind: Position | None
    granted: Granted | None


class Picture:
    """The fleet as one kind of key sees it, in service and retired: never changed."""

    def __init__(
        self,
        key: bytes,
        in_service: Mapping[int, Block] | None = None,
        retired: Mapping[int, Block] | None = None,
    ) -> None:
        """Take blocks by their number, in order; the ``key`` is that of tags."""
        self.key = key
        self._blocks = {False: in_service or {}, True: retired or {}}
        self._found: dict[Question, Found] = {}

    def __len__(self) -> int:
        return sum(len(block.fragments) for side in self._blocks.values() for block in side.values())

    def __iter__(self) -> Iterator[Fragment]:
        for side in self._blocks.values():
            for block in side.values():
                yield from block.fragments.values()

    def get(self, vessel_id: int) -> Fragment | None:
        """Return a vessel, in service or retired."""
        for side in self._blocks.values():
            block = side.get(vessel_id // BLOCK)
            if block is not None and vessel_id in block.fragments:
                return block.fragments[vessel_id]
        return None

    def with_these(self, fragments: Iterable[Fragment]) -> "Picture":
        """Return the picture in which some vessels are like this; itself where they were already."""
        touched: dict[tuple[bool, int], dict[int, Fragment]] = {}
        for each in fragments:
            old = self.get(each.id)
            if old is not None and old[:4] == each[:4]:
                continue
            is_retired, number = each.retired_at is not None, each.id // BLOCK
            if old is not None and (old.retired_at is not None) is not is_retired:
                del self._touch(touched, not is_retired, number)[each.id]
            self._touch(touched, is_retired, number)[each.id] = each
        if not touched:
            return self
        sides = {side: dict(blocks) for side, blocks in self._blocks.items()}
        for (side, number), held in touched.items():
            if held:
                sides[side][number] = Block(dict(sorted(held.items())), self.key)
            else:
                sides[side].pop(number, None)
        return Picture(self.key, *(dict(sorted(sides[side].items())) for side in (False, True)))

    def _touch(
        self, touched: dict[tuple[bool, int], dict[int, Fragment]], side: bool, number: int
    ) -> dict[int, Fragment]:
        if (side, number) not in touched:
            block = self._blocks[side].get(number)
            touched[side, number] = {} if block is None else dict(block.fragments)
        return touched[side, number]

    def find(self, question: Question) -> Found:
        """Return the vessels that somebody asks for; who asks the same of this picture again has it made."""
        found = self._found.pop(question, None)
        if found is None:
            found = self._find(question)
            most = max(_FEW_KEPT, _TIMES_KEPT * len(self))
            kept = sum(each.many for each in self._found.values()) + found.many
            # Those that nobody has asked for longest go first.
            while self._found and (kept > most or len(self._found) >= _MOST_KEPT):
                kept -= self._found.pop(next(iter(self._found))).many
        self._found[question] = found
        return found

    def _find(self, question: Question) -> Found:
        blocks = self._blocks[question.retired]
        if question.granted is None and question.search == EVERYTHING and question.behind is None:
            whole = list(blocks.values())
            if sum(len(each.fragments) for each in whole) <= question.limit:
                return Found(whole, self.key)
        search = question.search
        candidates = self._candidates(question, blocks)
        kept = [(one, None) for one in candidates] if search == EVERYTHING else search.among(candidates)
        number = max((each.number for each, _ in kept), default=0)
        if search.near is None:
            placed: list[tuple[Position, Fragment]] = [((each.id,), each) for each, _ in kept]
        else:
            placed = [
                ((round(seen.distance_m * 10), each.id), self._measured(each, seen))
                for each, seen in kept
                if seen is not None
            ]
        if question.behind is not None:
            placed = [each for each in placed if each[0] > question.behind]
        shown = placed[: question.limit]
        more = shown[-1][0] if len(placed) > len(shown) else None
        runs = groupby((each for _, each in shown), key=lambda each: each.id // BLOCK)
        made = [Block({each.id: each for each in run}, self.key) for _, run in runs]
        return Found(made, self.key, number=number, more=more)

    @staticmethod
    def _candidates(question: Question, blocks: Mapping[int, Block]) -> Iterator[Fragment]:
        ids: Iterable[int] | None = None if question.granted is None else question.granted.ids
        if question.search.vessel_ids is not None:
            # The fewer of both are looked up; whether the others hold is asked of each.
            wanted = question.search.vessel_ids
            ids = sorted(wanted if ids is None else wanted.intersection(ids))
        if ids is None:
            for block in blocks.values():
                yield from block.fragments.values()
            return
        for number, run in groupby(ids, key=lambda each: each // BLOCK):
            if number in blocks:
                held = blocks[number].fragments
                yield from (held[each] for each in run if each in held)

    def _measured(self, fragment: Fragment, seen: Bearing) -> Fragment:
        text = measured(fragment.text, seen)
        return fragment._replace(text=text, digest=tags.of_part(self.key, text))
