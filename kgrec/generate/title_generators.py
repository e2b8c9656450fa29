"""Language models that continue likes by the names of items: they rank names, write names, or answer freely."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from graph_schema import CatalogueSchema
from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.generate.kept import Kept
from kgrec.generate.next_items import NextItemRequest, NextItems
from kgrec.language.likelihood_ranking import LikelihoodRanker, Scoring
from kgrec.language.local_model import LocalLanguageModel
from kgrec.language.title_generation import generate_items
from kgrec.language.title_matching import TitleIndex
from kgrec.language.title_trie import TitleTrie
from kgrec.language.titles import TitlePrompt
from kgrec.language.zero_shot import ask_for_items
from kgrec.terminal import list_some

PROPOSED = 50
_MOST_NAMED = 5  # titles, in a note


def name_items(schema: CatalogueSchema) -> str:
    """What prompts call the items of a catalogue: its item type in the plural, such as "movies"."""
    return f"{schema.item_type.replace('_', ' ')}s"


@dataclass(frozen=True, eq=False)
class TitleRanker:
    """Ranks what the recommender proposes by how likely a language model finds each name behind those of the likes.

    A score is the pointwise mutual information of the name and the likes, per token. Items without a name come last.

    Attributes:
        model: the language model.
        prompt: how likes become a prompt; None: the last ten, called what the schema calls items.
        n_proposed: how many items the recommender proposes, at least as many as are asked for.
        scoring: how likelihoods become scores, as from `choose_scoring`.
    """

    model: LocalLanguageModel
    prompt: TitlePrompt | None = None
    n_proposed: int = PROPOSED
    scoring: Scoring = field(default_factory=Scoring)
    _rankers: Kept[LikelihoodRanker] = field(default_factory=Kept, repr=False)

    def __post_init__(self) -> None:
        """Checks the model."""
        _check_model(self, ("tokenize", "read_titles", "score", "within"))

    def continue_likes(self, request: NextItemRequest) -> NextItems:
        """Ranks the proposals; see `NextItemGenerator`."""
        rows = request.propose(max(self.n_proposed, request.k))
        titles, prompt = _list_titles(request.bundle), _find_prompt(self.prompt, request.bundle)
        ranker = self._rankers.find(request.bundle.schema, lambda: LikelihoodRanker(self.model, prompt))
        scores = ranker.rank(
            request.liked_titles,
            [titles[row] or "" for row in rows.tolist()],
            scoring=self.scoring,
            time_limit_s=request.left_s,
        )
        best = np.argsort(-scores, kind="stable")[: request.k]  # equal ones as the recommender ranks them
        best = best[np.isfinite(scores[best])]
        return NextItems(rows[best], scores[best])


@dataclass(frozen=True, eq=False)
class TitleWriter:
    """Lets a language model write the names of the next items, where only names of the catalogue can be written.

    A score is the log-probability of the name. Items without a name cannot be written.

    Attributes:
        model: the language model.
        prompt: as in `TitleRanker`.
        beams: the number of names that are followed at once.
    """

    model: LocalLanguageModel
    prompt: TitlePrompt | None = None
    beams: int = 20
    _tries: Kept[TitleTrie] = field(default_factory=Kept, repr=False)

    def __post_init__(self) -> None:
        """Checks the model."""
        _check_model(self, ("tokenize", "read_titles", "read", "read_on", "within"))

    def continue_likes(self, request: NextItemRequest) -> NextItems:
        """Writes names; see `NextItemGenerator`."""
        titles = _list_titles(request.bundle)
        trie = self._tries.find(titles, lambda: TitleTrie.of(self.model, titles))
        found = generate_items(
            self.model, trie, request.liked_titles, k=request.k, allowed=request.allowed, n_beams=self.beams,
            prompt=_find_prompt(self.prompt, request.bundle), time_limit_s=request.left_s,
        )  # fmt: skip
        return NextItems(found.items, found.scores)


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """Asks a language model that follows instructions, without any training, and matches its answer to the catalogue.

    There are no scores, and often fewer items than were asked for.

    Attributes:
        model: the language model.
        prompt: as in `TitleRanker`.
    """

    model: LocalLanguageModel
    prompt: TitlePrompt | None = None
    _indices: Kept[TitleIndex] = field(default_factory=Kept, repr=False)

    def __post_init__(self) -> None:
        """Checks the model."""
        _check_model(self, ("generate",))

    def continue_likes(self, request: NextItemRequest) -> NextItems:
        """Asks; notes tell what of the answer is left out. See `NextItemGenerator`."""
        titles = _list_titles(request.bundle)
        index = self._indices.find(titles, lambda: TitleIndex.of(titles))
        answer = ask_for_items(
            self.model, index, request.liked_titles, k=request.k, allowed=request.allowed,
            prompt=_find_prompt(self.prompt, request.bundle), time_limit_s=request.left_s,
        )  # fmt: skip
        told = (
            (answer.unmatched, "not in the catalogue"),
            (answer.not_allowed, "known to the user, named twice or not to be recommended"),
        )
        notes = tuple(
            f"left out of the language model's answer, since they are {why}: {list_some(lines, _MOST_NAMED)}"
            for lines, why in told
            if lines
        )
        return NextItems(answer.items, notes=notes)


def _check_model(generator: TitleRanker | TitleWriter | ZeroShot, methods: Sequence[str]) -> None:
    model = generator.model
    if isinstance(model, type) or not all(callable(getattr(model, method, None)) for method in methods):
        raise RequestError(
            f"expected a language model for {type(generator).__name__} as "
            f"`kgrec.language.LocalLanguageModel.load(source)` returns it, or an object with its methods "
            f"{', '.join(methods)}, got {model!r}"
        )


def _find_prompt(given: TitlePrompt | None, bundle: Bundle) -> TitlePrompt:
    return TitlePrompt(name_items(bundle.schema)) if given is None else given


def _list_titles(bundle: Bundle) -> Sequence[str | None]:
    return bundle.names[bundle.schema.item_type]
