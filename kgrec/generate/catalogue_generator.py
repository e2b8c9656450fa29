"""A generator together with its catalogue: trained on a bundle, saved, and used with bundles."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec.bundle import Bundle
from kgrec.config import GeneratorConfig
from kgrec.errors import BundleError, RequestError
from kgrec.generate.generator import BEAMS, Generator, generate
from kgrec.generate.generator_folder import load_generator, save_generator
from kgrec.generate.generator_training import OnMetric, train_generator
from kgrec.generate.held_out_likes import LIST_LENGTH, HeldOut, read_sequences
from kgrec.generate.item_content import digest_content, read_content
from kgrec.generate.item_sequences import ItemSequences
from kgrec.generate.kept import Kept
from kgrec.generate.next_items import NextItemRequest, NextItems
from kgrec.ids import IdMap

_WORSE = "this generator found no more than popularity when it was trained: train it longer"
_LEAST_KNOWN = 0.5  # of the items of a bundle and of the generator; with fewer it is another catalogue's


@dataclass(frozen=True)
class GeneratorReport:
    """What validation found: the last like of some users, from the likes before it, among all items.

    Attributes:
        n_users: how many users were asked; 0 where nobody has two likes.
        figures: ranking -> Recall@10 and NDCG@10: "generator", "popularity" and "transitions", what others like after
            the last likes. The generator's best weights were chosen by this NDCG@10.
        seconds: how long the training took, all measuring included.
    """

    n_users: int
    figures: Mapping[str, tuple[float, float]]
    seconds: float

    @property
    def behind(self) -> str | None:
        """The ranking that finds as much or more: "popularity", else "transitions"; None: neither, or none was asked.

        The greater Recall@10 finds more; of equals, the greater NDCG@10.
        """
        own = self.figures.get("generator")
        others = ("popularity", "transitions")
        return next((name for name in others if own is not None and own <= self.figures.get(name, ())), None)


@dataclass(frozen=True, eq=False)
class CatalogueGenerator:
    """A generator of semantic ids, and the catalogue that it was trained on; give it to `Recommender.generate`.

    It is made by `kgrec.train_generator` and `kgrec.load_generator`. It is used with the bundle that it was trained on,
    and with what became of that bundle since: items that were added have ids by their texts and links, items that are
    gone are never written. Threads may share it.

    Attributes:
        generator: the semantic ids and the network.
        items: the items' ids.
        schema: the digest of the catalogue's schema.
        content: the digest of how the content of items is read.
        report: what validation found.
        beams: the number of prefixes that are followed; more find likelier items and take longer.
    """

    generator: Generator
    items: IdMap
    schema: str
    content: str
    report: GeneratorReport
    beams: int = BEAMS
    answers_at_once: ClassVar[bool] = True
    _aligned: Kept[Generator] = field(default_factory=Kept, repr=False)

    def __post_init__(self) -> None:
        """Checks the beams."""
        if self.beams < 1:
            raise RequestError(f"expected beams of at least 1, got {self.beams}")

    def __repr__(self) -> str:
        """What it writes."""
        return f"CatalogueGenerator({len(self.items):,} items)"

    @classmethod
    def load(cls, path: str | Path, *, beams: int = BEAMS, device: str = "cpu") -> "CatalogueGenerator":
        """Reads a generator; see `kgrec.load_generator`."""
        generator, items, about = load_generator(Path(path), device=device)
        try:
            report = GeneratorReport(
                int(about["report"]["n_users"]),
                {name: (float(one), float(other)) for name, (one, other) in about["report"]["figures"].items()},
                float(about["report"]["seconds"]),
            )
            schema, content = str(about["schema"]), str(about["content"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"the generator {path} is damaged: {type(error).__name__}: {error}; copy all of its files again, or "
                f"train it again with `kgrec train-generator`"
            ) from error
        return cls(generator, IdMap(items), schema, content, report, beams)

    def save(self, path: str | Path) -> None:
        """Writes the generator to a folder, and replaces a generator that is there.

        Args:
            path: the folder; a new or empty one, or one that holds a generator.

        Raises:
            BundleError: the folder cannot be written, or holds something else.
        """
        about = {"schema": self.schema, "content": self.content, "report": asdict(self.report)}
        save_generator(self.generator, Path(path), items=self.items.ids, about=about)

    def align(self, bundle: Bundle) -> Generator:
        """The generator with the items of a bundle, by its rows; kept while the bundle's items are the same.

        Raises:
            BundleError: the bundle is of another catalogue, or has new items and reads texts and links otherwise.
        """
        return self._aligned.find(bundle.items, lambda: self._align(bundle))

    def _align(self, bundle: Bundle) -> Generator:
        if bundle.schema.digest != self.schema:
            raise BundleError(
                f"the generator was trained on another catalogue: its schema has the digest {self.schema[:8]}, that of "
                f"the bundle, {bundle.schema.name!r}, {bundle.schema.digest[:8]}; expected the generator of this "
                f"bundle: name it, or train one with `kgrec train-generator`"
            )
        rows = self.items.rows(bundle.items.ids)  # (n_items,) in the generator, -1 where it is new
        is_known = rows >= 0
        n_known, most = int(is_known.sum()), max(len(rows), len(self.items))
        if n_known < _LEAST_KNOWN * most:
            raise BundleError(
                f"the generator was trained on another catalogue: it has {len(self.items)} items, the bundle "
                f"{len(rows)}, and {n_known} are the same; expected at least half of {most}: name the generator of "
                f"this bundle, or train one with `kgrec train-generator`"
            )
        if n_known == len(rows) == len(self.items) and (rows == np.arange(len(rows))).all():
            return self.generator
        new = np.flatnonzero(~is_known)
        if len(new) and digest_content(bundle) != self.content:
            raise BundleError(
                f"{len(new)} items of the bundle are new to the generator, such as {bundle.items.ids[new[0]]!r}, and "
                f"their texts and links cannot be read as in its training, since the bundle was trained again; train "
                f"the generator again, too, with `kgrec train-generator`"
            )
        no_content = np.zeros((0, len(self.generator.space.mean)), np.float32)
        found = self.generator.with_items(rows[is_known], read_content(bundle, new) if len(new) else no_content)
        place = np.empty(len(rows), np.int64)
        place[is_known], place[new] = np.arange(n_known), np.arange(n_known, len(rows))
        return found.with_items(place, no_content)

    def continue_likes(self, request: NextItemRequest) -> NextItems:
        """Writes the next items; scores are log-probabilities among the whole catalogue, raised for new items.

        A note says so where the generator found no more than popularity when it was trained.

        Raises:
            BundleError: as in `align`.
        """
        found = generate(
            self.align(request.bundle),
            ItemSequences.of([request.likes.tolist()]),
            request.k,
            beams=self.beams,
            hide_seen=False,  # what may not be listed is not allowed
            candidates=request.allowed,
        )
        kept: NDArray[np.bool_] = found.rows[0] >= 0
        notes = (_WORSE,) if self.report.behind == "popularity" else ()
        return NextItems(found.rows[0][kept], found.log_probs[0][kept].astype(np.float64), notes)


def train_on_bundle(
    bundle: Bundle,
    config: GeneratorConfig | None = None,
    *,
    device: str | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_metric: OnMetric | None = None,
) -> CatalogueGenerator:
    """Trains a generator on a bundle's likes; see `kgrec.train_generator`.

    `config.seconds` covers everything: reading the likes, measuring the baselines, the ids, training, and measuring the
    result, for which at most 4/5 of the time after the ids are kept; what is longer comes on top.

    Raises:
        RequestError: what is given is no bundle or no settings, likes have no times, or as in `train_generator`.
    """
    if not isinstance(bundle, Bundle):
        raise RequestError(f"expected a Recommender or a Bundle to train a generator for, got {bundle!r}")
    config = bundle.config.generator if config is None else config
    if not isinstance(config, GeneratorConfig):
        raise RequestError(
            f"expected the settings of a generator as kgrec.config.GeneratorConfig(seconds=...), got {config!r}"
        )
    started = time.monotonic()
    held_out = HeldOut.of(read_sequences(bundle, config.seed), config)
    n_items, next_items = len(bundle.items), held_out.next_items if len(held_out.users) else None
    baselines = {} if next_items is None else held_out.measure_baselines(n_items, bundle.config.transition)
    generator = train_generator(
        read_content(bundle),
        ItemSequences(held_out.train.items, held_out.train.starts),
        config,
        next_items,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        on_step=on_step,
        on_metric=on_metric,
        started=started,
    )
    figures: dict[str, tuple[float, float]] = {}
    if next_items is not None:
        found = generate(generator, held_out.asked, min(LIST_LENGTH, n_items), beams=config.beams)
        figures["generator"] = held_out.measure(found.rows)
        figures |= baselines
    report = GeneratorReport(len(held_out.users), figures, time.monotonic() - started)
    return CatalogueGenerator(
        generator, bundle.items, bundle.schema.digest, digest_content(bundle), report, config.beams
    )
