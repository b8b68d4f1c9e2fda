"""Where the time of one read goes, by the same stopwatch as that of a fix (`../layers.py`)."""

from itertools import islice

from tests.benchmarks import fleet, layers
from tests.benchmarks.reads import cases
from tests.benchmarks.reads.cases import Case
from tests.benchmarks.reads.seas import Sea, sea

# Where each layer begins. One that was moved is reported, so that the table cannot lie by omission.
LAYERS = {
    "request id and log": layers.LAYERS["request id and log"],
    "connections in and out of the pool": layers.LAYERS["connections in and out of the pool"],
    "key: look-up": ("web.known_keys:KnownKeys.look_up",),
    "limiter": layers.LAYERS["limiter"],
    "query": ("web.auth:refuse_unknown_query",),
    "fleet: statement and rows": ("repositories.fleet:Fleet.news",),
    "fleet: the view": ("live.fleet:LiveFleet.read",),
    "fleet: the answer and its tag": ("web.fleet:answer",),
    "as_of: statements": ("repositories.moments:Moments.vessels", "repositories.moments:Moments.fixes"),
    "as_of: places": ("services.moments:fleet_at",),
    "as_of: the answer and its tag": ("web.moments:answer",),
    "history: statement": ("repositories.history:History.page",),
    "track: statement": ("repositories.tracks:Tracks.columns",),
    "track: drawn": ("services.tracks:draw",),
    "track: GeoJSON": ("resources.tracks:as_geojson",),
    "tag": ("web.preconditions:tag_of",),
}


def measure(postgres: fleet.Postgres) -> dict[str, dict[str, float]]:
    """Return the median microseconds of each layer, by what is asked; only of what is answered."""
    measured: dict[str, dict[str, float]] = {}
    for vessels in (12, 1_000):
        with sea(postgres, vessels=vessels, fixes=20, every_s=30, peer=False) as filled:
            asked = [next(cases.fleet(filled)), next(cases.as_of(filled))]
            measured |= _of(filled, asked, 200_000 // (vessels + 400))
    with sea(postgres, vessels=10, fixes=10_000, every_s=8.64, peer=False) as filled:
        measured |= _of(filled, [*cases.history(filled), *cases.track(filled)], 100)
    return measured


def _of(filled: Sea, asked: list[Case], many: int) -> dict[str, dict[str, float]]:
    measured = {}
    for case in asked:
        requests = islice(case.requests(filled.keys[case.key]), many + many // 10)
        try:
            took = layers.spent(
                *(filled.urls[fleet.SERVICE], requests, LAYERS), status=200, warmup=many // 10
            )
        except RuntimeError:
            # Not there yet.
            continue
        measured[f"{case.job} {case.name}"] = took
    return measured
