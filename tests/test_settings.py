"""Settings: what is malformed stops the start with one clear line."""

import base64
import json
import os
from dataclasses import fields
from pathlib import Path

import pytest
from tests.cli.commands import run, told

from harbor_api.settings import MASK, Settings, SettingsError, masked_url

# Out of range or malformed, by the setting; what is said repeats none of it. A setting without a row fails.
BAD = {
    "database_url": [
        "",
        "mysql://x",
        "postgresql:x",
        "postgresql://u:tr0ub/4dor@db/h",
        "postgresql://u:12/4dor@db/h",
        "postgresql://u:tr0ub@4dor@db/h",
        "postgresql://u:tr0ub?4dor@db/h",
        "postgresql://u:12?a=4dor@db/h",
        "postgresql://u:tr0ub#4dor@db/h",
        "postgresql://u:tr0ub%4dor@db/h%",
        "postgresql://u:100%@db/h",
        "postgresql://u:tr0ub%ff@db/h",
        "postgresql://u:tr0ub%00@db/h",
        "postgresql://u:tr0 ub@db/h",
        "postgresql://u:tr0ub[4dor@db/h",
        "postgresql://u:tr0ub\\u00e9\udcff@db/h",
        "postgresql://u@db:99999/h",
        "postgresql://u@db:0/h",
        "postgresql://u@db:port/h",
        "postgresql://u@one:1,two:2/h",
        "postgresql://u@db/h?sslmode",
        "postgresql://u@db/h?port=x",
        "postgresql://u@db/h/i",
        "postgresql://tr0ub@",
        "postgresql://" + "u" * 5_000,
    ],
    "database_pooler": ["", "session", "Transaction", "statement"],
    "database_direct_url": ["", "mysql://x", "postgresql://u:tr0ub/4dor@db/h"],
    "database_replica_url": ["", "mysql://x", "postgresql://u:tr0ub/4dor@db/h"],
    "data_dir": ["", " ", "~nobody-of-this-name/x", "a\nb", "/tmp/\udcff", "/" + "x" * 5_000],
    "tracker_master_key": ["", "short", "AAAA", "A" * 44, base64.b64encode(b"x" * 33).decode(), "é"],
    "redis_url": [
        "",
        "http://x",
        "redis://:tr0ub/4dor@h/0",
        "redis://:tr0ub@4dor@h/0",
        "redis://h:99999/0",
        "redis://h/zero",
        "redis://h/99999",
    ],
    "bind": [
        "",
        "8000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "127.0.0.1:٣",
        ":8000",
        "::1:8000",
        "[::1:8000",
        "[:::1]:8000",
        "a b:8000",
        "unix:",
        "unix:relative.sock",
        "unix:/" + "x" * 200,
        "http://127.0.0.1:8000",
    ],
    "traces_url": ["", "collector:4318", "ftp://collector/v1/traces", "http://collector:0/", "http://a b/"],
    "traces_percent": ["0", "101", "half"],
    "sentry_dsn": ["", "https://sentry.example.org/1", "https://tr0ub@sentry.example.org/", "4dor"],
    "metrics_bind": [
        "",
        "9464",
        "127.0.0.1:0",
        "unix:/run/metrics.sock",
        "::1:9464",
        "a b:9464",
        "http://a:1",
    ],
    "workers": ["", "0", "65", "two", "٣", "-1", "1.5", "1e1", "+1", "1_0", "9" * 30],
    "database_pool": ["0", "101"],
    "database_timeout_ms": ["99", "60001"],
    "key_requests_per_minute": ["0", "1000001"],
    "tracker_requests_per_minute": ["0", "1000001"],
    "failures_per_minute": ["0", "1000001"],
    "stale_after_s": ["0", "31536001"],
    "future_tolerance_s": ["-1", "86401"],
    "oldest_fix_days": ["-1", "36501"],
    "keep_positions_days": ["-1", "36501"],
    "keep_feed_days": ["-1", "36501"],
    "keep_quarantine_days": ["-1", "36501"],
    "keep_audit_days": ["-1", "36501"],
    "max_speed_kn": ["0", "1001"],
    "streams": ["-1", "50001"],
    "streams_per_key": ["0", "50001"],
    "stream_s": ["0", "86401"],
    "noise_m": ["-1", "100001"],
    "max_waiting": ["0", "1000001"],
    "trusted_proxies": ["-1", "9"],
    "cors_origins": [
        "",
        "*",
        "https://a.example/path",
        "https://a.example,",
        "null",
        "https://a:99999",
        "https://a:b",
        "https://u@a",
        "https://[::1",
        "https://",
        "ftp://a",
    ],
    "support_contact": ["", "x"],
    "terms_of_service": ["", "x", "http://a"],
    "security_contact": ["", "x", "mailto:x", "http://a", "mailto:a@b c"],
    "log_level": ["", "loud", "10"],
}
GOOD = [
    ("database_url", "postgresql://u:p%2Fw%40%25@[::1]:5432/h?sslmode=require"),
    ("database_url", "postgres://u:a:b@db"),
    ("database_url", "postgresql:///h"),
    ("database_url", "postgresql://postgres:@/h?host=/tmp/a%20b"),
    ("database_url", "postgresql://u@/h?host=one:5432&host=two:5432"),
    ("redis_url", "rediss://:p@h:6380/15"),
    ("redis_url", "unix:///run/redis.sock?db=1"),
    ("bind", "[::]:443"),
    ("bind", "localhost:65535"),
    ("bind", "unix:/run/harbor api.sock"),
    ("cors_origins", "http://[::1]:3000, https://map.example.org"),
    ("data_dir", "/tmp/a & b (c)'d"),
]


def test_nothing_set_is_a_development_machine():
    settings = Settings.from_environ({"PATH": "/bin"})
    assert (settings.database_url, settings.redis_url, settings.workers) == (None, None, 1)


def test_every_setting_is_tried():
    assert BAD.keys() == {each.name for each in fields(Settings)}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_a_malformed_setting_is_named_in_one_line(name, value):
    variable = f"HARBOR_{name.upper()}"
    with pytest.raises(SettingsError, match=f"^{variable} must be ") as raised:
        Settings.from_environ({variable: value})
    assert str(raised.value).isprintable()
    for part in ("tr0ub", "4dor"):
        assert part not in str(raised.value)


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_what_is_well_formed_is_taken(name, value):
    assert getattr(Settings.from_environ({f"HARBOR_{name.upper()}": value}), name)


SECRETS = [each.name for each in fields(Settings) if each.metadata["is_secret"]]
HELD = {
    "database_url": "postgresql://u:hunter2@h/d",
    "tracker_master_key": base64.b64encode(b"k" * 32).decode(),
    "redis_url": "redis://:hunter2@h/0",
}


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_may_stand_in_a_file(name, end, tmp_path: Path):
    (tmp_path / "secret").write_text(HELD[name] + end)
    told = Settings.from_environ({f"HARBOR_{name.upper()}_FILE": str(tmp_path / "secret")})
    assert getattr(told, name) == getattr(Settings.from_environ({f"HARBOR_{name.upper()}": HELD[name]}), name)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("held", [b"", b"tr0ub\n4dor", b"tr0ub\xff", b"tr0ub4dor" * 1_000, b"tr0ub4dor"])
def test_a_file_that_holds_no_such_secret_is_named_in_one_line(name, held, tmp_path: Path):
    (tmp_path / "secret").write_bytes(held)
    variable = f"HARBOR_{name.upper()}_FILE"
    with pytest.raises(SettingsError, match=f"^{variable} must hold ") as raised:
        Settings.from_environ({variable: str(tmp_path / "secret")})
    assert str(raised.value).isprintable()
    assert "tr0ub" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{folder}/gone", "No such file"),
        ("{folder}", "Is a directory"),
        ("a\0b", "must be the path of a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(path, reason, tmp_path: Path):
    with pytest.raises(SettingsError, match=f"^HARBOR_REDIS_URL_FILE .*{reason}") as raised:
        Settings.from_environ({"HARBOR_REDIS_URL_FILE": path.format(folder=tmp_path)})
    assert str(raised.value).isprintable()


def test_a_secret_in_a_file_and_in_a_variable_is_one_too_many(tmp_path: Path):
    (tmp_path / "secret").write_text(HELD["redis_url"])
    both = [("HARBOR_REDIS_URL", HELD["redis_url"]), ("HARBOR_REDIS_URL_FILE", str(tmp_path / "secret"))]
    for environ in (dict(both), dict(reversed(both))):
        with pytest.raises(SettingsError, match=r"^HARBOR_REDIS_URL and HARBOR_REDIS_URL_FILE are both set"):
            Settings.from_environ(environ)


def test_only_a_secret_may_stand_in_a_file():
    with pytest.raises(SettingsError, match=r"HARBOR_WORKERS_FILE is not a setting .* HARBOR_WORKERS"):
        Settings.from_environ({"HARBOR_WORKERS_FILE": "/x"})


def test_a_misspelt_setting_is_noticed():
    with pytest.raises(SettingsError, match="did you mean HARBOR_WORKERS"):
        Settings.from_environ({"HARBOR_WORKER": "2"})
    with pytest.raises(SettingsError, match=r"HARBOR_TYPO is not a setting of Harbor API$"):
        Settings.from_environ({"HARBOR_TYPO": "2"})
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ({"HARBOR_\x1b[31m\udcff": "2"})
    assert str(raised.value).isprintable()


def test_a_folder_that_is_gone_is_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match="HARBOR_DATA_DIR"):
        Settings.from_environ({"HARBOR_DATA_DIR": "x"})


def test_secrets_are_not_in_the_repr():
    settings = Settings(database_url="postgresql://u:hunter2@h/d", tracker_master_key=b"k" * 32)
    assert "hunter2" not in repr(settings)
    assert "kkk" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h:5432/d", f"postgresql://u:{MASK}@h:5432/d"),
        ("postgresql://u:hun:ter2@h/d", f"postgresql://u:{MASK}@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?host=/tmp/x&password=hunter2", f"postgresql:///d?host=/tmp/x&password={MASK}"),
        ("redis://:hunter2@h/0", f"redis://:{MASK}@h/0"),
        ("rediss://h/0?ssl_cert_reqs=none&ssl_password=hunter2", None),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert "hunter2" not in masked_url(url)
    assert shown is None or masked_url(url) == shown


def test_the_command_tells_what_holds_and_where_it_came_from():
    result = run(
        "settings",
        "--json",
        database="postgresql://u:hunter2@h/d",
        HARBOR_REDIS_URL="redis://:hunter2@h/0",
        HARBOR_CORS_ORIGINS="https://a.example,https://b.example",
        HARBOR_WORKERS=" 4 ",
    )
    rows = {each["variable"]: each for each in json.loads(result.stdout)}
    assert list(rows) == [f"HARBOR_{each.name.upper()}" for each in fields(Settings)]
    assert rows["HARBOR_WORKERS"] == {"variable": "HARBOR_WORKERS", "value": "4", "source": "environment"}
    assert rows["HARBOR_BIND"]["source"] == "default"
    assert rows["HARBOR_TRACKER_MASTER_KEY"]["value"] == MASK
    assert rows["HARBOR_CORS_ORIGINS"]["value"] == "https://a.example,https://b.example"
    table = run("settings", database="postgresql://u:hunter2@h/d").stdout
    assert len(table.splitlines()) == len(fields(Settings)) + 1
    assert "hunter2" not in result.stdout + table
    assert "HARBOR_WORKERS must be" in told(run("settings", HARBOR_WORKERS="0"), 1)


def test_the_command_tells_what_came_from_a_file(tmp_path: Path):
    (tmp_path / "secret").write_text("redis://:hunter2@h/0\n")
    result = run("settings", "--json", HARBOR_REDIS_URL_FILE=str(tmp_path / "secret"))
    rows = {each["variable"]: each for each in json.loads(result.stdout)}
    assert (rows["HARBOR_REDIS_URL"]["source"], rows["HARBOR_REDIS_URL"]["value"]) == (
        "file",
        f"redis://:{MASK}@h/0",
    )


def test_a_missing_master_key_says_how_to_make_one():
    with pytest.raises(SettingsError, match="base64"):
        Settings().require_master_key()


def test_the_readme_documents_each_setting():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for each in fields(Settings):
        row = next(
            line for line in readme.splitlines() if line.startswith(f"| `HARBOR_{each.name.upper()}` |")
        )
        assert each.metadata["meaning"] in row
    assert readme.count("| `HARBOR_") == len(fields(Settings))


def test_workers_may_be_as_many_as_there_are_cores():
    assert 1 <= Settings.from_environ({"HARBOR_WORKERS": "auto"}).workers <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "most"), [("max 100000", 64), ("50000 100000", 1), ("150000 100000", 2), ("nonsense", 64)]
)
def test_workers_are_no_more_than_a_container_may_have_of_the_cores(said: str, most: int, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(1000)))
    monkeypatch.setattr(Path, "read_text", lambda _: said)
    assert Settings.from_environ({"HARBOR_WORKERS": "auto"}).workers == most
