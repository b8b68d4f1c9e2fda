"""Requests are counted by their route: no path, method or code that a caller makes up is a series."""

from prometheus_client import REGISTRY
from tests.support.checked_client import CheckedClient
from tests.support.factories import World


def _count(name: str = "harbor_http_requests_total", **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def _series(name: str) -> int:
    return sum(sample.name == name for family in REGISTRY.collect() for sample in family.samples)


def test_a_route_is_counted_as_its_template(client: CheckedClient, admin: dict[str, str]):
    labels = {"method": "GET", "route": "/api/v1/vessels/{vessel_id}"}
    before, timed = (
        _count(**labels, status="404"),
        _count("harbor_http_request_duration_seconds_count", **labels),
    )
    for number in (4711, 4712):
        assert client.get(f"/api/v1/vessels/{number}", headers=admin).status_code == 404
    assert _count(**labels, status="404") == before + 2
    assert _count("harbor_http_request_duration_seconds_count", **labels) == timed + 2


def test_what_callers_make_up_is_one_series(client: CheckedClient):
    def ask(times: int) -> None:
        for each in range(times):
            assert client.get(f"/nowhere/{each}").status_code == 404
            assert client.open(f"/nowhere/{each}", method=f"MADE{each}").status_code == 404

    ask(1)
    series = _series("harbor_http_requests_total")
    before = _count(method="other", route="unmatched", status="404")
    ask(5)
    assert _series("harbor_http_requests_total") == series
    assert _count(method="other", route="unmatched", status="404") == before + 5


def test_failed_authentications_and_verdicts_are_counted(client: CheckedClient, world: World):
    missing = _count("harbor_authentication_failures_total", code="key_missing")
    assert client.get("/api/v1/vessels").status_code == 401
    assert _count("harbor_authentication_failures_total", code="key_missing") == missing + 1
    tracker = world.tracker()
    counted = {
        ("stored", ""): {"recorded_at": "2026-01-02T03:04:05Z", "lat": 59.9, "lon": 10.7},
        ("duplicate", ""): {"recorded_at": "2026-01-02T03:04:05Z", "lat": 59.9, "lon": 10.7},
        ("quarantined", "null_island"): {"recorded_at": "2026-01-02T03:05:05Z", "lat": 0, "lon": 0},
        ("invalid", "validation_failed"): {"recorded_at": "2026-01-02T03:06:05Z", "lat": 100, "lon": 0},
        ("invalid", "no_fix"): {"recorded_at": "2026-01-02T03:06:05Z", "lat": 91, "lon": 181},
    }
    for (verdict, reason), fix in counted.items():
        before = _count("harbor_fixes_total", verdict=verdict, reason=reason)
        client.post("/api/v1/positions", **tracker.signed(fix))
        assert _count("harbor_fixes_total", verdict=verdict, reason=reason) == before + 1
    counts = [_count("harbor_fixes_total", verdict=verdict, reason=reason) for verdict, reason in counted]
    sized = _count("harbor_group_size_sum", queue="fixes")
    batch = {"fixes": [*counted.values(), {"recorded_at": "2026-01-02T04:06:05Z", "lat": 59.9, "lon": 10.7}]}
    client.post("/api/v1/positions/batch", **tracker.signed(batch, url="/api/v1/positions/batch"))
    after = [_count("harbor_fixes_total", verdict=verdict, reason=reason) for verdict, reason in counted]
    assert [new - old for new, old in zip(after, counts, strict=True)] == [1, 2, 1, 1, 1]
    # Those that were invalid were not in it.
    assert _count("harbor_group_size_sum", queue="fixes") == sized + 4
