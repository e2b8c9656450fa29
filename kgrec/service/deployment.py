"""The bundles that a process serves, with all that the journal has: reads see each write, and versions change whole."""

import ctypes
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal
from uuid import uuid4

from kgrec.errors import BundleError, KgrecError, StoreError
from kgrec.messages import WriteAnswer
from kgrec.recommend import Recommender
from kgrec.service.answer_cache import AnswerCache
from kgrec.service.audit_log import Pseudonyms
from kgrec.service.idempotency import check_same_request
from kgrec.service.journal import Entry, Journal, Writing
from kgrec.service.replay import apply_entries, known_since
from kgrec.service.settings import ServeSettings
from kgrec.service.stored_bundles import Stored, hash_manifest
from kgrec.service.tenant_views import TenantViews

_log = logging.getLogger(__name__)
Role = Literal["current", "candidate"]
ROLES: tuple[Role, ...] = ("current", "candidate")
RUN = "KGREC_SERVE_RUN"  # in the environment of the processes of a service: which start of it this is
_ERASING = "erasing"  # in the journal: users are forgotten whom the disk may still have
Feedback = tuple[int, str, str]  # UTC seconds, user or "", JSON
Act = Callable[[Recommender], tuple[Sequence[Entry], WriteAnswer]]


@dataclass(frozen=True, eq=False)
class Served:
    """One version in one state. A change makes a new one, so caches in it are never out of date.

    Attributes:
        version: its name.
        base: what its copy on disk holds.
        recommender: answers; nobody changes it.
        seq: the last entry of the journal that it has.
        refused: what this bundle cannot take of the journal.
        answers: the answers of this state.
    """

    version: str
    base: str
    recommender: Recommender
    seq: int
    refused: tuple[str, ...] = ()
    answers: AnswerCache = field(default_factory=AnswerCache)

    @cached_property
    def views(self) -> TenantViews:
        """What tenants see of this state."""
        return TenantViews(self.recommender)


@dataclass(frozen=True)
class Serving:
    """Which versions are served: the same for all processes of a service folder, kept in the journal.

    Attributes:
        current: the version that answers; "" before the first one.
        previous: the one to go back to.
        candidate: the version that answers a share of the users; "" for none.
        share: the share of users whom the candidate answers.
        run: the start of the service that set the share last; a process that takes another one's place does not.
        generation: changes when a process must read bundles again.
        sources: role -> the manifest of the given bundle that was adopted last.
        synced_at: UTC seconds of the last sync that succeeded.
        stale: reasons to train again.
        problems: kind -> what is wrong.
    """

    current: str = ""
    previous: str = ""
    candidate: str = ""
    share: float = 0.0
    run: str = ""
    generation: int = 0
    sources: dict[str, str] = field(default_factory=dict)
    synced_at: int | None = None
    stale: tuple[str, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)

    def version(self, role: Role) -> str:
        """The version with a role; "" for none."""
        return self.current if role == "current" else self.candidate

    @classmethod
    def read(cls, values: dict[str, str]) -> "Serving":
        """From the journal."""
        found = {name: json.loads(value) for name, value in values.items() if name in cls.__dataclass_fields__}
        return cls(**(found | {"stale": tuple(found.get("stale", ()))}))

    def dump(self) -> dict[str, str]:
        """For the journal."""
        return {name: json.dumps(getattr(self, name)) for name in self.__dataclass_fields__}


class Deployment:
    """What one process serves. Threads may share it.

    Args:
        settings: of the service.
        journal: shared with the other processes.
        pseudonyms: hashes of users' ids.
    """

    def __init__(self, settings: ServeSettings, journal: Journal, pseudonyms: Pseudonyms) -> None:
        self.settings, self.journal, self.pseudonyms = settings, journal, pseudonyms
        self.stored = Stored(settings.folder)
        self.served: dict[Role, Served] = {}
        self.serving = Serving()
        self._lock = threading.RLock()
        self._stamp = -1

    @property
    def current(self) -> Served | None:
        """The version that answers; None before it is read."""
        return self.served.get("current")

    # --- which bundles are served

    def look(self) -> None:
        """Adopts the given bundles where they are new; one that is damaged is left out, and the status says so."""
        sources = {"current": self.settings.bundle, "candidate": self.settings.candidate}
        for role in ROLES:
            source = sources[role]
            before = self.read_serving()
            if source is None:
                if before.candidate:
                    self._change(_without_candidate)
                continue
            try:
                found = hash_manifest(source)
                if found == before.sources.get(role) and role not in before.problems:
                    continue
                version = self.stored.adopt(source)
                self.erase_forgotten()
            except (BundleError, OSError) as error:
                message = f"the {role} bundle {source.name} is not taken: {error}"
                if before.problems.get(role) != message:
                    _log.warning("%s", message)
                    self._change(_noting(role, message))
                continue
            self._change(_adopting(role, version, found))

    def start(self) -> None:
        """Reads the given bundles, or those that were served last where the given ones are damaged.

        Raises:
            KgrecError: there is none that can be read.
        """
        self.journal.begin_after(self.stored.newest_seq)
        self.look()
        if self.settings.share is not None:
            self._change(_starting(os.environ.get(RUN) or uuid4().hex, self.settings.share))
        problem = self.read_serving().problems.get("current")
        if not self.read_serving().current and problem is not None:
            raise BundleError(problem)
        self.finish_forgetting()
        self.reload()

    def swap(self) -> None:
        """Looks for a new bundle now, and reads it.

        Raises:
            BundleError: it is damaged.
        """
        self.look()
        problem = self.read_serving().problems.get("current")
        if problem is not None:
            raise BundleError(problem)
        self.reload()

    def roll_back(self) -> None:
        """Serves the version before the current one again, until another bundle is given.

        Raises:
            BundleError: there is none.
        """
        serving = self.read_serving()
        if not serving.previous or serving.previous not in self.stored.versions():
            raise BundleError("there is no version to go back to; expected one that was served before")
        self._change(
            lambda old: replace(old, current=old.previous, previous=old.current, generation=old.generation + 1)
        )
        self.reload()

    def set_share(self, share: float) -> None:
        """Sets the share of users whom the candidate answers."""
        self._change(lambda old: replace(old, share=share))

    def note(self, kind: str, problem: str | None) -> None:
        """Says what is wrong, or with None that it is right again."""
        if self.read_serving().problems.get(kind) != problem:
            self._change(_noting(kind, problem))

    def finish_sync(self, synced_at: int, stale: Sequence[str], *, changed: bool) -> None:
        """Notes a sync; the changed bundle is on disk already."""
        self._change(
            lambda old: replace(
                _noting("sync", None)(old), synced_at=synced_at, stale=tuple(stale),
                generation=old.generation + changed,
            )
        )  # fmt: skip

    def read_serving(self) -> Serving:
        """Which versions are served now, by the journal."""
        return Serving.read(self.journal.read_serving())

    def _change(self, change: Callable[[Serving], Serving]) -> None:
        with self._lock, self.journal.writing() as writing:
            writing.write_serving(change(self.read_serving()).dump())

    def reload(self) -> None:
        """Reads the bundles that are served now, where they differ from what is in memory.

        Raises:
            KgrecError: the current one cannot be read.
        """
        wanted = self.read_serving()
        for role in ROLES:
            version = wanted.version(role)
            if not version:
                self.served.pop(role, None)
                continue
            held = self.served.get(role)
            if held is not None and (held.version, held.base) == (version, self.stored.base(version)):
                continue
            try:
                opened = self._open(version)
            except (KgrecError, OSError) as error:
                _log.warning("version %s cannot be read: %s", version, error)
                if role == "current" and held is None:
                    raise
                continue
            with self._lock:
                self.served[role] = self._with_entries(opened, self.journal.read(opened.seq))
        with self._lock:
            now = self.read_serving()
            self.serving = now if now.generation == wanted.generation else replace(wanted, share=now.share)
        self.stored.keep_only([wanted.current, wanted.previous, wanted.candidate])
        _give_back_memory()
        _log.info("serving version %s", wanted.current)

    def _open(self, version: str) -> Served:
        """Reads a version with all that the journal has, and answers once, so that the first request is quick."""
        bundle, base, seq = self.stored.load(version)
        served = Served(version, base, Recommender(bundle), seq)
        served = self._with_entries(served, self.journal.read(seq))
        _warm(served.recommender)
        return served

    def warm_texts(self) -> None:
        """Loads the text encoder, which takes seconds, so that no request waits for it.

        Raises:
            TextError: it cannot be loaded.
        """
        held = self.current
        if held is not None and held.recommender.bundle.model.has_texts:
            held.recommender.recommend(text="a text", k=1)

    # --- reads see each write

    @property
    def is_behind(self) -> bool:
        """Whether a process has written something that this one has not read; it takes microseconds."""
        return self.journal.stamp() != self._stamp

    def catch_up(self) -> None:
        """Reads what other processes have written."""
        with self._lock:
            stamp = self.journal.stamp()
            for role, held in list(self.served.items()):
                self.served[role] = self._with_entries(held, self.journal.read(held.seq))
            serving = self.read_serving()
            if serving.generation == self.serving.generation:
                self.serving = serving
            else:  # the keeper reads other bundles first
                self.serving = replace(self.serving, share=serving.share)
            self._stamp = stamp  # at last: until then a request waits for this one to end

    def _with_entries(self, served: Served, entries: Sequence[Entry]) -> Served:
        if not entries:
            return served
        branch = served.recommender.branch()
        # without a store nothing but the journal has what was written over HTTP
        since = known_since(branch.bundle) if self.settings.store is not None else 0
        refused = apply_entries(branch, entries, self.pseudonyms.hash, since)
        return Served(served.version, served.base, branch, entries[-1].seq, (*served.refused, *refused))

    # --- writes

    def write(self, act: Act, key: str | None = None, request: str = "") -> tuple[WriteAnswer | str, bool]:
        """Makes a change: it is on disk before this returns, and in the next answer.

        Args:
            act: changes a recommender; returns the entries for the journal, and the answer.
            key: the idempotency key of the request; None: it has none.
            request: the hash of the request.

        Returns:
            The answer, and False; or the answer that an earlier request with the key got, as JSON, and True.

        Raises:
            RequestError: the change is refused.
            Problem: the journal cannot be written, or the key came with another request.
        """
        with self._lock:
            changed: dict[Role, Served] = {}
            with self.journal.writing() as writing:
                found = None if key is None else self._find_answer(key, request)
                if found is not None:
                    return found, True
                before = self._read_all(writing)
                current = before["current"]
                branch = current.recommender.branch()
                entries, answer = act(branch)
                seq = writing.append(entries, max(known_since(held.recommender.bundle) for held in before.values()))
                answer = answer.model_copy(update={"seq": seq})
                if key is not None:
                    writing.keep_answer(key, request, answer.model_dump_json())
                changed["current"] = Served(current.version, current.base, branch, seq, current.refused)
                if "candidate" in before:
                    written = writing.read(current.seq)
                    changed["candidate"] = self._with_entries(before["candidate"], written)
            self.served |= changed
            self.catch_up()  # another process may have written right after
            return answer, False

    def keep_feedback(
        self, events: Sequence[Feedback], key: str | None, request: str
    ) -> tuple[WriteAnswer | str, bool]:
        """Keeps events of feedback, which change no answer; arguments and errors are as in `write`."""
        with self._lock, self.journal.writing() as writing:
            found = None if key is None else self._find_answer(key, request)
            if found is not None:
                return found, True
            writing.add_feedback(events)
            answer = WriteAnswer(seq=self.journal.last_seq, added=len(events))
            if key is not None:
                writing.keep_answer(key, request, answer.model_dump_json())
            return answer, False

    def forget(self, users: Sequence[str]) -> int:
        """Removes users from memory and from the journal, which keeps their hashes; returns the entry's number.

        Raises:
            Problem: the journal cannot be written.
        """
        with self._lock:
            changed = {}
            with self.journal.writing() as writing:
                before = self._read_all(writing)
                for user in users:
                    writing.erase_user(user)
                seq = writing.append(Entry("forgotten", self.pseudonyms.hash(user)) for user in users)
                writing.write_serving({_ERASING: json.dumps(True)})
                for role, held in before.items():
                    branch = held.recommender.branch()
                    branch.forget([user for user in users if user in branch.bundle.users])
                    changed[role] = replace(held, recommender=branch, seq=seq, answers=AnswerCache())
            self.served |= changed
            self.catch_up()
            return seq

    def erase_forgotten(self) -> None:
        """Removes users who were forgotten from the copies on disk, such as that of a bundle which still has them.

        Raises:
            BundleError: a copy cannot be read or written.
        """
        hashes = self.journal.read_forgotten()
        if hashes:
            self.stored.erase_users(lambda user: self.pseudonyms.hash(user) in hashes)

    def finish_forgetting(self) -> None:
        """Removes users from the disk whom `forget` removed from memory, also where a crash came in between.

        Raises:
            BundleError: a copy cannot be read or written.
            Problem: the journal cannot be written.
        """
        if not json.loads(self.journal.read_serving().get(_ERASING, "false")):
            return
        self.journal.compact()
        self.journal.remove_damaged()
        for rejects in self.settings.folder.glob("*.rejects.csv"):  # rows of the store
            rejects.unlink(missing_ok=True)
        self.erase_forgotten()
        self.stored.drop_snapshots()
        with self._lock, self.journal.writing() as writing:
            before = self.read_serving()
            after = replace(before, generation=before.generation + 1)  # others read the copies again
            writing.write_serving(after.dump() | {_ERASING: json.dumps(False)})
            if self.serving.generation == before.generation:  # memory holds no more than the copies already
                for role, held in list(self.served.items()):
                    self.served[role] = replace(held, base=self.stored.base(held.version), answers=AnswerCache())
                self.serving = after

    def _read_all(self, writing: Writing) -> dict[Role, Served]:
        return {role: self._with_entries(held, writing.read(held.seq)) for role, held in self.served.items()}

    def _find_answer(self, key: str, request: str) -> str | None:
        found = self.journal.find_answer(key)
        if found is None:
            return None
        check_same_request(found[0], request)
        return found[1]

    # --- snapshots

    def snapshot(self) -> None:
        """Writes what is served now beside the copies, so that a restart reads less of the journal."""
        with self.stored.lock:
            self.catch_up()  # a user who is forgotten from now on is removed from the snapshot, too
            held = self.current
            if held is None or held.base != self.stored.base(held.version):
                return  # the copy has changed, and is read again first
            if held.seq > self.stored.last_snapshot(held.base):
                self.stored.snapshot(held.recommender.bundle, held.base, held.seq)


def _give_back_memory() -> None:
    """Gives what an old version held back to the system, where the C library keeps it otherwise."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _noting(kind: str, problem: str | None) -> Callable[[Serving], Serving]:
    def change(old: Serving) -> Serving:
        others = {name: text for name, text in old.problems.items() if name != kind}
        return replace(old, problems=others | ({} if problem is None else {kind: problem}))

    return change


def _without_candidate(old: Serving) -> Serving:
    sources = {role: manifest for role, manifest in old.sources.items() if role != "candidate"}
    return replace(_noting("candidate", None)(old), candidate="", sources=sources, generation=old.generation + 1)


def _starting(run: str, share: float) -> Callable[[Serving], Serving]:
    return lambda old: old if old.run == run else replace(old, share=share, run=run)


def _adopting(role: Role, version: str, manifest: str) -> Callable[[Serving], Serving]:
    def change(old: Serving) -> Serving:
        old = replace(_noting(role, None)(old), sources=old.sources | {role: manifest})
        if old.version(role) == version:
            return old
        found = {"current": version, "previous": old.current} if role == "current" else {"candidate": version}
        return replace(old, generation=old.generation + 1, **found)  # type: ignore[arg-type]

    return change


def _warm(recommender: Recommender) -> None:
    """Computes what the first request would wait for."""
    ids = recommender.bundle.items.ids
    if ids:
        recommender.recommend(likes=[ids[0]], k=1, explain=True, tail=0.1)
        recommender.similar(ids[0], k=1)


def open_journal(settings: ServeSettings) -> Journal:
    """The journal of a service; the folder is made if it is missing.

    Raises:
        StoreError: the folder cannot be written.
    """
    folder = Path(settings.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Journal(folder / "journal.sqlite", settings.journal_bytes)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"cannot use the service folder {folder}: {error}; expected a folder that may be written, with free "
            f"space: name another one with --data"
        ) from error
