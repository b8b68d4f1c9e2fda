"""What commands share: the settings, the database that they say, and who runs the command."""

import getpass
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from harbor_api.cli.output import printable
from harbor_api.database import Database
from harbor_api.domain.audit import Actor
from harbor_api.domain.signatures import derive_secret
from harbor_api.domain.times import from_rfc3339
from harbor_api.domain.trackers import tracker_number
from harbor_api.domain.vessels import VesselDetails
from harbor_api.postgres import embedded
from harbor_api.services import master_key as master_keys
from harbor_api.services import trackers, vessels
from harbor_api.settings import Settings
from harbor_api.simulation.tracker import Credentials


class TrackerId(click.ParamType[int]):
    """A tracker's id such as trk_0001, as the number in it."""

    name = "tracker"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = tracker_number(str(value))
        if number is None:
            self.fail(f"{value} is not a tracker's id, such as trk_0001", param, ctx)
        return number


class Time(click.ParamType[datetime]):
    """An RFC 3339 date-time with an offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        moment = from_rfc3339(str(value))
        if moment is None:
            self.fail(f"{value} is not a time with an offset, such as 2026-01-02T03:04:05Z", param, ctx)
        return moment


def read_settings() -> Settings:
    """Read the settings; where no database is set, start or join the embedded one and fill it in."""
    settings = Settings.from_environ(os.environ)
    if settings.database_url is None:
        settings = replace(settings, database_url=embedded.start(settings.data_dir))
    return settings


@contextmanager
def open_database(
    settings: Settings | None = None, *, is_to_migrate: bool = False, master_key: bytes | None = None
) -> Iterator[Database]:
    """Open the database of the settings for one command.

    Unavailable where it does not answer, MigrationsPending where its schema is not the one of this release,
    and WrongMasterKey where its trackers have their secrets from another key than the one that is given.
    """
    settings = settings or read_settings()
    assert settings.database_url is not None
    database = Database(
        settings.database_url,
        timeout_ms=settings.database_timeout_ms,
        is_pooled=settings.is_pooled,
        direct_url=settings.database_direct_url,
    )
    try:
        if not is_to_migrate:
            database.demand_schema()
        if master_key is not None:
            with database.unit_of_work() as unit_of_work:
                master_keys.demand(unit_of_work, master_key)
        yield database
    finally:
        database.dispose()


def actor() -> Actor:
    """Return the person who runs the command, as the operating system names them."""
    try:
        # Whatever LOGNAME and its kind hold.
        return Actor(name=printable(f"cli: {getpass.getuser()}"))
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return Actor(name="cli")


def ensure_tracker(
    database: Database, master_key: bytes, details: VesselDetails, *, label: str
) -> Credentials:
    """Return the credentials of the vessel's tracker with this label, registering what is missing.

    The vessel is recognised by its MMSI. Called again it returns the same, and changes nothing but what was
    not known of the vessel.
    """
    [credentials] = ensure_trackers(database, master_key, [details], label=label)
    return credentials


def ensure_trackers(
    database: Database, master_key: bytes, fleet: Iterable[VesselDetails], *, label: str
) -> list[Credentials]:
    """Do the same for several vessels, all or none."""
    with database.unit_of_work() as unit_of_work:
        master_keys.demand(unit_of_work, master_key)
        ensured = [
            trackers.ensure(
                unit_of_work, vessels.ensure(unit_of_work, details, actor=actor()), label=label, actor=actor()
            )
            for details in fleet
        ]
    return [
        Credentials(tracker.id, derive_secret(master_key, tracker.id, tracker.generation))
        for tracker in ensured
    ]
