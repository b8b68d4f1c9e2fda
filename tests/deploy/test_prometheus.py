"""What is under deploy/ for Prometheus and Grafana: it is sound, and asks for nothing that nobody tells."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tests.conftest import NewDatabase
from tests.support.checked_client import CheckedClient
from tests.support.factories import FIX, World
from tests.support.live_service import LiveService, free_port
from tests.support.scraped import awaited, value
from tests.support.signed_posts import Connection, register_fleet
from tests.support.urls import POSITIONS

from harbor_api.database import Database
from harbor_api.server.database_figures import DatabaseFigures
from harbor_api.server.exporter import Build

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "harbor-api.json"
# What is told where there is a replica: tests/system/test_replica.py looks for these.
_OF_REPLICA = {"harbor_replica_up", "harbor_replica_lag_seconds"}
_END = re.compile(r"_(?:total|info|bucket|sum|count)$")
_NAME = re.compile(r"\bharbor_[a-z_]+")
# What a family's name ends with in its samples, by its type.
_ENDS = {
    "counter": ("_total",),
    "gauge": ("",),
    "info": ("_info",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gaugehistogram": ("_bucket",),
}

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: apt install prometheus")


def _promtool(*arguments: str | Path) -> None:
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def _queries() -> Iterator[str]:
    for panel in _panels():
        for target in panel.get("targets", ()):
            yield target["expr"]


def _told(database: Database) -> set[str]:
    families = [
        *(each for each in REGISTRY.collect() if each.name.startswith("harbor_")),
        *Build().collect(),
        *DatabaseFigures(database).collect(),
    ]
    return {family.name + end for family in families for end in _ENDS[family.type]}


@needs_promtool
def test_configuration_and_rules_are_sound():
    _promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    _promtool("check", "rules", RULES)


@needs_promtool
def test_each_alert_fires_and_resolves():
    _promtool("test", "rules", RULES.parent / "alerts_test.yml")


def test_each_alert_has_its_test_and_its_section_of_the_runbook():
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert len(alerts) == len(set(alerts)) > 20
    assert re.findall(r"  - name: (\w+)", (RULES.parent / "alerts_test.yml").read_text()) == alerts
    links = re.findall(r"runbook: (\S+)", RULES.read_text())
    assert links == [f"deploy/runbook.md#{each.lower()}" for each in alerts]
    headings = re.findall(r"^## (Harbor\w+)$", (DEPLOY / "runbook.md").read_text(), re.MULTILINE)
    assert headings == alerts
    for word in ("expr", "for", "severity", "summary"):
        assert len(re.findall(rf"^ +{word}: \S", RULES.read_text(), re.MULTILINE)) == len(alerts)


@needs_promtool
def test_each_query_of_the_dashboard_is_one(tmp_path: Path):
    """As a rule: what is a rule is a query."""
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(_queries())]
    file = tmp_path / "queries.yml"
    # JSON is YAML.
    text = json.dumps({"groups": [{"name": "queries", "rules": rules}]})
    file.write_text(text.replace("[$__rate_interval]", "[5m]"))
    _promtool("check", "rules", file)


def test_rules_and_dashboard_ask_for_what_is_told(client: CheckedClient, world: World, database: Database):
    # Or there would be no age of it, nor of the floor.
    assert client.post(POSITIONS, **world.tracker().signed(FIX)).status_code == 201
    with database.unit_of_work() as unit_of_work:
        unit_of_work.feed_floor.lift(1, unit_of_work.order.standing().moment)
    told = _told(database)
    asked = {name for text in (RULES.read_text(), *_queries()) for name in _NAME.findall(text)}
    assert asked - told == _OF_REPLICA, "the name of a metric is wrong"
    # What nobody looks at is not worth what it costs.
    families = {_END.sub("", name) for name in told}
    assert not families - {_END.sub("", name) for name in asked}


def test_a_running_service_tells_them(new_database: NewDatabase, tmp_path: Path):
    port = free_port()
    service = LiveService(new_database(), log=tmp_path / "log", metrics_bind=f"127.0.0.1:{port}")
    with service:
        register_fleet(service.world.database, 1)
        with Connection(service.port) as connection:
            assert connection.post(POSITIONS, 1, FIX)[0] == 201
        samples = awaited(port, lambda found: value(found, "harbor_feed_head") == 2)
    told = {_END.sub("", name) for name, _ in samples}
    asked = {_END.sub("", name) for text in (RULES.read_text(), *_queries()) for name in _NAME.findall(text)}
    # These come with the first of what they count.
    assert asked - told - _OF_REPLICA <= {
        "harbor_authentication_failures",
        "harbor_connections_cut",
        "harbor_consumer_behind_changes",
        "harbor_consumer_behind_seconds",
        "harbor_feed_floor_age_seconds",
        "harbor_group_refused",
        "harbor_http_refused",
        "harbor_replica_reads",
        "harbor_streams_ended",
    }


def test_panels_stand_side_by_side_and_name_their_source():
    panels = _panels()
    assert len({each["id"] for each in panels}) == len(panels)
    places = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & places
        places |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
