"""The bundles in a service folder: copies of those that are served, and snapshots with what was added since."""

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.bundle.folder import MANIFEST, read_manifest
from kgrec.errors import BundleError

_log = logging.getLogger(__name__)
_DIGITS = 12
_KEPT = 3  # versions: the current one, the candidate, and the one to go back to
_TRIES = 5  # to copy a bundle that is replaced meanwhile


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
            opening = self.bundles / f".opening-{os.getpid()}"
            shutil.rmtree(opening, ignore_errors=True)
            opening.mkdir(parents=True)
            try:
                _copy(source, opening)
                load_bundle(opening)
                if hash_manifest(opening) == version:
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
        """Writes a snapshot, and removes the older ones of its base."""
        target = self.snapshots / f"{base}-{seq}"
        if not target.exists():
            writing = self.snapshots / f".writing-{os.getpid()}"
            shutil.rmtree(writing, ignore_errors=True)
            save_bundle(bundle, writing)
            writing.rename(target)
        for older, path in self._of_base(base):
            if older < seq:
                shutil.rmtree(path, ignore_errors=True)

    def last_snapshot(self, base: str) -> int:
        """The journal's entry that the newest snapshot of a base has; 0: there is none."""
        return max((seq for seq, _ in self._of_base(base)), default=0)

    def drop_snapshots(self) -> None:
        """Removes all snapshots."""
        shutil.rmtree(self.snapshots, ignore_errors=True)

    def replace(self, version: str, bundle: Bundle) -> None:
        """Changes the copy of a version."""
        save_bundle(bundle, self.path(version))

    def versions(self) -> list[str]:
        """The versions whose copies are there."""
        if not self.bundles.exists():
            return []
        return [path.name for path in self.bundles.iterdir() if not path.name.startswith(".")]

    def keep_only(self, named: list[str]) -> None:
        """Removes the copies that are neither named nor among the last few."""
        found = sorted(self.versions(), key=lambda version: (self.path(version) / MANIFEST).stat().st_mtime)
        for version in found[:-_KEPT]:
            if version not in named:
                shutil.rmtree(self.path(version), ignore_errors=True)

    def _of_base(self, base: str) -> list[tuple[int, Path]]:
        found = []
        for path in self.snapshots.glob(f"{base}-*"):
            with suppress(ValueError):
                found.append((int(path.name.rpartition("-")[2]), path))
        return found


def hash_manifest(path: Path) -> str:
    """12 hex digits of the SHA-256 of a bundle's manifest, which names the hashes of all else.

    Raises:
        BundleError: there is no bundle.
    """
    return hashlib.sha256(read_manifest(path)[0]).hexdigest()[:_DIGITS]


def _copy(source: Path, target: Path) -> None:
    """Copies the manifest of a bundle and the file that it names."""
    manifest = read_manifest(source)[0]
    (target / MANIFEST).write_bytes(manifest)
    try:
        name = Path(json.loads(manifest)["tensors"]["file"]).name
        shutil.copyfile(source / name, target / name)
    except (ValueError, KeyError, TypeError, OSError):
        return  # reading the copy says what is wrong
