"""docker-compose.yml: as `docker compose config` reads it, if installed, and its required contents."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
VOLUMES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["volumes"]


def has_compose() -> bool:
    command = ["docker", "compose", "version"]
    return (
        shutil.which("docker") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not has_compose(), reason="no docker compose on this machine")
def test_docker_compose_accepts_the_file() -> None:
    environment = {**os.environ, "NEO4J_PASSWORD": "a-password"}
    command = ["docker", "compose", "--profile", "job", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_server_has_a_pinned_version_health_check_memory_and_volume() -> None:
    server = SERVICES["neo4j"]
    assert re.fullmatch(r"neo4j:5\.26[\w.-]*", server["image"])
    assert "cypher-shell" in server["healthcheck"]["test"][1]
    assert {"interval", "timeout", "retries"} <= set(server["healthcheck"])
    memory = {name: value for name, value in server["environment"].items() if "memory" in name}
    assert {"NEO4J_server_memory_heap_max__size", "NEO4J_server_memory_pagecache_size"} <= set(memory)
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])  # not open to others


def test_every_volume_is_declared_and_data_outlives_the_container() -> None:
    named = {
        volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"] if volume[0] not in "./"
    }
    assert named == set(VOLUMES)
    assert any(volume.endswith(":/data") for volume in SERVICES["neo4j"]["volumes"])


def test_the_job_is_started_by_its_profile_and_waits_for_health() -> None:
    job = SERVICES["kgrec"]
    assert job["profiles"]
    assert job["depends_on"]["neo4j"]["condition"] == "service_healthy"
    assert (ROOT / job["build"] / "Dockerfile").is_file()


def test_the_password_comes_from_the_environment_alone() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or "AUTH" in name:
                assert "${NEO4J_PASSWORD:?" in value
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.search(r"^NEO4J_PASSWORD=.{8,}$", example, re.MULTILINE)
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
