"""docker-compose.yml, the image, and deploy/: as docker and Prometheus read them, and what must hold of them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kgrec.messages import VersionStatus
from kgrec.service import probe
from kgrec.service.readiness import ServiceState
from kgrec.service.service_metrics import ServiceMetrics
from kgrec.service.settings import ServeSettings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES, VOLUMES = COMPOSE["services"], COMPOSE["volumes"]
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "kgrec.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
MANIFESTS = [
    manifest
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]


def has_compose() -> bool:
    command = ["docker", "compose", "version"]
    return (
        shutil.which("docker") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def find_manifest(kind: str) -> dict[str, Any]:
    (found,) = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return found


@pytest.mark.skipif(not has_compose(), reason="no docker compose on this machine")
@pytest.mark.parametrize("profiles", [[], ["job"], ["serve"], ["serve", "metrics"]])
def test_docker_compose_accepts_the_file(profiles: list[str]) -> None:
    environment = {**os.environ, "NEO4J_PASSWORD": "a-password"}
    options = [option for profile in profiles for option in ("--profile", profile)]
    command = ["docker", "compose", *options, "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_server_has_a_pinned_version_health_check_memory_and_volume() -> None:
    server = SERVICES["neo4j"]
    assert re.fullmatch(r"neo4j:5\.26[\w.-]*", server["image"])
    assert "cypher-shell" in server["healthcheck"]["test"][1]
    assert {"interval", "timeout", "retries"} <= set(server["healthcheck"])
    memory = {name: value for name, value in server["environment"].items() if "memory" in name}
    assert {"NEO4J_server_memory_heap_max__size", "NEO4J_server_memory_pagecache_size"} <= set(memory)


def test_ports_are_not_open_to_others() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_images_of_others_have_pinned_versions() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    assert len(images) == 3
    assert all(re.search(r":v?\d+\.\d+", image) for image in images)


def test_every_volume_is_declared_and_data_outlives_the_container() -> None:
    named = {
        volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"] if volume[0] not in "./"
    }
    assert named == set(VOLUMES)
    assert any(volume.endswith(":/data") for volume in SERVICES["neo4j"]["volumes"])


def test_files_that_are_mounted_exist() -> None:
    for service in SERVICES.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./deploy"):
                assert (ROOT / source).is_dir(), source
                assert volume.endswith(":ro")
    assert (ROOT / COMPOSE["secrets"]["kgrec_key"]["file"]).parent.is_dir()


def test_the_job_is_started_by_its_profile_and_waits_for_health() -> None:
    job = SERVICES["kgrec"]
    assert job["profiles"]
    assert job["depends_on"]["neo4j"]["condition"] == "service_healthy"
    assert (ROOT / job["build"] / "Dockerfile").is_file()


def test_the_plain_command_starts_the_server_alone() -> None:
    assert [name for name, service in SERVICES.items() if not service.get("profiles")] == ["neo4j"]


def test_the_service_writes_its_volume_alone_and_is_asked_whether_it_is_ready() -> None:
    service = SERVICES["serve"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == ["kgrec-service:/data"]
    assert service["healthcheck"]["test"] == ["CMD", "python", "-m", probe.__name__]
    assert service["environment"]["KGREC_KEY_FILE"] == "/run/secrets/kgrec_key"


def test_containers_may_take_as_long_to_end_as_the_service() -> None:
    settings = ServeSettings(bundle=Path("bundle"))
    assert float(SERVICES["serve"]["stop_grace_period"].removesuffix("s")) > settings.drain_s + 10
    pod = find_manifest("StatefulSet")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.drain_s + 10
    unit = (DEPLOY / "systemd" / "kgrec.service").read_text(encoding="utf-8")
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop_s) > settings.drain_s + 10


def test_passwords_and_keys_come_from_outside() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or name == "NEO4J_AUTH":
                assert "${NEO4J_PASSWORD:?" in value
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.search(r"^NEO4J_PASSWORD=.{8,}$", example, re.MULTILINE)
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert (DEPLOY / "secrets" / ".gitignore").read_text(encoding="utf-8").splitlines()[0] == "*"
    assert not [manifest for manifest in MANIFESTS if manifest["kind"] == "Secret"]


def test_the_image_is_run_by_a_user_without_rights_and_writes_data_alone() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = re.split(r"^FROM ", lines, flags=re.MULTILINE)[1:]
    assert len(stages) == 2
    last = stages[-1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert f'HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "{probe.__name__}"' in last
    caches = re.findall(r"(?:HOME|MPLCONFIGDIR)=(\S+)", last)
    assert len(caches) == 4
    assert all(cache.startswith("/data") for cache in caches)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", lines, re.MULTILINE)
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(" ".join(copied).split()) == sorted(allowed)
    assert all((ROOT / name).exists() for name in allowed)


# Kubernetes


def test_the_pod_can_do_little() -> None:
    pod = find_manifest("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001  # of the Dockerfile
    assert pod["automountServiceAccountToken"] is False
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_pod_is_probed_and_has_one_replica() -> None:
    workload = find_manifest("StatefulSet")
    assert workload["spec"]["replicas"] == 1  # SQLite
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    for name, options in (("startupProbe", ["--health"]), ("readinessProbe", []), ("livenessProbe", ["--health"])):
        assert container[name]["exec"]["command"] == ["python", "-m", probe.__name__, *options]


def test_manifests_name_each_other_rightly() -> None:
    workload = find_manifest("StatefulSet")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == labels
    assert find_manifest("Service")["spec"]["selector"] == labels
    assert find_manifest("Service")["metadata"]["name"] == workload["spec"]["serviceName"]
    assert find_manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert find_manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    pod = workload["spec"]["template"]["spec"]
    claims = {
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    }
    assert claims == {
        manifest["metadata"]["name"] for manifest in MANIFESTS if manifest["kind"] == "PersistentVolumeClaim"
    }
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_first_bundle_and_key_are_left_where_the_service_finds_them() -> None:
    (seed,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "seed" / "pod.yaml").read_text(encoding="utf-8"))
    pod = find_manifest("StatefulSet")["spec"]["template"]["spec"]
    assert seed["spec"]["securityContext"] == pod["securityContext"]
    (container,), (serving,) = seed["spec"]["containers"], pod["containers"]
    assert container["image"] == serving["image"]
    assert container["securityContext"] == serving["securityContext"]
    for name, claim in (("data", "kgrec-data"), ("bundle", "kgrec-bundle")):
        volume = {"name": name, "persistentVolumeClaim": {"claimName": claim}}
        assert volume in seed["spec"]["volumes"]
        assert volume in pod["volumes"]
    places = {mount["name"]: mount["mountPath"] for mount in serving["volumeMounts"]}
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}.items() <= places.items()
    assert not [mount for mount in container["volumeMounts"] if mount.get("readOnly")]
    service = find_manifest("Service")["spec"]["selector"]
    assert not service.items() <= seed["metadata"]["labels"].items()  # it answers no requests


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_knows_each_line_of_the_unit() -> None:
    command = ["systemd-analyze", "verify", str(DEPLOY / "systemd" / "kgrec.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    problems = [
        line for line in done.stderr.splitlines() if "kgrec.service" in line and "is not executable" not in line
    ]
    assert problems == []


# Prometheus and Grafana


def find_samples() -> set[str]:
    """The names of all samples that a service has."""
    metrics = ServiceMetrics()
    metrics.note_catalogue("v", np.arange(4))
    metrics.note_answer("likes", np.array([3]), True, "v")
    metrics.note_request("/recommend", "POST", 200, 0.01, "likes")
    version = VersionStatus(version="v", role="current", name="shop", trained_at=1, n_items=4)
    text = metrics.exposition(ServiceState(versions=(version,), staleness_s=1.0)).decode()
    return {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}


def test_a_service_without_a_store_is_not_stale() -> None:
    text = ServiceMetrics().exposition(ServiceState()).decode()
    assert "kgrec_ready" in text
    (rule,) = [rule for group in RULES["groups"] for rule in group["rules"] if rule["alert"] == "KgrecStale"]
    metric = rule["expr"].split()[0]
    assert re.fullmatch(r"\w+ > \d+", rule["expr"])  # nothing such as absent() or `or vector(0)`
    assert metric in find_samples()
    assert metric not in text


def find_expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    annotations = [found["expr"] for found in DASHBOARD["annotations"]["list"]]
    return panels + annotations + [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]


def test_every_metric_of_the_dashboard_and_the_alerts_exists() -> None:
    samples = find_samples()
    named = {name for text in find_expressions() for name in re.findall(r"\bkgrec_\w+", text)}
    assert len(named) > 10
    assert named <= samples, named - samples


def test_every_metric_of_the_service_is_of_use_to_somebody() -> None:
    text = "\n".join(find_expressions())
    parts = re.compile(r"_(bucket|count|sum|created)$")
    own = {parts.sub("", name) for name in find_samples() if name.startswith("kgrec_")}
    unused = {name for name in own if name not in text}
    assert unused == {"kgrec_trained_timestamp_seconds"}


def test_panels_have_a_data_source_and_do_not_overlap() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == source["uid"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_asks_the_service_with_the_key_of_the_secret() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (scrape,) = config["scrape_configs"]
    assert scrape["authorization"]["credentials_file"] == SERVICES["serve"]["environment"]["KGREC_KEY_FILE"]
    assert scrape["static_configs"][0]["targets"] == ["serve:8000"]
    assert "kgrec_key" in SERVICES["prometheus"]["secrets"]
    assert all((DEPLOY / "prometheus" / name).is_file() for name in config["rule_files"])
    assert all({"summary"} <= set(rule["annotations"]) for group in RULES["groups"] for rule in group["rules"])
