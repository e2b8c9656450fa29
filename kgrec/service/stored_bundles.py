"""The bundles in a service folder: copies of those that are served, and snapshots with what was added since."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.bundle.folder import MANIFEST, read_manifest, write_folder
from kgrec.errors import BundleError
from kgrec.recommend import Recommender

_log = logging.getLogger(__name__)
_DIGITS = 12
_KEPT = 3  # versions: the current one, the candidate, and the one to go back to
_TRIES = 5  # to copy a bundle that is replaced meanwhile
_OPENING, _WRITING = ".opening-", ".writing-"  # folders that are not whole yet


@dataclass(frozen=True)
class Stored:
    """The bundles of a service folder.

    A version is named after the bundle that was given. Its copy changes when it is synced or a user is forgotten; its
    snapshots are of one content of the copy.

    Attributes:
        folder: the service folder.
    """

    folder: Path

    @property
    def bundles(self) -> Path:
        """The folder of the copies."""
        return self.folder / "bundles"

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots."""
        return self.folder / "snapshots"

    @cached_property
    def lock(self) -> FileLock:
        """Held by who changes copies or snapshots, in any process, from reading to writing."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(self.folder / "bundles.lock", mode=0o600)

    def adopt(self, source: Path) -> str:
        """Copies a bundle, and checks that it can be read; returns its version.

        Raises:
            BundleError: there is none, or it is damaged.
        """
        for _ in range(_TRIES):
            version = hash_manifest(source)
            target = self.bundles / version
            if (target / MANIFEST).exists():
                return version
            with self.lock:
                if (target / MANIFEST).exists():
                    return version  # another process was faster
                opening = self.bundles / f"{_OPENING}{os.getpid()}"
                self._remove_leftovers()
                try:
                    _copy(source, opening)
                    load_bundle(opening)
                    if hash_manifest(opening) == version:
                        shutil.rmtree(target, ignore_errors=True)  # what a crash left of one that was removed
                        opening.rename(target)
                        return version
                except BundleError as error:
                    if hash_manifest(source) == version:
                        raise BundleError(str(error).replace(str(opening), str(source))) from error
                finally:
                    shutil.rmtree(opening, ignore_errors=True)
        raise BundleError(f"{source} is replaced again and again; expected a bundle that stays for a second")

    def path(self, version: str) -> Path:
        """The copy of a version."""
        return self.bundles / version

    def base(self, version: str) -> str:
        """What the copy of a version holds now, as 12 hex digits."""
        return hash_manifest(self.path(version))

    def load(self, version: str) -> tuple[Bundle, str, int]:
        """The newest state of a version on disk: the bundle, its base, and the journal's entry that it has."""
        base = self.base(version)
        for seq, snapshot in sorted(self._of_base(base), reverse=True):
            try:
                return load_bundle(snapshot), base, seq
            except BundleError as error:
                _log.warning("left out a damaged snapshot: %s", error)
        return load_bundle(self.path(version)), base, 0

    def snapshot(self, bundle: Bundle, base: str, seq: int) -> None:
        """Writes a snapshot, and removes the older ones of its base and those of copies that are no more."""
        with self.lock:
            target = self.snapshots / f"{base}-{seq}"
            if not target.exists():
                writing = self.snapshots / f"{_WRITING}{os.getpid()}"
                self._remove_leftovers()
                save_bundle(bundle, writing)
                writing.rename(target)
            bases = {self.base(version) for version in self.versions()}
            for other, older, path in self._list_snapshots():
                if other not in bases or (other == base and older < seq):
                    shutil.rmtree(path, ignore_errors=True)

    @property
    def newest_seq(self) -> int:
        """The largest entry of the journal that any snapshot has; 0: there is none."""
        return max((seq for _, seq, _ in self._list_snapshots()), default=0)

    def last_snapshot(self, base: str) -> int:
        """The journal's entry that the newest snapshot of a base has; 0: there is none."""
        return max((seq for seq, _ in self._of_base(base)), default=0)

    def erase_users(self, is_erased: Callable[[str], bool]) -> None:
        """Removes users from all copies.

        Args:
            is_erased: whether a user, by id, is to be removed.

        Raises:
            BundleError: a copy cannot be read or written.
        """
        with self.lock:
            for version in self.versions():
                bundle = load_bundle(self.path(version))
                found = [user for user in bundle.users.ids if is_erased(user)]
                if found:
                    recommender = Recommender(bundle)
                    recommender.forget(found)
                    self.replace(version, recommender.bundle)

    def drop_snapshots(self) -> None:
        """Removes all snapshots, and what a crash left half done."""
        with self.lock:
            shutil.rmtree(self.snapshots, ignore_errors=True)
            self._remove_leftovers()

    def count_user(self, user: str) -> dict[str, int]:
        """How many copies and snapshots have a user.

        Raises:
            BundleError: one cannot be read.
        """
        with self.lock:
            places = {
                "bundles": [self.path(version) for version in self.versions()],
                "snapshots": [path for _, _, path in self._list_snapshots()],
            }
            return {name: sum(user in load_bundle(path).users for path in paths) for name, paths in places.items()}

    def replace(self, version: str, bundle: Bundle) -> None:
        """Changes the copy of a version."""
        save_bundle(bundle, self.path(version))

    def versions(self) -> list[str]:
        """The versions whose copies are there."""
        if not self.bundles.exists():
            return []
        return [
            path.name for path in self.bundles.iterdir() if not path.name.startswith(".") and (path / MANIFEST).exists()
        ]

    def keep_only(self, named: list[str]) -> None:
        """Removes the copies that are neither named nor among the last few."""
        if len(self.versions()) <= _KEPT:
            return
        with self.lock:
            found = sorted(self.versions(), key=lambda version: (self.path(version) / MANIFEST).stat().st_mtime)
            for version in found[:-_KEPT]:
                if version not in named:
                    (self.path(version) / MANIFEST).unlink(missing_ok=True)  # a crash leaves no half of one
                    shutil.rmtree(self.path(version), ignore_errors=True)

    def _of_base(self, base: str) -> list[tuple[int, Path]]:
        return [(seq, path) for other, seq, path in self._list_snapshots() if other == base]

    def _list_snapshots(self) -> list[tuple[str, int, Path]]:
        """(base, entry of the journal, folder) of each snapshot."""
        found = []
        for path in self.snapshots.glob("[!.]*-*"):
            base, _, seq = path.name.rpartition("-")
            with suppress(ValueError):
                found.append((base, int(seq), path))
        return found

    def _remove_leftovers(self) -> None:
        """Removes what a crash left half done; who holds the lock knows that nobody is at it."""
        for folder, start in ((self.bundles, _OPENING), (self.snapshots, _WRITING)):
            for path in folder.glob(f"{start}*"):
                shutil.rmtree(path, ignore_errors=True)


def hash_manifest(path: Path) -> str:
    """12 hex digits of the SHA-256 of a bundle's manifest, which names the hashes of all else.

    Raises:
        BundleError: there is no bundle.
    """
    return hashlib.sha256(read_manifest(path)[0]).hexdigest()[:_DIGITS]


def _copy(source: Path, target: Path) -> None:
    """Copies the manifest of a bundle and the file that it names; both are on disk when this returns."""
    manifest = read_manifest(source)[0]
    files = {}
    with suppress(ValueError, KeyError, TypeError, OSError):  # reading the copy says what is wrong
        name = Path(json.loads(manifest)["tensors"]["file"]).name
        files[name] = (source / name).read_bytes()
    write_folder(target, manifest, files)
