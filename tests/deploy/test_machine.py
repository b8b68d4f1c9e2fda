"""The README's page for operators, run on a machine with systemd."""

import json
import shutil

import pytest
from tests.deploy.machine import blocks
from tests.deploy.roots import needs_root, run_apart


def test_the_readme_leads_from_nothing_to_a_key():
    setting_up, first_use, upgrading = blocks()
    assert setting_up[0].startswith("apt-get install")
    assert "harbor-api keys add Operations --admin" in setting_up
    assert first_use[0].startswith("harbor-api vessels add")
    assert [line.split("  ")[0] for line in upgrading if line][-1] == "systemctl restart harbor-api.service"


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_root
@pytest.mark.skipif(shutil.which("systemd-nspawn") is None, reason="systemd-container is not installed")
def test_its_commands_do_what_they_say_on_a_machine_with_systemd():
    done = run_apart("tests.deploy.machine")
    assert done.returncode == 0, done.stderr[-3_000:]
    seen = json.loads(done.stdout)
    assert seen.get("result") == ["success"], seen.get("log", done.stderr[-3_000:])[-20:]
    # A reload, two restarts and an upgrade, and nobody was refused.
    assert seen["codes"].keys() == {"200"}, seen["codes"]
    assert seen["command"][1:3] == ["/opt/harbor-api/bin/harbor-api", "serve"]
    assert "harbor-api-NEW" in seen["command"][0]
    assert [line.split() for line in seen["sandbox"]] == [
        ["CapBnd:", "0000000000000000"],
        ["NoNewPrivs:", "1"],
        ["Seccomp:", "2"],
    ]
    secret = {
        each.partition("=")[0] for each in seen["environ"] if not each.partition("=")[0].endswith("_FILE")
    }
    assert not secret & {"HARBOR_DATABASE_URL", "HARBOR_TRACKER_MASTER_KEY"}
    assert not [each for each in seen["journal"] if '"level": "error"' in each]
