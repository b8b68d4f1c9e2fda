"""What operators copy agrees with the service: its settings, commands, limits and release."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from tests.support.nginx import FILES as NGINX

from harbor_api import __version__
from harbor_api.cli.main import cli
from harbor_api.resources.positions import _LARGEST_BATCH_BYTES
from harbor_api.schemas.feed import LONGEST_WAIT_S
from harbor_api.server.service import _LONGEST_LINE
from harbor_api.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
KUBERNETES = ROOT / "deploy" / "kubernetes"
OURS = ("migrate", "api", "maintain")
# Whatever holds text for operators, but for locks.
TEXTS = [
    *(ROOT / name for name in ("Dockerfile", "compose.yaml", "README.md")),
    *(
        each
        for each in sorted((ROOT / "deploy").rglob("*"))
        if each.suffix not in {".txt", ""} and each.is_file()
    ),
]
# The longest that a service takes to end: requests, and before them farewells.
_ENDING_S = 30
_CONNECTIONS = 100


def _documents() -> Iterator[Any]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield pytest.param(document, id=f"{path.stem} {document['kind']}")


def _of_kind(kind: str) -> Any:
    [found] = [each.values[0] for each in _documents() if each.values[0]["kind"] == kind]
    return found


def _pods() -> Iterator[Any]:
    yield _of_kind("Deployment")["spec"]["template"]["spec"]
    yield _of_kind("Job")["spec"]["template"]["spec"]
    yield _of_kind("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", [*_documents()])
def test_a_manifest_is_as_kubernetes_says(document):
    if document["kind"] == "Kustomization":
        names = {each.name for each in KUBERNETES.glob("*.yaml")} - {
            "kustomization.yaml",
            "secret.example.yaml",
        }
        assert set(document["resources"]) == names
        return
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("path", TEXTS, ids=_name)
def test_each_setting_that_is_named_is_one(path: Path):
    settings = {f"HARBOR_{each.name.upper()}" for each in fields(Settings)}
    known = settings | {
        f"HARBOR_{each.name.upper()}_FILE" for each in fields(Settings) if each.metadata["is_secret"]
    }
    # What Kubernetes would set is no setting, the Deployment says so; nor is what a follower calls its key.
    named = set(re.findall(r"\bHARBOR_[A-Z_]+[A-Z]\b", path.read_text())) - {"HARBOR_API_PORT", "HARBOR_KEY"}
    assert named <= known


def _commands() -> Iterator[list[str]]:
    """Yield the arguments of each call of harbor-api in the files that a machine reads."""
    for path in (ROOT / "deploy" / "systemd").glob("*.service"):
        for line in re.findall(r"^ExecStart=\S+/harbor-api (.*)$", path.read_text(), re.MULTILINE):
            yield shlex.split(line)
    for pod in _pods():
        yield from (each["command"][1:] for each in pod["containers"] if "command" in each)
    for name in OURS:
        command = COMPOSE["services"][name].get("command", ["harbor-api", "serve"])
        if command[0] == "sh":
            yield from (shlex.split(each) for each in re.findall(r"harbor-api ([^;&|]*)", command[2]))
        else:
            yield command[1:]


def test_each_command_that_is_called_is_one():
    called = list(_commands())
    assert len(called) == 7
    for arguments in called:
        group: click.Command = cli
        rest = arguments
        while isinstance(group, click.Group):
            found = group.get_command(click.Context(group), rest[0])
            assert found is not None, arguments
            group, rest = found, rest[1:]
        # It raises where an option is none.
        group.make_context(arguments[0], list(rest))


@pytest.mark.parametrize("name", [*COMPOSE["services"]])
def test_a_container_may_do_little_and_cannot_take_the_machine_with_it(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "tmpfs", "logging"} <= service.keys()
    assert service["restart"] in {"unless-stopped", "on-failure:5"}
    # Only nginx is asked from outside.
    assert ("ports" in service) == (name == "nginx")


def test_containers_wait_for_each_other_and_are_asked_over_tcp():
    services = COMPOSE["services"]
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    for name in ("postgres", "redis"):
        assert "-h 127.0.0.1" in " ".join(services[name]["healthcheck"]["test"])
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for name in ("api", "maintain"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    # None of its own: the image's is liveness.
    assert "healthcheck" not in services["api"]


def test_secrets_are_files():
    secret = {f"HARBOR_{each.name.upper()}" for each in fields(Settings) if each.metadata["is_secret"]}
    # In a network of its own it has no password.
    secret.remove("HARBOR_REDIS_URL")
    for name in OURS:
        service = COMPOSE["services"][name]
        files = {each for each in service["environment"] if each.endswith("_FILE")}
        assert {service["environment"][each] for each in files} == {
            f"/run/secrets/{each}" for each in service["secrets"]
        }
        assert not secret & service["environment"].keys()
    assert not secret & _of_kind("ConfigMap")["data"].keys()
    keys = _of_kind("Secret")["stringData"].keys()
    for pod in _pods():
        [container] = pod["containers"]
        [folder] = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "secrets"]
        assert {each["value"] for each in container["env"]} <= {f"{folder}/{key}" for key in keys}


def test_pods_are_restricted():
    for pod in _pods():
        [container] = pod["containers"]
        assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()


def test_probes_do_not_end_a_process_for_an_outage_of_its_database():
    [container] = _of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}


def test_whoever_ends_a_service_waits_for_it():
    pod = _of_kind("Deployment")["spec"]["template"]["spec"]
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before + _ENDING_S
    assert int(COMPOSE["services"]["api"]["stop_grace_period"].removesuffix("s")) > _ENDING_S
    unit = (ROOT / "deploy" / "systemd" / "harbor-api.service").read_text()
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]) > _ENDING_S


def test_all_hosts_together_leave_postgresql_connections():
    spec = _of_kind("HorizontalPodAutoscaler")["spec"]
    workers = int(_of_kind("ConfigMap")["data"]["HARBOR_WORKERS"])
    surge = _of_kind("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    # A worker LISTENs on one beside its pool.
    assert (spec["maxReplicas"] + surge) * workers * (Settings().database_pool + 1) < _CONNECTIONS


def test_the_release_that_is_deployed_is_this_one():
    images = {COMPOSE["services"][name]["image"] for name in OURS}
    images |= {container["image"] for pod in _pods() for container in pod["containers"]}
    assert images == {f"harbor-api:{__version__}"}
    assert _of_kind("Kustomization")["images"][0]["newTag"] == __version__
    assert _of_kind("Job")["metadata"]["name"].endswith(__version__)
    for path in (ROOT / "README.md", ROOT / "deploy" / "README.md"):
        assert set(re.findall(r"harbor-api(?:-migrate)?-([0-9][0-9.]*[0-9])", path.read_text())) == {
            __version__
        }


@pytest.mark.parametrize("path", ["README.md", "deploy/README.md"])
def test_the_files_that_are_named_are_there(path):
    text = (ROOT / path).read_text()
    named = set(re.findall(r"(?<![/\w])((?:deploy|tests)/[\w./-]+[\w])", text))
    assert named
    assert {each for each in named if not (ROOT / each).exists() and not [*ROOT.glob(f"{each}*")]} == set()


def test_the_proxy_takes_what_the_service_takes():
    text = (NGINX / "nginx.conf").read_text()
    said = dict(re.findall(r"^\s+(\w+) (\S+?)[k sm]*;$", text, re.MULTILINE))
    assert int(said["client_max_body_size"]) * 1024 == _LARGEST_BATCH_BYTES
    assert int(said["client_body_buffer_size"]) * 1024 == _LARGEST_BATCH_BYTES
    [(_, line)] = re.findall(r"large_client_header_buffers (\d+) (\d+)k;", text)
    assert int(line) * 1024 > _LONGEST_LINE
    assert int(said["proxy_read_timeout"]) > LONGEST_WAIT_S
    ingress = [each.values[0] for each in _documents() if each.values[0]["kind"] == "Ingress"]
    for each in ingress:
        annotations = each["metadata"]["annotations"]
        assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > LONGEST_WAIT_S
