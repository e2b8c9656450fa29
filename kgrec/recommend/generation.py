"""Continues a user's likes by a generator or a language model; the recommender fills up a list that is short."""

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import KgrecError, RequestError, TextError
from kgrec.generate.next_items import NextItemGenerator, NextItemRequest, NextItems
from kgrec.language.time_limit import Deadline, LanguageModelTooSlow, ModelThread
from kgrec.recommend import ranking
from kgrec.recommend.answers import Recommendation, Recommendations
from kgrec.recommend.asked import Asked
from kgrec.recommend.list_request import ListRequest
from kgrec.recommend.live import answer_without_gone
from kgrec.recommend.notes import note_unknown
from kgrec.recommend.requests import Request, mask_items, mask_known, place_given, read_request
from kgrec.recommend.state import State

_LONGEST_S = 86_400.0  # a time limit
_MOST_TOLD = 200  # characters of an error
_SEED = 0  # of the order of likes of the same time


@dataclass(frozen=True)
class _Own:
    """The recommender's own list for a request, which obeys all that the request asks."""

    state: State
    asked: Asked
    candidates: tuple[str, ...] | None
    exclude: tuple[str, ...]
    filter_seen: bool

    def list(self, k: int) -> Recommendations:
        """The list of k."""
        wanted = ListRequest(self.asked, k, self.candidates, self.exclude, filter_seen=self.filter_seen)
        return ranking.answer_request(self.state, wanted)

    def propose(self, n: int) -> NDArray[np.int64]:
        """The rows of a list of n."""
        return self.state.bundle.items.rows(self.list(n).ids)


def generate(
    state: State,
    asked: Asked,
    k: int,
    candidates: tuple[str, ...] | None,
    exclude: tuple[str, ...],
    generator: NextItemGenerator,
    time_limit_s: float,
    *,
    filter_seen: bool,
) -> Recommendations:
    """Continues the likes of one user; see `Recommender.generate`."""
    deadline, unknown = Deadline.after(_check_limit(time_limit_s)), list[str]()
    if isinstance(generator, type) or not callable(getattr(generator, "continue_likes", None)):
        raise RequestError(
            f"expected generator as `kgrec.load_generator(folder)` returns it, or a TitleRanker, a TitleWriter or a "
            f"ZeroShot with a language model, got {generator!r}"
        )
    own = _Own(state, asked, candidates, exclude, filter_seen)
    request = read_request(state, asked, unknown)
    if not len(request.likes):
        return _note(own.list(k), "there are no likes to continue: this is the recommender's own list")
    masked = mask_items(state, candidates, exclude, unknown)
    if filter_seen:
        mask_known(state, request, masked)
    likes, n = order_likes(state, asked, request), min(k, len(masked))

    def answer(gone: set[str]) -> NextItems:
        found = _continue(generator, NextItemRequest(state.bundle, likes, ~masked, n, own.propose, deadline))
        gone |= state.find_gone(found.rows.tolist())
        return found

    def bar(gone: set[str]) -> None:
        masked[state.bundle.items.rows(list(gone))] = True

    try:
        found = answer_without_gone(answer, lambda _: set(), bar)
    except (TextError, RequestError) as error:
        return _note(own.list(k), f"this is the recommender's own list: {error}")
    rows, notes = found.rows[:k], list(found.notes)
    if len(rows) < n:
        proposed = own.propose(n + len(rows))
        others = proposed[~np.isin(proposed, rows)][: n - len(rows)]
        if len(others):
            total = len(rows) + len(others)
            notes.append(
                f"{len(rows)} of {total} items are generated; the others, at the end, are the recommender's own"
            )
        rows = np.concatenate([rows, others])
    if len(rows) < k:
        notes.append(f"asked for {k} items, only {len(rows)} may be recommended")
    notes += note_unknown(unknown)
    items = tuple(
        Recommendation(state.bundle.items.ids[row], place + 1, score, state.title(row))
        for place, (row, score) in enumerate(zip(rows.tolist(), _score(found, len(rows)), strict=True))
    )
    return Recommendations(items, tuple(unknown), tuple(notes))


def _continue(generator: NextItemGenerator, request: NextItemRequest) -> NextItems:
    """What a generator answers in time, as far as it may be listed.

    Raises:
        LanguageModelTooSlow: the deadline is over, whatever the generator does.
        TextError: it fails, or its answer is none.
        KgrecError: as it raises them.
    """

    def work(_: Deadline) -> NextItems:
        try:
            return _check_answer(generator.continue_likes(request), request)
        except KgrecError:
            raise
        except Exception as error:  # anybody may write a generator, and it may raise anything
            name, told = type(generator).__name__, " ".join(f"{type(error).__name__}: {error}".split())
            raise TextError(f"the {name} failed with {told[:_MOST_TOLD]}") from error

    try:
        if getattr(generator, "answers_at_once", False):
            return work(request.deadline)
        return ModelThread().run(work, request.deadline)  # not one for all: threads may share a generator
    except LanguageModelTooSlow as error:
        if request.deadline.left_s == 0:  # tells of the whole limit, not of what was left of it
            raise request.deadline.too_slow() from error
        raise


def _check_answer(found: NextItems, request: NextItemRequest) -> NextItems:
    """An answer without rows that are no items, are not allowed or come again.

    Raises:
        TextError: it is no `NextItems`, or its rows or scores are no numbers.
    """
    if not isinstance(found, NextItems):
        raise TextError(f"the generator gave {type(found).__name__}; expected kgrec.generate.next_items.NextItems")
    rows = np.asarray(found.rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise TextError(f"the generator gave rows {rows.shape} {rows.dtype}; expected (n,) whole numbers")
    scores = None if found.scores is None else np.asarray(found.scores, np.float64)
    if scores is not None and (scores.shape != rows.shape or not np.isfinite(scores).all()):
        raise TextError(
            f"the generator gave scores {scores.shape} for {len(rows)} rows; expected finite ones, one each"
        )
    rows, n_items = rows.astype(np.int64), len(request.allowed)
    is_item = (rows >= 0) & (rows < n_items)
    is_first = np.zeros(len(rows), np.bool_)
    is_first[np.unique(rows, return_index=True)[1]] = True
    kept = is_item & is_first & request.allowed[np.where(is_item, rows, 0)]
    notes = tuple(map(str, found.notes))
    if not kept.all():
        notes += (f"left out {(~kept).sum()} of {len(rows)} generated items: unknown, repeated or not to be listed",)
    return NextItems(rows[kept], None if scores is None else scores[kept], notes)


def order_likes(state: State, asked: Asked, request: Request) -> NDArray[np.int64]:
    """(n,) int64: the rows of all likes of a request, the earliest first, each once.

    Likes of the same time, and those of a known user where likes have no times, come in random order: always the same,
    but not that of the rows.
    """
    own = times = None
    if request.user is not None:
        place = slice(*state.bundle.liked.indptr[request.user : request.user + 2])
        own = state.bundle.liked.indices[place].astype(np.int64)
        times = np.zeros(len(own), np.int64) if state.bundle.liked_at is None else state.bundle.liked_at.data[place]
    placed = place_given(state, asked, own, times)
    shuffled = np.random.default_rng(_SEED).random(len(placed.rows))
    return placed.rows[np.lexsort((shuffled, -placed.places))]


def _check_limit(time_limit_s: float) -> float:
    if not isinstance(time_limit_s, Real) or isinstance(time_limit_s, bool) or not 0 < time_limit_s <= _LONGEST_S:
        raise RequestError(
            f"expected time_limit_s in seconds, above 0 and at most {_LONGEST_S:g}, got {time_limit_s!r}"
        )
    return float(time_limit_s)


def _score(found: NextItems, n: int) -> list[float]:
    """The scores of n items: those found, then for each item one less than before; without any, the first has 0."""
    scores: list[float] = [] if found.scores is None else found.scores[:n].tolist()
    while len(scores) < n:
        scores.append(scores[-1] - 1 if scores else 0.0)
    return scores


def _note(answer: Recommendations, note: str) -> Recommendations:
    return replace(answer, notes=(note, *answer.notes))
