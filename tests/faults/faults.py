"""What may be done to the service, and what was promised for each case."""

from tests.faults.of_clients import OF_CLIENTS
from tests.faults.of_clock import OF_CLOCK
from tests.faults.of_database import OF_DATABASE
from tests.faults.of_redis import OF_REDIS
from tests.faults.of_service import OF_SERVICE
from tests.faults.of_storage import OF_STORAGE

FAULTS = {
    each.name: each for each in (*OF_SERVICE, *OF_DATABASE, *OF_STORAGE, *OF_REDIS, *OF_CLIENTS, *OF_CLOCK)
}
