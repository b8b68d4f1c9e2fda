"""The README's page for a machine of its own, run on one: a systemd in a namespace, over this machine's root.

The commands are those of the README, in its order and as they stand there; what installs packages is run
before the machine is up, as it has no network then. Prints what came of it, as JSON.
"""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy.roots import ROOT, begin, copy_checkout, scratch

_LAST_OF_INSTALLING = "ln -sfnT"
_LONGEST_S = 300
_ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
_UNIT = """
[Unit]
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'bash -ex /seen/commands > /seen/log 2>&1'
"""
_FIRST = f"""
export PATH={_ENVIRON["PATH"]}
ip link set lo up
systemctl start postgresql redis-server
cd /src
"""
# As many requests as are answered while something is done.
_MEANWHILE = """
set +x
while [ ! -e /tmp/over ]; do
    curl -sSko /dev/null -w '%{http_code}\\n' https://localhost/health/live
done > /seen/codes 2>&1 &
set -x
"""
_THEN = """
systemctl reload harbor-api.service
systemctl restart harbor-api.service
sleep 1
touch /tmp/over
wait
pid=$(systemctl show -P MainPID harbor-api.service)
tr '\\0' '\\n' < /proc/$pid/cmdline > /seen/command
grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/$pid/status > /seen/sandbox
tr '\\0' '\\n' < /proc/$pid/environ | grep -E '^HARBOR_' > /seen/environ
systemctl start harbor-api-maintain.service
systemctl restart postgresql
curl -sSk --retry 20 --retry-all-errors --fail https://localhost/health/ready
systemctl kill -s KILL harbor-api.service
curl -sSk --retry 20 --retry-all-errors --fail https://localhost/health/ready
systemctl stop harbor-api.service
systemctl show -P Result harbor-api.service > /seen/result
journalctl -u harbor-api.service --no-pager > /seen/journal
"""


def blocks() -> Iterator[list[str]]:
    """Yield the commands of each block of the README that begins with one of these."""
    text = (ROOT / "README.md").read_text()
    for first in ("apt-get install", "harbor-api vessels add", "/opt/harbor-api-NEW/bin/harbor-api"):
        start = text.index(f"    {first}")
        # The block ends with the first line that is neither blank nor further in.
        lines = re.match(r"(?:    .*\n|\n)+", text[start:])
        assert lines is not None
        yield [line[4:] for line in lines[0].splitlines()]


def try_out() -> dict[str, Any]:
    """Run the page on a machine, and return what came of it."""
    setting_up, first_use, upgrading = blocks()
    installed = next(n for n, line in enumerate(setting_up) if line.startswith(_LAST_OF_INSTALLING)) + 1
    with scratch() as folder:
        root, seen = begin(folder, "machine"), folder / "seen"
        for each in (root / "src", root / "seen", seen):
            each.mkdir()
        shutil.copytree(ROOT / "deploy", copy_checkout(root / "src") / "deploy", dirs_exist_ok=True)
        # What apt-get installs is not started here.
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        _run(root, ["cd /src", *setting_up[:installed]])
        policy.unlink()
        # The next release, as far as anybody can see.
        _run(root, ["cp -aT $(readlink -f /opt/harbor-api) /opt/harbor-api-NEW"])
        _run(root, ["sed -i '1s/harbor-api-[0-9.]*/harbor-api-NEW/' /opt/harbor-api-NEW/bin/harbor-api"])
        for name in ("proc", "dev"):
            subprocess.run(["umount", "-R", "-l", str(root / name)], check=True)
        commands = [_FIRST, *setting_up[installed:], *first_use, _MEANWHILE, *upgrading, _THEN]
        (seen / "commands").write_text("\n".join(commands))
        _boot(root, seen)
        texts = {each.name: each.read_text() for each in seen.iterdir()}
        return {name: text.splitlines() for name, text in texts.items()} | {
            "codes": Counter(texts.get("codes", "").split())
        }


def _run(root: Path, commands: list[str]) -> None:
    subprocess.run(
        ["chroot", str(root), "sh", "-ex"],
        env=_ENVIRON,
        input="\n".join(commands),
        text=True,
        stdout=sys.stderr,
        check=True,
    )


def _boot(root: Path, seen: Path) -> None:
    """Start the machine with nothing but the commands to run, and wait until it is off."""
    units = root / "etc/systemd/system"
    for each in (units / "multi-user.target.wants").iterdir():
        each.unlink()
    (root / "etc/machine-id").write_text("")
    (units / "commands.service").write_text(_UNIT)
    (units / "multi-user.target.wants" / "commands.service").symlink_to("../commands.service")
    subprocess.run(
        [
            *("systemd-nspawn", "-q", "-D", str(root), f"--bind={seen}:/seen", "--private-network", "--boot"),
            *("--register=no", "--keep-unit", "--console=pipe"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        timeout=_LONGEST_S,
        check=False,
    )


if __name__ == "__main__":
    print(json.dumps(try_out()))
