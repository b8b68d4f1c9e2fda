"""How demo and replay make sure that a ship has a vessel and a tracker."""

from harbor_api.cli.actor import actor
from harbor_api.database import Database
from harbor_api.domain.entities import VesselDetails
from harbor_api.domain.signatures import derive_secret
from harbor_api.services import trackers, vessels
from harbor_api.simulation.tracker import Credentials


def ensure_tracker(
    database: Database, master_key: bytes, details: VesselDetails, *, label: str
) -> Credentials:
    """Return the credentials of the vessel's tracker with this label, registering what is missing.

    The vessel is recognised by its MMSI. Called again it changes nothing and returns the same.
    """
    with database.unit_of_work() as unit_of_work:
        vessel = vessels.ensure(unit_of_work, details, actor=actor())
        tracker = trackers.ensure(unit_of_work, vessel, label=label, actor=actor())
    return Credentials(tracker.id, derive_secret(master_key, tracker.id, tracker.generation))
