"""A connection to a Neo4j server: its address, credentials, transactions with retries, errors that help.

This is the only module that imports the driver. Values go into a query as parameters; names of labels, types and
properties, for which Cypher has no parameters, go through `quote`.
"""

import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import neo4j
import neo4j.exceptions as neo4j_errors
import pyarrow as pa
from neo4j import spatial
from neo4j import time as neo4j_time

from kgrec.errors import StoreError
from kgrec.store.contract import WAIT_S
from kgrec.store.lock import Mode

LEAST_VERSION = (5, 26)  # the long-term line; the calendar versions (2025.01 and later) are above it
USERNAME, PASSWORD, CREDENTIALS_FILE = "NEO4J_USERNAME", "NEO4J_PASSWORD", "NEO4J_CREDENTIALS_FILE"
RETRY_S = 30.0  # how long a transaction that failed for a passing reason is tried again
_FORM = "neo4j://HOST[:PORT][/DATABASE] or bolt://HOST[:PORT][/DATABASE]"
_CONNECT_S = 5.0
_LEAST_WAIT_S = 5.0  # for a server that is there, also with `wait_s` 0
_POLL_S = 0.5
_UNCOMMITTED = 1  # how often a transaction that ran and could not be committed is tried again
_TIMEOUTS = 2  # how often a transaction that took too long is tried again unchanged
_ON_EARTH = (4326, 4979)  # WGS-84 in two dimensions and three: longitude, latitude, height
_OUT_OF_TIME = ("TransactionTimedOut", "LockClientStopped", "Transaction.Terminated")  # parts of errors' codes
_TOO_LARGE = ("MemoryPoolOutOfMemory", "TransactionMemoryLimit", "OutOfMemory", *_OUT_OF_TIME)
# the driver itself retries transient errors, but not those that last until the server is back
_UNREACHABLE = (neo4j_errors.ServiceUnavailable, neo4j_errors.SessionExpired, ConnectionError, TimeoutError)

_REFUSED = f"set {USERNAME} and {PASSWORD}, or name a file that holds them by {CREDENTIALS_FILE}"
_READ_ONLY = "expected a database that is not read-only and a user who may write to it"
_IN_THE_WAY = "correct it or drop the constraint, or load into another database"
_MESSAGES = {  # part of an error's code -> our message
    "Security.Unauthorized": "{url} refused the user {user!r}: {error}; " + _REFUSED,
    "AuthError": "{url} refused the user {user!r}: {error}; " + _REFUSED,
    "AuthenticationRateLimit": "{url} refuses the user {user!r} for a while: {error}; correct the password, then wait",
    "DatabaseNotFound": "{url}: there is no database {database!r}; expected one that `SHOW DATABASES` lists, as in "
    "neo4j://HOST/DATABASE",
    "ReadOnly": "{url} may not be changed: {error}; " + _READ_ONLY,
    "Forbidden": "{url} may not be changed: {error}; " + _READ_ONLY,
    "ConstraintValidation": "{url}: existing data is in the way: {error}; " + _IN_THE_WAY,
    "ConstraintCreation": "{url}: existing data is in the way: {error}; " + _IN_THE_WAY,
}

_SILENT = logging.NullHandler()
OnWait = Callable[[str], None]  # called once, with a sentence about what it waits for
Parameters = Mapping[str, object]
Result = TypeVar("Result")


class TransactionTooLarge(StoreError):  # noqa: N818 - it is an answer to the size of a batch, and caught as such
    """The server ran out of memory or of time for one transaction: the batch must be smaller."""


class ConnectionLost(StoreError):  # noqa: N818 - what happened, as people say it
    """The server went away, and did not come back while the work was tried again."""


@dataclass(frozen=True)
class Address:
    """Where a database is.

    Attributes:
        server: what the driver connects to, such as "neo4j+s://graph.example.org:7687".
        database: its name; None: the one that the user has by default.
    """

    server: str
    database: str | None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parses a url such as "neo4j://host:7687/database".

        Raises:
            StoreError: it has no host, or holds credentials or options.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise StoreError(f"the Neo4j url is not understood: {error}; expected {_FORM}") from error
        if "@" in parts.netloc:
            raise StoreError(
                f"a Neo4j url may not hold a user name or a password (got one for the host {host}); give them as "
                f"{USERNAME} and {PASSWORD} in the environment, or in a file named by {CREDENTIALS_FILE}"
            )
        database = parts.path.strip("/")
        if not host or parts.query or parts.fragment or "/" in database:
            raise StoreError(f"{url!r} is not the address of a database; expected {_FORM}")
        host = f"[{host}]" if ":" in host else host
        return cls(f"{parts.scheme}://{host}{f':{port}' if port else ''}", database or None)


def quote(name: str) -> str:
    """A label, relationship type or property name for a query, whatever characters it has.

    Cypher ends a quoted name at a backtick and reads a backslash with `u` as a character's number, in names too.
    """
    return "`" + name.replace("\\", "\\u005C").replace("`", "``") + "`"


class Connection:
    """A database of a Neo4j server; belongs to one thread. `with` closes it.

    Args:
        url: neo4j://, neo4j+s://, neo4j+ssc://, bolt://, bolt+s:// or bolt+ssc://HOST[:PORT][/DATABASE].
        mode: "read" asks the server to refuse every change.
        wait_s: how long to wait for a server that does not answer yet.
        on_wait: called once, where it has to wait.

    Raises:
        StoreError: the url is not an address, the server does not answer in time, refuses the credentials, has no such
            database, or is of a version that is not supported.
    """

    def __init__(self, url: str, mode: Mode, *, wait_s: float = WAIT_S, on_wait: OnWait | None = None) -> None:
        address = Address.parse(url)
        self.url = url
        self.mode = mode
        self._database = address.database
        self._user, password = read_credentials()
        self._has_password = password is not None
        logging.getLogger("neo4j").addHandler(_SILENT)  # the errors here report what it logs
        try:
            self._driver = neo4j.GraphDatabase.driver(
                address.server,
                auth=None if password is None else (self._user, password),
                user_agent=f"kgrec/{package_version('kgrec')}",
                connection_timeout=_CONNECT_S,
                max_transaction_retry_time=RETRY_S,
                notifications_min_severity="OFF",
            )
        except (ValueError, neo4j_errors.ConfigurationError) as error:
            raise StoreError(f"{url} cannot be connected to: {error}; expected {_FORM}") from error
        self._is_closed = False
        try:
            self.version = self._wait_for_server(wait_s, on_wait)
        except BaseException:
            self.close()
            raise

    def _wait_for_server(self, wait_s: float, on_wait: OnWait | None) -> tuple[int, ...]:
        """Asks the server for its version until it answers."""
        deadline = time.monotonic() + wait_s
        has_reported = False
        while True:
            found = self._ask_version(max(deadline - time.monotonic(), _POLL_S if has_reported else _LEAST_WAIT_S))
            if not isinstance(found, Exception):
                return self._check_version(found)
            # a server that has come up just now may not know its users yet
            passing = (*_UNREACHABLE, neo4j_errors.TransientError, *([neo4j_errors.AuthError] if has_reported else []))
            if not isinstance(found, passing) and not _is_timeout(found):
                raise self._translate(found) from found
            if (refused := _find_cause(found, ssl.SSLError)) is not None:
                raise StoreError(
                    f"{self.url}: no encrypted connection: {refused}; expected a certificate for that host by a "
                    "known authority (SSL_CERT_FILE names a file with your own), or, for a self-signed one, "
                    "the scheme bolt+ssc or neo4j+ssc"
                ) from found
            if time.monotonic() + _POLL_S > deadline:
                if isinstance(found, neo4j_errors.AuthError):
                    raise self._translate(found) from found
                raise StoreError(
                    f"{self.url} did not answer within {wait_s:g} s: {_first_line(found)}; expected a running Neo4j: "
                    "start it, correct the address, or wait longer by --wait SECONDS"
                ) from found
            if on_wait is not None and not has_reported:
                on_wait(f"{self.url} does not answer yet; waiting for it, up to {wait_s:g} s")
            has_reported = True
            # after three refusals in a row a server refuses everything for five seconds
            time.sleep(_POLL_S * (4 if isinstance(found, neo4j_errors.AuthError) else 1))

    def _ask_version(self, limit_s: float) -> str | Exception:
        """The server's version, or why there is none.

        A server may take a connection and never say a word, at any point of the talk with it, and the driver would wait
        on: it is asked in a thread of its own, which is left behind.
        """
        found: list[str | Exception] = []

        def ask() -> None:
            query = "CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0]"
            try:
                with self._session() as session:
                    found.append(str(session.run(query).values()[0][0]))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(limit_s)
        return found[0] if found else TimeoutError("it takes connections, and is silent")

    def _check_version(self, text: str) -> tuple[int, ...]:
        found = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
        if found < LEAST_VERSION:
            raise StoreError(
                f"{self.url} is Neo4j {text}; expected {'.'.join(map(str, LEAST_VERSION))} or later (5.26 is the "
                "long-term line): upgrade the server"
            )
        return found

    def read(self, query: str, parameters: Parameters | None = None) -> list[list[Any]]:
        """Runs a query in a read transaction, again where it failed for a passing reason; returns all its rows.

        Raises:
            StoreError: the database fails.
            TransactionTooLarge: the server ran out of memory or time for it.
        """
        return self._run_managed("execute_read", query, parameters)

    def write(self, query: str, parameters: Parameters | None = None) -> list[list[Any]]:
        """As `read`, in a transaction that writes: whole or not at all."""
        self._check_writable()
        return self._run_managed("execute_write", query, parameters)

    def run_alone(self, query: str, parameters: Parameters | None = None) -> list[list[Any]]:
        """Runs a query that keeps transactions of its own (`CALL {} IN TRANSACTIONS`); it is not tried again."""
        self._check_writable()
        try:
            with self._session() as session:
                return session.run(query, dict(parameters or {})).values()
        except Exception as error:
            raise self._translate(error) from error

    def _run_managed(self, how: str, query: str, parameters: Parameters | None) -> list[list[Any]]:
        n_run = 0

        def work(transaction: neo4j.ManagedTransaction) -> list[list[Any]]:
            nonlocal n_run
            if n_run > _UNCOMMITTED:  # it was too large to be committed, which the driver would try again and again
                raise self._too_large("it runs, and is not committed")
            try:
                rows = transaction.run(query, dict(parameters or {})).values()
            except neo4j_errors.Neo4jError as error:
                if any(part in (error.code or "") for part in _TOO_LARGE):
                    raise self._too_large(_first_line(error)) from error  # the driver tries this again no more
                raise
            n_run += 1
            return rows

        def run() -> list[list[Any]]:
            with self._session() as session:
                found: list[list[Any]] = getattr(session, how)(work)
                return found

        try:
            for _ in range(_TIMEOUTS):
                try:
                    return run()
                except TransactionTooLarge as error:
                    if not _is_timeout(error.__cause__):
                        raise  # a timeout may be that of a server that has just started, and has a plan to make
            return run()
        except StoreError:
            raise
        except Exception as error:
            if any(part in str(getattr(error, "code", "")) for part in _TOO_LARGE):
                raise self._too_large(_first_line(error)) from error
            raise self._translate(error) from error

    def _too_large(self, reason: str) -> TransactionTooLarge:
        return TransactionTooLarge(
            f"{self.url} does not have the memory or the time for one transaction: {reason}; raise "
            "db.transaction.timeout, dbms.memory.transaction.total.max or the server's heap"
        )

    def _session(self) -> neo4j.Session:
        if self._is_closed:
            raise StoreError(f"{self.url} is closed; open it again")
        access = neo4j.WRITE_ACCESS if self.mode == "write" else neo4j.READ_ACCESS
        return self._driver.session(database=self._database, default_access_mode=access, fetch_size=1000)

    def _check_writable(self) -> None:
        if self.mode == "read":
            raise StoreError(f"{self.url} was opened to read; open it to write")

    def _translate(self, error: Exception) -> Exception:
        """The error with our message; our own errors, and bugs, stay unchanged."""
        if isinstance(error, _UNREACHABLE):
            return ConnectionLost(
                f"{self.url} was lost: {_first_line(error)}; what was committed before is kept, the rest is undone: "
                "check that the server runs, and try again"
            )
        if isinstance(error, neo4j_errors.BrokenRecordError):
            return StoreError(
                f"{self.url} holds a value that the driver cannot read: {_first_line(error.__cause__ or error)}; "
                "expected dates of the years 1 to 9999: correct or remove the value"
            )
        if not isinstance(error, neo4j_errors.Neo4jError | neo4j_errors.DriverError):
            return error
        if isinstance(error, neo4j_errors.AuthError) and not self._has_password:
            return StoreError(f"{self.url} asks for a password, and {PASSWORD} is not set; {_REFUSED}")
        code = getattr(error, "code", None) or ("AuthError" if isinstance(error, neo4j_errors.AuthError) else "")
        message = next((text for part, text in _MESSAGES.items() if part in code), None)
        if message is None:
            return StoreError(f"{self.url} failed: {_first_line(error)}{f' ({code})' if code else ''}")
        return StoreError(
            message.format(url=self.url, user=self._user, database=self._database, error=_first_line(error))
        )

    def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._driver.close()

    def __enter__(self) -> Self:
        """The connection itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection."""
        self.close()


def work_in_halves(work: Callable[[Any], Result], rows: Any) -> Iterator[Result]:
    """Works on some rows in one transaction, or on their halves where they are too many for one.

    Args:
        work: one transaction.
        rows: a sequence or an Arrow table; none are no work.

    Raises:
        TransactionTooLarge: a single row is too much.
    """
    n_rows = len(rows)
    if not n_rows:
        return
    try:
        found = work(rows)
    except TransactionTooLarge:
        if n_rows == 1:
            raise
        middle = n_rows // 2
        is_table = isinstance(rows, pa.Table)
        for part in (rows.slice(0, middle), rows.slice(middle)) if is_table else (rows[:middle], rows[middle:]):
            yield from work_in_halves(work, part)
    else:
        yield found


def read_credentials() -> tuple[str, str | None]:
    """Reads the user name, and the password if there is one, from the environment or from the file that it names.

    The file has lines `NEO4J_USERNAME=...` and `NEO4J_PASSWORD=...`, as hosted Neo4j hands them out.

    Raises:
        StoreError: the file cannot be read or has no password.
    """
    given = {name: value for name in (USERNAME, PASSWORD) if (value := os.environ.get(name))}
    path = os.environ.get(CREDENTIALS_FILE)
    if path and PASSWORD not in given:
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(
                f"cannot read {path}, the {CREDENTIALS_FILE}: {error}; expected a file with lines {USERNAME}=... and "
                f"{PASSWORD}=..."
            ) from error
        in_file = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines if "=" in line)
        given = {key.strip(): value.strip().strip("'\"") for key, value in in_file.items()} | given
        if PASSWORD not in given:
            raise StoreError(f"{path}, the {CREDENTIALS_FILE}, has no line {PASSWORD}=...; add it")
    return given.get(USERNAME, "neo4j"), given.get(PASSWORD)


def to_plain(value: object) -> object:
    """A property's value without the driver's types: times become Python's, points and durations become text."""
    if isinstance(value, list):
        return [to_plain(one) for one in value]
    if isinstance(value, neo4j_time.DateTime | neo4j_time.Date | neo4j_time.Time):
        return value.to_native()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def to_pair(value: object) -> object:
    """The latitude and longitude of a point on Earth, the coordinates of any other point; other values unchanged."""
    if not isinstance(value, spatial.Point):
        return value
    return [value[1], value[0]] if value.srid in _ON_EARTH else list(value)


def _is_timeout(error: BaseException | None) -> bool:
    return any(part in str(getattr(error, "code", "")) for part in _OUT_OF_TIME)


def _find_cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The error, or the nearest of those behind it, that is of a kind."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _first_line(error: BaseException) -> str:
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    first, _, rest = str(message).partition("\n")
    return (f"{first} {rest.partition(chr(10))[0]}" if first.endswith(":") else first).rstrip(".")
