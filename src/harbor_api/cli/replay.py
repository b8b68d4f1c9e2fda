"""harbor-api replay"""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harbor_api.cli.output import print_table
from harbor_api.cli.shared import ensure_tracker, open_database, read_settings
from harbor_api.domain.vessels import VesselDetails
from harbor_api.simulation import ais
from harbor_api.simulation.replay import Report, Ship, replay
from harbor_api.simulation.tracker import Credentials


@click.command(name="replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The running service.")
@click.option("--workers", type=click.IntRange(1, 64), default=8, show_default=True)
def command(file: Path, url: str, workers: int) -> None:
    """Send the AIS positions of FILE to a running service, signed, as the ships' own trackers.

    Reads CSV as the Danish Maritime Authority and MarineCadastre publish it. A ship whose MMSI is new
    gets a vessel and a tracker, so this needs the service's database and master key in the settings.
    """
    settings = read_settings()
    master_key = settings.require_master_key()
    with open_database(settings, master_key=master_key) as database, _progress() as bar:
        task = bar.add_task("", total=_count_rows(file))

        def register(ship: Ship) -> Credentials:
            details = VesselDetails(
                name=ship.name or f"MMSI {ship.mmsi}",
                imo=ship.imo,
                mmsi=ship.mmsi,
                call_sign=ship.call_sign,
                kind=ship.kind,
            )
            return ensure_tracker(database, master_key, details, label="ais")

        try:
            report = replay(
                file,
                register,
                url,
                workers=workers,
                progress=lambda report: bar.update(task, completed=report.rows_read - report.unsent),
            )
        except ais.UnknownLayoutError as error:
            sys.exit(f"harbor-api: {error}")
        bar.update(task, completed=report.rows_read - report.unsent)
    _print(report)
    if report.interrupted or report.failed or not report.adds_up:
        sys.exit(1)


def _progress() -> Progress:
    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _count_rows(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for _ in lines) - 1


def _print(report: Report) -> None:
    rows = [
        ("stored", report.stored),
        ("duplicate", report.duplicate),
        ("quarantined", report.quarantined),
        *((f"refused: {code}", count) for code, count in sorted(report.invalid.items())),
        *((f"skipped: {reason}", count) for reason, count in sorted(report.skipped.items())),
    ]
    rows += [("no answer", report.failed)] if report.failed else []
    rows += [("not sent: interrupted", report.unsent)] if report.unsent else []
    print_table(("verdict", "rows"), rows)
    total = sum(count for _, count in rows)
    sign = "=" if report.adds_up else "but"
    click.echo(f"{total} in all {sign} {report.rows_read} rows read, of {report.ships} ships")
