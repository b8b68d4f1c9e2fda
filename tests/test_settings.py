"""Settings: what is malformed stops the start with one clear line."""

from dataclasses import fields
from pathlib import Path

import pytest

from harbor_api.settings import Settings, SettingsError


def test_nothing_set_is_a_development_machine():
    settings = Settings.from_environ({"PATH": "/bin"})
    assert (settings.database_url, settings.redis_url, settings.workers) == (None, None, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HARBOR_DATABASE_URL", "mysql://x"),
        ("HARBOR_DATABASE_URL", ""),
        ("HARBOR_REDIS_URL", "http://x"),
        ("HARBOR_BIND", "8000"),
        ("HARBOR_WORKERS", "0"),
        ("HARBOR_WORKERS", "two"),
        ("HARBOR_WORKERS", "٣"),
        ("HARBOR_CORS_ORIGINS", "*"),
        ("HARBOR_CORS_ORIGINS", "https://a.example/path"),
        ("HARBOR_LOG_LEVEL", "loud"),
        ("HARBOR_TRACKER_MASTER_KEY", "short"),
        ("HARBOR_TRACKER_MASTER_KEY", "AAAA"),
    ],
)
def test_a_malformed_setting_is_named_in_one_line(variable, value):
    with pytest.raises(SettingsError, match=variable) as raised:
        Settings.from_environ({variable: value})
    assert "\n" not in str(raised.value)


def test_a_misspelt_setting_is_noticed():
    with pytest.raises(SettingsError, match="did you mean HARBOR_WORKERS"):
        Settings.from_environ({"HARBOR_WORKER": "2"})


def test_secrets_are_not_in_the_repr():
    settings = Settings(database_url="postgresql://u:hunter2@h/d", tracker_master_key=b"k" * 32)
    assert "hunter2" not in repr(settings)
    assert "kkk" not in repr(settings)


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
