"""What the rest of the service knows of ingest: who has signed, and what becomes of the fixes that came.

The way of a signed fix, from the view down to the commit and back:

    web/auth                     intake.signer(message): whoever claims to have signed the raw bytes
      Signer.is_known              a tracker that this process has met is not looked up
      Signer.look_up               any other is, and whoever is to be refused; in groups, too
    resources/positions          intake.accept(signer(), fixes): a Submission, each fix with its vessel
      Grouping.do                  waits until somebody does a group with it, or does one itself
        Database.transact            one transaction for the whole group:
          settling.settle              (fixes that came by the column: columns.believed in place of judge)
          BEGIN,
            admission, look            locks the vessels, reads the trackers' versions    -> TrackerChanged
            Positions.around           what is stored and held around the fixes, in the same round trip
            ArrivedNumbers.note        which numbers have come, and which are missing
            judge, Quarantine.hold     pure rules; what cannot be believed is kept aside with its reason
            Revisions                  where a jump was confirmed: what was stored and held beside it, anew
            Positions.addition         stores, and moves latest positions forward: kept for the last,
          COMMIT                       and sent with this, as it takes the lock of the committed order
      Receipt                      a verdict for each fix, in order; all of it is durable

A tracker that this process has met is not looked up again before its signature is checked: the transaction
that stores its fixes demands that it is still the same. Where it is not (TrackerChanged: rotated, reassigned
or disabled since) the group is done one by one, the tracker is looked up, the signature is checked anew, and
the fixes are handed over once more, here and nowhere else.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import orjson

from harbor_api.database import Database, UnitOfWork
from harbor_api.domain.authentication import SigningTracker, authenticate
from harbor_api.domain.columns import microseconds
from harbor_api.domain.errors import HarborError, Unavailable
from harbor_api.domain.judgement import LAST_RESET, Thresholds, is_clock_reset, told_apart
from harbor_api.domain.positions import Fix, Receipt, ReceivedFix, Submission, Verdict
from harbor_api.domain.received_columns import ByColumn, FixColumns, ReceivedColumns
from harbor_api.domain.signatures import Secrets, SignedMessage
from harbor_api.domain.trackers import Tracker, tracker_number
from harbor_api.ingest import settling
from harbor_api.ingest.known_trackers import KnownTrackers, TrackerChanged
from harbor_api.ingest.repeats import Repeats
from harbor_api.postgres.grouping import Grouping, Request, Result
from harbor_api.settings import Settings
from harbor_api.telemetry import metrics

# The order's lock is held for as long as a group is written: longer groups would make others wait.
_MOST_IN_GROUP = 250
# A transaction costs more than the moment that others are waited for, where several wait already: as with
# PostgreSQL's commit_delay.
_GATHERED_S = 0.001
# How often fixes are handed over anew whose tracker is changed meanwhile.
_ATTEMPTS = 3
# What counts fixes of a verdict and a reason, bound once.
_counted: dict[tuple[str, str | None], Callable[[float], None]] = {}


def thresholds_of(settings: Settings) -> Thresholds:
    """Return what an operator has set to judge fixes by."""
    thresholds = Thresholds(
        future_tolerance=timedelta(seconds=settings.future_tolerance_s),
        oldest=_days(settings.oldest_fix_days),
        max_speed_kn=settings.max_speed_kn,
        noise_m=settings.noise_m,
    )
    return thresholds.keeping(_days(settings.keep_positions_days))


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


class Signer:
    """Whoever has signed a message.

    A signature is checked once, be the tracker known, looked up or none at all, so that time does not tell
    which trackers there are; only one that was changed since it was met takes a second check.
    """

    def __init__(self, intake: "Intake", message: SignedMessage, *, explain: bool) -> None:
        self._intake = intake
        self._message = message
        self._explain = explain
        self._number = tracker_number(message.tracker_id)
        self._known: Tracker | None = None
        self._wrong: HarborError | None = None
        self._signing: SigningTracker | None = None

    @property
    def tracker(self) -> Tracker:
        """The tracker, as it was when its signature was checked."""
        return self._checked.tracker

    @property
    def secret_ends_at(self) -> datetime | None:
        """Until when the secret holds that it signed with, where that is its previous one."""
        return self._checked.secret_ends_at

    @property
    def _checked(self) -> SigningTracker:
        if self._signing is None:
            raise RuntimeError("the signature was not checked")
        return self._signing

    def is_known(self) -> bool:
        """Return whether the tracker has signed as far as this process knows."""
        self._known = None if self._number is None else self._intake.trackers.recall(self._number)
        if self._known is None:
            return False
        try:
            self._accept(self._known)
        except HarborError as error:
            self._wrong = error
        return self._wrong is None

    def look_up(self) -> None:
        """Look the tracker up, and raise what is wrong with it or with its signature."""
        tracker = None if self._number is None else self._intake.trackers.look_up(self._number)
        if tracker is None or tracker != self._known:
            self._accept(tracker)
        elif self._wrong is not None:
            raise self._wrong

    def _accept(self, tracker: Tracker | None) -> None:
        self._signing = authenticate(
            tracker, self._message, secrets=self._intake.secrets, explain=self._explain
        )


class Intake:
    """What takes in the fixes that this process receives, for all requests together."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Store in a database, judged and bounded as the settings say."""
        self.secrets = Secrets(settings.require_master_key())
        self._database = database
        self.thresholds = thresholds_of(settings)
        self._max_waiting = settings.max_waiting
        self._patience_s = settings.patience_s
        self._settlings = self._grouped("fixes", self._settle, gathered_s=_GATHERED_S)
        self._look_ups = self._grouped("trackers", self._find)
        self.trackers = KnownTrackers(self._look_ups.do)
        self.repeats = Repeats()
        # What was told to be stored may be lost with the server that stored it.
        database.when_in_doubt(self.repeats.forget)

    @property
    def queues(self) -> tuple[Grouping[Any, Any], ...]:
        """What is done in groups here."""
        return self._settlings, self._look_ups

    def signer(self, message: SignedMessage, *, explain: bool = False) -> Signer:
        """Return whoever claims to have signed a message; nothing of it is checked yet.

        With ``explain`` a tracker under test is told what it had to sign, where it signed wrong.
        """
        return Signer(self, message, explain=explain)

    def accept(
        self,
        signer: Signer,
        fixes: Sequence[tuple[Fix, Any]],
        *,
        numbers: Iterable[int | None],
        now: datetime,
    ) -> Receipt:
        """Store or hold the fixes of a signer, each with the JSON value that it came as.

        Durable once this returns. ``numbers`` are those that the tracker gave them, and others that were
        refused for good; None is passed over. Unavailable where PostgreSQL or the queue before
        it says so; SignatureInvalid and TrackerDisabled where the tracker was changed just now.
        """
        kept = tuple(each for each in numbers if each is not None)
        return self._handed_over(
            signer, lambda tracker: _submission(tracker, fixes, kept, now), weight=max(1, len(fixes))
        )

    def accept_columns(
        self, signer: Signer, fixes: FixColumns, raws: Sequence[Any], *, now: datetime
    ) -> Receipt:
        """Store or hold the fixes of a signer that came by the column; all else as with ``accept``."""
        if fixes.recorded_at.min() < microseconds(LAST_RESET):
            # Perhaps of a clock that was reset, which is to be told apart by what was sent.
            each = [*zip(fixes.one_by_one(), raws, strict=True)]
            return self.accept(signer, each, numbers=fixes.numbers(), now=now)
        return self._handed_over(
            signer, lambda tracker: _submission_by_column(tracker, fixes, raws, now), weight=len(fixes)
        )

    def _handed_over(
        self, signer: Signer, submission_of: Callable[[Tracker], Submission], *, weight: int
    ) -> Receipt:
        for _ in range(_ATTEMPTS):
            try:
                return self._settlings.do(submission_of(signer.tracker), weight=weight)
            except TrackerChanged:
                signer.look_up()
        raise Unavailable("The tracker is being changed")

    def rehearse(self, signer: Signer, fix: Fix, raw: Any, *, now: datetime) -> Receipt:
        """Return what would become of a fix; nothing is stored, and nobody waits for it."""
        for _ in range(_ATTEMPTS):
            submission = _submission(signer.tracker, [(fix, raw)], (), now)
            try:
                [receipt] = self._database.rehearse(partial(self._settled, submissions=[submission]))
            except TrackerChanged:
                signer.look_up()
            else:
                return receipt
        raise Unavailable("The tracker is being changed")

    def _settle(self, submissions: Sequence[Submission]) -> list[Receipt]:
        receipts = self._database.transact(partial(self._settled, submissions=submissions))
        _count(receipts)
        return receipts

    def _settled(self, unit_of_work: UnitOfWork, submissions: Sequence[Submission]) -> list[Receipt]:
        return settling.settle(unit_of_work, submissions, thresholds=self.thresholds)

    def _find(self, numbers: Sequence[int]) -> list[Tracker | None]:
        with self._database.autocommit() as unit_of_work:
            found = unit_of_work.trackers.find_all(numbers)
        return [found.get(number) for number in numbers]

    def _grouped(
        self, name: str, work: Callable[[Sequence[Request]], Sequence[Result]], *, gathered_s: float = 0
    ) -> Grouping[Request, Result]:
        return Grouping(
            work,
            name=name,
            most_in_group=_MOST_IN_GROUP,
            most_waiting=self._max_waiting,
            patience_s=self._patience_s,
            gathered_s=gathered_s,
        )


def _count(receipts: Iterable[Receipt]) -> None:
    verdicts = [verdict for each in receipts for verdict in each.verdicts]
    if len(verdicts) == 1:
        _counted_as(verdicts[0])(1)
        return
    # Nearly all are one of a few objects: to look at what each says would take ten times as long.
    by_id = dict(zip(map(id, verdicts), verdicts, strict=True))
    for identity, many in Counter(map(id, verdicts)).items():
        _counted_as(by_id[identity])(many)


def _counted_as(verdict: Verdict) -> Callable[[float], None]:
    """Return what counts fixes that became the same."""
    key = verdict.verdict, verdict.reason
    found = _counted.get(key)
    if found is None:
        found = _counted[key] = metrics.FIXES.labels(verdict.verdict, verdict.reason or "").inc
    return found


def _submission(
    tracker: Tracker, fixes: Sequence[tuple[Fix, Any]], numbers: tuple[int, ...], now: datetime
) -> Submission:
    return Submission(
        tracker_id=tracker.number,
        fixes=tuple(
            ReceivedFix(tracker.vessel_at(fix.recorded_at), tracker.number, now, _told_apart(fix, raw), raw)
            for fix, raw in fixes
        ),
        numbers=numbers,
        tracker_version=tracker.version,
    )


def _submission_by_column(
    tracker: Tracker, fixes: FixColumns, raws: Sequence[Any], now: datetime
) -> Submission:
    many = len(fixes)
    # As ``Tracker.vessel_at``: the first assignment has no beginning.
    starts = np.array([microseconds(each.starts_at) for each in tracker.assignments[1:]], np.int64)
    vessel_ids = np.array([each.vessel_id for each in tracker.assignments], np.int32)
    columns = ReceivedColumns(
        vessel_id=vessel_ids[np.searchsorted(starts, fixes.recorded_at, side="right")],
        tracker_id=np.full(many, tracker.number, np.int32),
        received_at=np.full(many, microseconds(now), np.int64),
        fixes=fixes,
    )
    return Submission(
        tracker_id=tracker.number,
        fixes=ByColumn(columns, raws),
        numbers=fixes.numbers(),
        tracker_version=tracker.version,
    )


def _told_apart(fix: Fix, raw: Any) -> Fix:
    """Return a fix under a time that names it alone, be its clock reset."""
    if not is_clock_reset(fix.recorded_at):
        return fix
    content = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS).decode()
    return fix._replace(recorded_at=told_apart(fix.recorded_at, content))
