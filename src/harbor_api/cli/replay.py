"""harbor-api replay"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from harbor_api.cli.output import print_table
from harbor_api.cli.shared import ensure_trackers, open_database, read_settings
from harbor_api.database import Database
from harbor_api.domain.errors import Conflict, ValidationFailed
from harbor_api.domain.signatures import derive_secret
from harbor_api.domain.vessels import VesselDetails
from harbor_api.services import vessels
from harbor_api.simulation import ais, archives, tracker
from harbor_api.simulation.replay import Noted, Rejects, Report, examine, replay
from harbor_api.simulation.tracker import Credentials

_LABEL = "ais"
# Trackers that are looked at to find one whose secret tells whether our key is the service's.
_TRIED = 100


def _address(ctx: click.Context, param: click.Parameter, value: str) -> str:  # noqa: ARG001 - click's signature
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as error:
        raise click.BadParameter(str(error)) from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise click.BadParameter(f"{value!r} is no address such as http://127.0.0.1:8000")
    return value


@click.command(name="replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=False, allow_dash=True))
@click.option(
    "--url",
    default="http://127.0.0.1:8000",
    show_default=True,
    callback=_address,
    help="The running service.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Batches that are under way at a time.",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write refused rows to this CSV file, with line and reason, to mend and send them again.",
)
@click.option("--dry-run", is_flag=True, help="Read and judge the file only: nothing is registered or sent.")
def command(file: str, url: str, workers: int, rejects: Path | None, dry_run: bool) -> None:
    """Send the AIS positions of FILE to a running service, signed, as the ships' own trackers.

    Reads CSV as the Danish Maritime Authority and MarineCadastre publish it, plain or packed with gzip, zip
    or zstandard, from a file, a named pipe or, as -, the standard input. A ship whose MMSI is new gets a
    vessel and a tracker, so this needs the service's database and master key in the settings.

    Sent again, the rows are duplicates. Ends with 1 where rows have no verdict: the service went away or
    refused our key, the file is damaged, or somebody pressed Ctrl-C.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        # Whoever ends it by a signal wants to know how far it came, as with Ctrl-C.
        usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
        stack.callback(signal.signal, signal.SIGTERM, usual)
        try:
            source = stack.enter_context(archives.opened(file))
            reader = ais.Reader(source.lines(ais.LONGEST_LINE))
        except (archives.UnreadableError, ais.UnknownLayoutError) as error:
            sys.exit(f"harbor-api: {file!r} cannot be read: {error}")
        kept = None if rejects is None else _rejects(stack, rejects, file, reader)
        report = examine(reader, rejects=kept) if dry_run else _send(reader, source, url, workers, kept)
    _print(report, dry_run=dry_run, seconds=time.monotonic() - began)
    if report.stopped is not None:
        sys.exit(f"harbor-api: {file!r} was not sent to its end: {report.stopped}")
    if not dry_run and not report.is_complete:
        sys.exit(1)


def _send(
    reader: ais.Reader, source: archives.Source, url: str, workers: int, rejects: Rejects | None
) -> Report:
    settings = read_settings()
    master_key = settings.require_master_key()
    with open_database(settings, master_key=master_key) as database:
        try:
            tracker.demand_ready(url)
            refusal = _refusal(database, master_key, url)
        except tracker.TrackerError as error:
            sys.exit(f"harbor-api: {error}")
        if refusal is not None:
            sys.exit(
                f"harbor-api: the service at {url} refuses our signatures ({refusal}), so nothing was sent: "
                "HARBOR_TRACKER_MASTER_KEY and HARBOR_DATABASE_URL must be the service's own"
            )
        with _progress(source) as progress:
            return replay(
                reader,
                lambda ships: _register(database, master_key, ships),
                url,
                workers=workers,
                rejects=rejects,
                progress=progress,
            )


def _refusal(database: Database, master_key: bytes, url: str) -> str | None:
    """Return the code for which the service refuses a tracker that is known already, None if it does not."""
    with database.autocommit() as unit_of_work:
        known = unit_of_work.trackers.search(limit=_TRIED)
    tried = next((each for each in known if each.disabled_at is None), None)
    if tried is None:
        # The first batch tells.
        return None
    secret = derive_secret(master_key, tried.id, tried.generation)
    with tracker.TrackerClient(url, tried.id, secret) as client:
        return client.refusal()


def _register(database: Database, master_key: bytes, ships: Sequence[ais.Ship]) -> list[Credentials]:
    fleet = [
        VesselDetails(
            name=ship.name or vessels.unnamed(ship.mmsi),
            imo=ship.imo,
            mmsi=ship.mmsi,
            call_sign=ship.call_sign,
            kind=ship.kind,
            length_m=ship.length_m,
            beam_m=ship.beam_m,
            draught_m=ship.draught_m,
        )
        for ship in ships
    ]
    try:
        return ensure_trackers(database, master_key, fleet, label=_LABEL)
    except (Conflict, ValidationFailed):
        return [_register_alone(database, master_key, details) for details in fleet]


def _register_alone(database: Database, master_key: bytes, details: VesselDetails) -> Credentials:
    """Register one ship; where what she says of herself is refused, by her MMSI alone."""
    try:
        return ensure_trackers(database, master_key, [details], label=_LABEL)[0]
    except (Conflict, ValidationFailed):
        # Another replay may have registered her in this moment, or an operator may have entered what our
        # rules refuse by now.
        assert details.mmsi is not None
        plain = VesselDetails(name=vessels.unnamed(details.mmsi), mmsi=details.mmsi)
        return ensure_trackers(database, master_key, [plain], label=_LABEL)[0]


def _rejects(stack: ExitStack, path: Path, source: str, reader: ais.Reader) -> Rejects:
    """Create the file of the refused rows; what is read is not overwritten."""
    if source != "-" and path.exists() and path.samefile(source):
        raise click.BadParameter(f"{str(path)!r} is the file that is read", param_hint="--rejects")
    try:
        # Without a buffer: what was refused stands there also after a kill.
        rejects = Rejects(stack.enter_context(path.open("wb", buffering=0)), reader)
        if rejects.error is not None:
            raise rejects.error
    except OSError as error:
        sys.exit(f"harbor-api: {str(path)!r} cannot be written: {error.strerror}")
    return rejects


@contextmanager
def _progress(source: archives.Source) -> Iterator[Callable[[Report], None]]:
    columns = (
        TextColumn("{task.fields[rows]} rows"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=source.size, rows=0)

        def show(report: Report) -> None:
            # What was read and waits to be sent is not done.
            done = 1 - report.waiting / max(report.rows_read, 1)
            bar.update(task, completed=(source.position or 0) * done, rows=report.rows_read - report.waiting)

        yield show


def _print(report: Report, *, dry_run: bool, seconds: float) -> None:
    rows: list[tuple[object, ...]] = []
    if not dry_run:
        rows += [("stored", report.stored), ("duplicate", report.duplicate)]
        rows += _reasons("quarantined", report.quarantined)
    rows += [
        (f"refused: {code}", noted.count, member, _lines(noted))
        for (code, member), noted in sorted(report.refused.items(), key=lambda item: str(item[0]))
    ]
    rows += _reasons("skipped", report.skipped)
    rows += [
        ("would be sent", noted.count) if reason == "dry_run" else _reason("not sent", reason, noted)
        for reason, noted in sorted(report.not_sent.items())
    ]
    if report.waiting:
        rows.append(("not sent: interrupted", report.waiting))
    print_table(("verdict", "rows", "member", "first lines"), (_whole(row) for row in rows))
    if report.left_out:
        click.echo("Sent without a measure that is out of range or no number:")
        print_table(
            ("measure", "rows", "first lines"),
            ((member, noted.count, _lines(noted)) for member, noted in sorted(report.left_out.items())),
        )
    total = sum(row[1] for row in rows if isinstance(row[1], int))
    sign = "=" if report.adds_up else "but"
    speed = f"in {seconds:.1f} s ({report.rows_read / max(seconds, 0.001):,.0f} rows a second)"
    click.echo(f"{total} in all {sign} {report.rows_read} rows read, of {report.ships} ships, {speed}")
    if dry_run:
        click.echo(
            "Nothing was registered or sent. What is a duplicate, or would be held in quarantine, only the "
            "service can tell."
        )


def _whole(row: tuple[object, ...]) -> tuple[object, ...]:
    return (*row, *("",) * (4 - len(row)))


def _reasons(verdict: str, notes: Mapping[str, Noted]) -> list[tuple[object, ...]]:
    return [_reason(verdict, reason, noted) for reason, noted in sorted(notes.items())]


def _reason(verdict: str, reason: str, noted: Noted) -> tuple[object, ...]:
    return (f"{verdict}: {reason}", noted.count, "", _lines(noted))


def _lines(noted: Noted) -> str:
    told = ", ".join(map(str, noted.lines))
    return told + ", ..." if noted.lines and noted.count > len(noted.lines) else told
