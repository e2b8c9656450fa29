"""Checks what is installed for known vulnerabilities: `make audit`.

It fails where it finds one that `.ci/audit-ignored.txt` does not name, and passes with one line where the database of
vulnerabilities cannot be reached.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

IGNORED = Path(__file__).parents[1] / ".ci" / "audit-ignored.txt"
SECONDS = float(os.environ.get("KGREC_AUDIT_S", "50"))
_UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError", "Could not connect")


def read_ignored(text: str) -> dict[str, str]:
    """Vulnerabilities that are accepted: id -> why; a line is `ID: reason`, or a comment after #."""
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = line.partition(":")
        if not reason.strip():
            raise SystemExit(f"{IGNORED.name}: got {line!r}, expected an id, a colon and the reason to ignore it")
        found[name.strip()] = reason.strip()
    return found


def list_installed() -> list[str]:
    """Requirements of what is installed, but for kgrec; builds such as 2.13.0+cpu are known by their version alone."""
    found = {(dist.metadata["Name"], dist.version.partition("+")[0]) for dist in distributions()}
    return sorted(f"{name}=={version}" for name, version in found if name != "kgrec")


def judge(code: int, output: str, errors: str) -> tuple[int, str]:
    """What the outcome of pip-audit means: an exit code and what to print.

    Args:
        code: the exit code of pip-audit.
        output: its report, as JSON.
        errors: what it printed on stderr.
    """
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        if any(name in errors for name in _UNREACHABLE):
            return 0, "audit: nothing was checked, the database of vulnerabilities cannot be reached"
        return code or 1, f"audit: pip-audit failed\n{errors[-2000:]}"
    checked = [package for package in packages if "skip_reason" not in package]
    if not checked:
        return 0, "audit: nothing was checked, the database that can be reached knows none of the packages"
    lines = [
        f"{package['name']} {package['version']}: {found['id']} {' '.join(found.get('aliases', []))}, "
        f"fixed in {', '.join(found['fix_versions']) or 'no version'}"
        for package in checked
        for found in package["vulns"]
    ]
    if lines:
        return 1, "\n".join(
            ["audit: known vulnerabilities", *lines, f"update them, or give a reason in {IGNORED.name}"]
        )
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    rest = f"; unknown to the database: {', '.join(unknown)}" if unknown else ""
    return 0, f"audit: {len(checked)} packages have no known vulnerability{rest}"


def main() -> int:
    """Runs pip-audit."""
    ignored = read_ignored(IGNORED.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text("\n".join(list_installed()), encoding="utf-8")
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", requirements, "--no-deps", "--disable-pip",
            "--format", "json", "--progress-spinner", "off", "--timeout", "5",
            *(option for name in ignored for option in ("--ignore-vuln", name)),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            print(f"audit: nothing was checked, the database of vulnerabilities took longer than {SECONDS:.0f} s")
            return 0
    code, message = judge(done.returncode, done.stdout, done.stderr)
    print(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
