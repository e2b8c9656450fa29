"""What `make audit` makes of the outcomes of pip-audit, and its list of accepted vulnerabilities."""

import json

import pytest
import weaknesses as audit

CLEAN = {"name": "httpx", "version": "0.28.1", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}
FOUND = {
    "name": "urllib3", "version": "1.26.0",
    "vulns": [{"id": "PYSEC-2023-212", "aliases": ["CVE-2023-45803"], "fix_versions": ["1.26.18", "2.0.7"]}],
}  # fmt: skip


def report(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_fails_and_is_named() -> None:
    code, message = audit.judge(1, report(CLEAN, FOUND), "")
    assert code == 1
    assert "urllib3 1.26.0: PYSEC-2023-212 CVE-2023-45803, fixed in 1.26.18, 2.0.7" in message


def test_packages_without_one_pass_and_those_that_nobody_knows_are_named() -> None:
    assert audit.judge(0, report(CLEAN), "") == (0, "audit: 1 packages have no known vulnerability")
    code, message = audit.judge(0, report(CLEAN, UNKNOWN), "")
    assert code == 0
    assert message.endswith("unknown to the database: torch")


@pytest.mark.parametrize(
    "outcome",
    [
        (1, "", "requests.exceptions.ConnectionError: Failed to resolve 'pypi.org'"),
        (1, "", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed"),
        (0, report(UNKNOWN), ""),
    ],
)
def test_without_the_database_it_passes_with_one_line(outcome: tuple[int, str, str]) -> None:
    code, message = audit.judge(*outcome)
    assert code == 0
    assert message.startswith("audit: nothing was checked")
    assert len(message.splitlines()) == 1


def test_a_failure_of_pip_audit_itself_is_none_of_these() -> None:
    code, message = audit.judge(2, "", "error: unrecognized arguments: --no-such-option")
    assert code == 2
    assert "unrecognized arguments" in message
    assert audit.judge(0, "not JSON", "")[0] == 1


def test_each_accepted_vulnerability_has_a_reason() -> None:
    assert audit.read_ignored("# why\n\nPYSEC-1: not called, see issue 3\n") == {"PYSEC-1": "not called, see issue 3"}
    for line in ("PYSEC-1", "PYSEC-1: ", "PYSEC-1 not called"):
        with pytest.raises(SystemExit, match="the reason"):
            audit.read_ignored(line)
    audit.read_ignored(audit.IGNORED.read_text(encoding="utf-8"))


def test_what_is_installed_is_listed_by_its_public_version() -> None:
    listed = audit.list_installed()
    assert any(line.startswith("torch==") for line in listed)
    assert not any("+" in line.partition("==")[2] or line.startswith("kgrec=") for line in listed)
