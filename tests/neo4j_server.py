"""A real Neo4j server for tests: `../shared/neo4j/serve` if it exists, else the server that the environment names."""

import os
import select
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from kgrec.store.neo4j.connection import Connection, quote

SERVE = Path(__file__).parents[2] / "shared" / "neo4j" / "serve"
GIVEN_URL = os.environ.get("KGREC_TEST_NEO4J_URI")
USERNAME, PASSWORD = "neo4j", "kgrec-test"
START_LIMIT_S = 120
# Read before a test sets its own cache folder, since the server is unpacked into the user's; and without a
# password, which a server would set anew at every start.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("NEO4J_")}


def find_free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@dataclass
class Server:
    """A server in a folder of its own; `start` after `stop` or `kill` finds the same data again."""

    home: Path
    heap: str = "512m"
    conf: Path | None = None
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True) -> "Server":
        command = [SERVE, "--home", self.home, "--port", str(self.port), "--password", PASSWORD, "--heap", self.heap]
        command += [] if self.conf is None else ["--conf", self.conf]
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "serve.err").open("w") as err:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.PIPE, stderr=err, text=True, env=ENVIRONMENT
            )
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.process.stdout], [], [], 1)
            line = self.process.stdout.readline() if ready else ""
            if line.startswith("ready"):
                return
            if self.process.poll() is not None:
                break
        raise RuntimeError(f"no Neo4j server: {(self.home / 'serve.err').read_text()[-2000:]}")

    def kill(self) -> None:
        """As a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def empty_database(connection: Connection) -> None:
    connection.run_alone("MATCH ()-[r]->() CALL (r) { DELETE r } IN TRANSACTIONS OF 50000 ROWS")
    connection.run_alone("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS")
    for kind, query in (
        ("CONSTRAINT", "SHOW CONSTRAINTS YIELD name"),
        ("INDEX", "SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' RETURN name"),
    ):
        for (name,) in connection.read(query):
            connection.write(f"DROP {kind} {quote(name)}")
