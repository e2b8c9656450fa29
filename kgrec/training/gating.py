"""Chooses the gate: weights by number of likes and for sentences, and the level of cold items among all items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.config import GateConfig
from kgrec.metrics import find_popular
from kgrec.model.few_shot import FewShot
from kgrec.model.gate import Gate, bucket_starts
from kgrec.model.linked_likes import LinkedLikes
from kgrec.model.model import Model
from kgrec.model.popularity import Popularity
from kgrec.model.sentence import find_fitting
from kgrec.model.sequence_encoder import SequenceEncoder
from kgrec.model.transitions import Transitions
from kgrec.model.user_prior import UserPrior
from kgrec.questions.slices import FIRST_PLACES, POPULAR_ITEMS, Slice
from kgrec.training.questions import (
    ListQuality,
    Question,
    ask,
    compare,
    draw_users,
    join,
    select_users,
)
from kgrec.training.selection import Verdict, Weights, choose_weights, is_clear, race
from kgrec.training.trust import trust_in_knowledge, weigh_user_knowledge

_OF_ORDER = {
    Transitions.name: 0.6,
    SequenceEncoder.name: 2.0,
}  # components that read the order of likes, and the weights to begin with
_RECENCIES = (0.95, 0.8, 0.6)
_OF_USERS = (UserPrior.name, LinkedLikes.name)  # what the graph says of users
_MANY = 21  # likes from which the last bucket begins
_OUT_OF_SIGHT = 10.0  # deviations below the others: cold items are not shown to users without likes
_SHIFT, _SPREAD, _DISLIKE = -1.0, 0.5, 0.3  # for cold items, in catalogues with many likes but too few questions
_SHIFTS, _SPREADS = (-1.5, -1.0, -0.5, -0.25, 0.0, 0.5, 1.0), (0.4, 0.5, 0.7, 1.0, 1.4)
_DISLIKES = (0.0, 0.15, 0.3, 0.6, 1.0)
_NEW_ITEMS = 0.1  # the largest share of held-out items in a question over all items
_ROOM_FOR_COLD = 0.015  # share of the objective on other items that may be given up to show cold items
_ENOUGH_USERS = 100
_ENOUGH_FOR_CAP = 5  # users; with fewer their mean is noise, and popularity is left out
_POPULARITY_BESIDE = 1.2  # added to popularity's weight for each deviation of the users' prior, which lacks it
_ENOUGH_FOR_FEW, _ENOUGH_FOR_MANY = 40.0, 5.0  # likes of an item that weigh as much as its texts and links
_ENOUGH_IN_ALL = 1000.0  # likes; with fewer, texts and links are more reliable


@dataclass(frozen=True)
class _Bucket:
    warm: Weights
    cold: Weights
    shift: float
    spread: float = 1.0  # deviation of the cold items' scores
    known: Weights | None = None  # for users with links, attributes or a text
    recency: float = 1.0

    @property
    def asked(self) -> Weights:
        """The weights, for items with likes, of most of the users that questions ask."""
        return self.warm if self.known is None else self.known


def default_weights(model: Model, kind: str) -> Weights:
    """(n_components,) float64, the components' default weights of a kind; see `DefaultWeights`."""
    return np.array([getattr(component.weights, kind) for component in model.components], np.float64)


def choose_gate(
    model: Model,
    slices: Mapping[str, Slice],
    config: GateConfig,
    sizes: Sequence[int],
    k: int,
    rng: np.random.Generator,
    n_likes: NDArray[np.int64],
) -> tuple[Gate, list[Verdict]]:
    """Chooses the gate of a model on questions that it was not trained on.

    Args:
        model: the model; its own gate is not read.
        slices: the questions, named as in `kgrec.questions.splits.Split`.
        config: limits how popular a first list may be.
        sizes: the support sizes of the questions.
        k: length of a list.
        rng: the source of the drawn users.
        n_likes: (n_items,): the likes of each item, held-out ones included.

    Returns:
        The gate, and a verdict for each question.
    """
    starts = bucket_starts(sizes, _MANY)
    shown = [*sorted({0, *sizes}), None]
    trust = trust_in_knowledge(model, slices, rng)
    # Held-out items compete in a list of all items, so the most liked items are counted over all likes.
    popular = find_popular(n_likes, POPULAR_ITEMS)
    overall = _thin_held_out(slices.get("overall"), model, n_likes, rng)
    verdicts: list[Verdict] = []
    buckets: list[_Bucket] = []
    for place, (start, size) in enumerate(zip(starts, shown, strict=True)):
        end = starts[place + 1] if place + 1 < len(starts) else None
        bucket = _choose_bucket(model, slices, config, start, end, size, trust, popular, k, rng, verdicts)
        in_order = _choose_order(model, slices, config, bucket, start, end, size, popular, k, rng, verdicts)
        buckets.append(in_order or _order_as(buckets, bucket, model.names))
    dislike = _choose_dislike(model, overall, buckets, starts, k, rng, verdicts)
    buckets = [
        _level(model, overall, bucket, start, end, dislike, k, rng, verdicts)
        for bucket, start, end in zip(buckets, starts, [*starts[1:], None], strict=True)
    ]
    buckets[0] = replace(buckets[0], shift=-_OUT_OF_SIGHT)
    sentence = _choose_sentence(model, slices, k, rng, verdicts)
    has_prior = any(bucket.known is not None for bucket in buckets)
    gate = Gate(
        np.array(starts, np.int64),
        np.stack([bucket.warm for bucket in buckets]).astype(np.float32),
        np.stack([bucket.spread * bucket.cold for bucket in buckets]).astype(np.float32),
        np.array([bucket.shift for bucket in buckets], np.float32),
        dislike,
        sentence.warm.astype(np.float32),
        sentence.cold.astype(np.float32),
        float(sentence.shift),
        np.array([bucket.recency for bucket in buckets], np.float32),
        np.stack([bucket.asked for bucket in buckets]).astype(np.float32) if has_prior else None,
    )
    return gate, verdicts


def _scarcity(model: Model, enough: float) -> float:
    """The scarcity of likes per item: 0.5 at `enough` likes, times up to 3 if there are few likes in total."""
    n_likes = model.n_likes.numpy()
    density = float(n_likes.sum()) / max(int((n_likes > 0).sum()), 1)
    return enough / (enough + density) * (1 + 2 * _lack_of_likes(model))


def _lack_of_likes(model: Model) -> float:
    """The lack of likes to learn from, 0 to 1."""
    return _ENOUGH_IN_ALL / (_ENOUGH_IN_ALL + float(model.n_likes.sum()))


def most_popular_for(config: GateConfig, size: int | None, n_items: int) -> float | None:
    """The cap on how many of the first 10 are among the 20 most liked; small catalogues scale it."""
    if not size or size not in config.most_popular:
        return None
    cap = config.most_popular[size]
    return max(cap, FIRST_PLACES * min(1.0, 2.5 * POPULAR_ITEMS / max(n_items, 1)))


def _choose_bucket(
    model: Model,
    slices: Mapping[str, Slice],
    config: GateConfig,
    start: int,
    end: int | None,
    size: int | None,
    trust: float,
    popular: NDArray[np.bool_],
    k: int,
    rng: np.random.Generator,
    verdicts: list[Verdict],
) -> _Bucket:
    names = model.names
    share = 1 - (np.log(max(start, 1)) / np.log(_MANY)) ** 2  # of the weights for few likes
    warm, cold = _default_blend(model, start, share, trust)
    title = _title(start, end)
    asked = _asked(slices, "warm", f"cold_users_k{size}", start, end, rng)
    cap = most_popular_for(config, size, int((model.n_likes > 0).sum()))
    n_asked = 0 if asked is None else asked.support.shape[0]
    if cap is not None and n_asked < _ENOUGH_FOR_CAP:
        cap = None
        warm = np.where([name == "popularity" for name in names], 0, warm)
    known, with_graph = None, dict[str, Weights]()
    if asked is None:
        warm = _normalise(warm, _usually_together(len(names)))
    else:
        usable = [name for name in _rank_warm(model) if name not in _OF_ORDER]
        if start == 0:
            usable = ["popularity", *(name for name in usable if name in (FewShot.name, *_OF_USERS))]
        with_graph = _add_user_knowledge(model, asked, warm, share, rng)
        if LinkedLikes.name not in with_graph:
            usable = [name for name in usable if name != LinkedLikes.name]
        question = ask(model, asked, k, usable=usable, popular=popular)
        # If nothing is known of a user, popularity alone decides: other components would rank by chance.
        others = [name for name in usable if name not in _OF_USERS] if start else [Popularity.name]
        against = start > 0  # what little is known of a user would else rank the least liked items first
        warm, judged, verdict = _choose_blend(model, question, warm, others, cap, title, against_popular=against)
        of_users = np.isin(names, _OF_USERS)
        for added, default in with_graph.items():
            parts = usable if added == LinkedLikes.name else [name for name in usable if name != LinkedLikes.name]
            found = _choose_blend(model, question, default, parts, cap, title, against_popular=against)
            if not (start or found[0][of_users].any()):
                continue  # then nothing is known of anybody
            if added == UserPrior.name or is_clear(compare(found[1], judged)):
                known, judged, verdict = found
        verdicts.append(verdict)
    asked = _asked(slices, "cold_items", f"cold_users_cold_items_k{size}", start, end, rng)
    if asked is not None and start:
        usable = [c.name for c in model.components if c.cold_scale is not None and not c.weights.sentence >= 1]
        is_prior = np.array([name == UserPrior.name for name in names])
        if UserPrior.name not in with_graph:  # then the users' prior says nothing
            cold = np.where(is_prior, 0, cold)
        cold_question = ask(model, asked, k, usable=usable)
        cold, judged = choose_weights(cold_question, names, cold, usable=usable, cold=True)
        verdicts.append(_to_verdict(f"{title}, cold items", cold_question, judged))
        cold = _normalise(cold, cold_question.cold_together)
    else:
        cold = _normalise(cold, _usually_together(len(names)))
    lack = _lack_of_likes(model)
    return _Bucket(warm, cold, (1 - lack) * _SHIFT, lack + (1 - lack) * _SPREAD, known)


def _rank_warm(model: Model) -> list[str]:
    """The names of the components that score items with likes for users with likes."""
    return [c.name for c in model.components if c.warm_scale is not None and not c.weights.sentence >= 1]


def _choose_order(
    model: Model,
    slices: Mapping[str, Slice],
    config: GateConfig,
    bucket: _Bucket,
    start: int,
    end: int | None,
    size: int | None,
    popular: NDArray[np.bool_],
    k: int,
    rng: np.random.Generator,
    verdicts: list[Verdict],
) -> _Bucket | None:
    """Lets the order of likes count where that clearly finds more of what comes next; else nothing changes.

    Returns:
        The bucket; None: no question can be asked.
    """
    asked = _asked(slices, "next", f"cold_users_k{size}", start, end, rng) if start else None
    if asked is not None:  # what order finds next must not be lost elsewhere
        asked = join([asked, _asked(slices, "warm_random", "", start, end, rng, asked.support.shape[0])])
        assert asked is not None
    reading = [name for name in _OF_ORDER if name in model.names]
    if asked is None or asked.order is None or not reading:
        return None
    weights, cap = bucket.asked, most_popular_for(config, size, int((model.n_likes > 0).sum()))
    weighed = [name for name, weight in zip(model.names, weights, strict=True) if weight]
    usable = [name for name in _rank_warm(model) if name in weighed or name not in _OF_USERS]
    default = np.array([_OF_ORDER.get(name, weight) for name, weight in zip(model.names, weights, strict=True)])
    question = ask(model, asked, k, usable=usable, popular=popular)
    before = question.judge(question.blend(weights))
    chosen, best = 1.0, question.judge(question.blend(default))
    for recency in _RECENCIES if (np.diff(asked.support.indptr) > 1).any() else ():
        tried = ask(model, asked, k, usable=usable, popular=popular, recency=recency)
        judged = tried.judge(tried.blend(default))
        if judged.objective > best.objective:
            question, chosen, best = tried, recency, judged
    found, judged, verdict = _choose_blend(
        model, question, default, usable, cap, f"{_title(start, end)}, in order", against_popular=True
    )
    if not is_clear(compare(judged, before)):
        verdicts.append(replace(verdict, worth=before.objective, popular=_count_popular(before)))
        return bucket
    verdicts.append(verdict)
    if bucket.known is None:
        return replace(bucket, warm=found, recency=chosen)
    of_order = np.isin(model.names, reading)
    return replace(bucket, warm=np.where(of_order, found, bucket.warm), known=found, recency=chosen)


def _order_as(before: Sequence[_Bucket], bucket: _Bucket, names: Sequence[str]) -> _Bucket:
    """A bucket that no question asks about order, with the order of the one before."""
    if not before:
        return bucket
    of_order, last = np.isin(names, list(_OF_ORDER)), before[-1]
    warm = np.where(of_order, last.warm, bucket.warm)
    known = None if bucket.known is None else np.where(of_order, last.warm, bucket.known)
    return replace(bucket, warm=warm, known=known, recency=last.recency)


def _default_blend(model: Model, start: int, share: float, trust: float) -> tuple[Weights, Weights]:
    """The default weights of a bucket, for items with likes and for the others.

    Args:
        model: the model.
        start: the least likes in the bucket.
        share: of the weights for few likes.
        trust: in texts and links.
    """
    if start == 0:
        return default_weights(model, "none"), default_weights(model, "none_cold")
    knows = default_weights(model, "knows")
    trusted = np.where(knows > 0, trust, 1.0)
    few, many = (trusted * default_weights(model, kind) for kind in ("few", "many"))
    scarcity = share * _scarcity(model, _ENOUGH_FOR_FEW) + (1 - share) * _scarcity(model, _ENOUGH_FOR_MANY)
    warm = share * few + (1 - share) * many + trust * scarcity * knows
    cold = trusted * default_weights(model, "cold") + trust * _scarcity(model, _ENOUGH_FOR_MANY) * knows
    return warm, cold


def _add_user_knowledge(
    model: Model, asked: Slice, warm: Weights, share: float, rng: np.random.Generator
) -> dict[str, Weights]:
    """The default weights with those of what the graph says of users, times a share.

    The prior lacks the mean user, so for users with likes popularity's weight grows with it.

    Returns:
        The name of a component -> the weights with it and with those before; those that say nothing are left out.
    """
    weighed = weigh_user_knowledge(model, asked, warm, rng)
    if not weighed:
        return {UserPrior.name: warm}
    is_prior, is_linked, is_popularity = (
        np.array([name == of for name in model.names]) for of in (UserPrior.name, LinkedLikes.name, Popularity.name)
    )
    found = {}
    for name, weights in zip(_OF_USERS, weighed, strict=False):
        if share * (weights.linked if name == LinkedLikes.name else weights.prior):
            beside = _POPULARITY_BESIDE * share * weights.prior * weights.prior_deviation if asked.support.nnz else 0.0
            with_prior = np.where(is_prior, share * weights.prior, warm + beside * is_popularity)
            found[name] = np.where(is_linked, share * weights.linked, with_prior)
    return found


def _choose_blend(
    model: Model,
    question: Question,
    default: Weights,
    usable: Sequence[str],
    cap: float | None,
    title: str,
    *,
    against_popular: bool,
) -> tuple[Weights, ListQuality, Verdict]:
    """Chooses the weights of a question from a default, or those of a baseline that is clearly better."""
    names, less = model.names, default_weights(model, "less_popular")
    default = np.where([name in _OF_USERS and name not in usable for name in names], 0, default)
    weights, judged = choose_weights(
        question, names, default, usable=usable, less_popular=less, most_popular=cap, against_popular=against_popular
    )
    alone = {c.baseline: place for place, c in enumerate(model.components) if c.baseline and c.name in usable}
    rivals = {name: question.parts[place] for name, place in alone.items()}
    better, rival, rival_judged, error = race(question, judged, rivals, cap)
    if better is not None:
        weights, judged = np.eye(len(names))[alone[better]], question.judge(rivals[better])
    verdict = _to_verdict(title, question, judged, rival, rival_judged, error)
    return _normalise(weights, question.together), judged, verdict


def _asked(
    slices: Mapping[str, Slice],
    known: str,
    new: str,
    start: int,
    end: int | None,
    rng: np.random.Generator,
    most: int | None = None,
) -> Slice | None:
    """New users with supports of a bucket's sizes, and about as many known users with such supports, `most` at most."""
    of_known = slices.get(known)
    if of_known is not None:
        sizes, wanted = np.diff(of_known.support.indptr), np.diff(of_known.relevant.indptr) > 0
        rows = np.flatnonzero(wanted & (sizes >= max(start, 1)) & (sizes < (np.inf if end is None else end)))
        of_known = select_users(of_known, rows) if len(rows) and start else None
    of_new = None if slices.get(new) is None else draw_users(slices[new], rng)
    if of_known is not None:
        n_new = 0 if of_new is None else of_new.support.shape[0]
        of_known = draw_users(of_known, rng, max(n_new, _ENOUGH_USERS) if n_new else most)
    return join([of_new, of_known])


def _thin_held_out(
    slice_: Slice | None, model: Model, n_likes: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, Slice]:
    """The question over all items, with a bounded number of held-out items among them.

    A small catalogue holds out many items to get enough questions. Among all items, showing them would pay off far more
    than showing new items does.
    """
    if slice_ is None:
        return {}
    held_out = np.flatnonzero((n_likes > 0) & model.cold.numpy())
    most = int(_NEW_ITEMS * np.count_nonzero(n_likes))
    if len(held_out) <= most:
        return {"overall": slice_}
    stays = np.ones(len(n_likes), np.bool_)
    stays[rng.choice(held_out, len(held_out) - most, replace=False)] = False
    relevant = csr_array(slice_.relevant.multiply(stays[None, :]).tocsr())
    relevant.eliminate_zeros()
    candidates = stays if slice_.candidates is None else stays & slice_.candidates
    return {"overall": replace(slice_, relevant=relevant, candidates=candidates)}


def _weighing(model: Model, bucket: _Bucket) -> list[str]:
    """The names of the components with a weight."""
    used = (bucket.asked != 0) | (bucket.cold != 0)
    return [name for name, is_used in zip(model.names, used, strict=True) if is_used]


def _usually_together(n_components: int) -> NDArray[np.float64]:
    """Default correlations of components, for catalogues without questions."""
    return 0.5 * np.eye(n_components) + 0.5


def _normalise(weights: Weights, together: NDArray[np.float64]) -> Weights:
    """Scales weights so that the blend has a deviation of 1."""
    variance = float(weights @ together @ weights)
    return weights / np.sqrt(variance) if variance > 0 else weights


def _level(
    model: Model,
    slices: Mapping[str, Slice],
    bucket: _Bucket,
    start: int,
    end: int | None,
    dislike: float,
    k: int,
    rng: np.random.Generator,
    verdicts: list[Verdict],
) -> _Bucket:
    """Chooses the spread and the level of cold items, to show the most wanted items.

    The quality on the other items may drop a little, or more if the quality over all items clearly gains.
    """
    asked = _asked(slices, "overall", "", start, end, rng) if start else None
    if asked is None or len(asked.support.indptr) <= _ENOUGH_USERS or not bool(model.cold.any()):
        return bucket
    question = ask(model, asked, k, usable=_weighing(model, bucket), recency=bucket.recency)
    of_known, of_new = (
        replace(question, relevant=question.relevant & kind) for kind in (~question.cold, question.cold)
    )

    def rank(spread: float, shift: float) -> Tensor:
        return question.blend(bucket.asked, spread * bucket.cold, shift, dislike)

    ranked = {(spread, shift): rank(spread, shift) for shift in _SHIFTS for spread in _SPREADS}
    least = (1 - _ROOM_FOR_COLD) * of_known.judge(rank(bucket.spread, -_OUT_OF_SIGHT)).objective
    cheap = [stand for stand, scores in ranked.items() if of_known.judge(scores).objective >= least]
    chosen = max(cheap or list(ranked)[:1], key=lambda stand: of_new.judge(ranked[stand]).objective)
    judged = {stand: question.judge(scores) for stand, scores in ranked.items()}
    best = max(judged, key=lambda stand: judged[stand].objective)
    if is_clear(compare(judged[best], judged[chosen])):
        chosen = best
    spread, shift = chosen
    verdicts.append(_to_verdict(f"{_title(start, end)}, all items", question, judged[chosen]))
    return replace(bucket, spread=spread, shift=shift)


def _choose_dislike(
    model: Model,
    slices: Mapping[str, Slice],
    buckets: Sequence[_Bucket],
    starts: Sequence[int],
    k: int,
    rng: np.random.Generator,
    verdicts: list[Verdict],
) -> float:
    """Chooses the penalty of items that users met without liking them."""
    met = model.cold & (model.n_disliked > 0)
    asked = _asked(slices, "overall", "", starts[-1], None, rng)
    if asked is None or len(asked.support.indptr) <= _ENOUGH_USERS or not bool(met.any()):
        return _DISLIKE
    bucket = buckets[-1]
    question = ask(model, asked, k, usable=_weighing(model, bucket), recency=bucket.recency)
    cold = bucket.spread * bucket.cold
    judged = {value: question.judge(question.blend(bucket.asked, cold, bucket.shift, value)) for value in _DISLIKES}
    best = max(judged, key=lambda value: judged[value].objective)
    chosen = best if is_clear(compare(judged[best], judged[_DISLIKE])) else _DISLIKE
    verdicts.append(_to_verdict("items met but not liked", question, judged[chosen]))
    return chosen


def _choose_sentence(
    model: Model, slices: Mapping[str, Slice], k: int, rng: np.random.Generator, verdicts: list[Verdict]
) -> _Bucket:
    names = model.names
    warm, cold = default_weights(model, "sentence"), default_weights(model, "sentence_cold")
    found = []
    for kind, weights in (("", warm), ("_cold_items", cold)):
        asked = slices.get(f"cold_users{kind}_k1")
        kept = None if asked is None else _keep_fitting(model, draw_users(asked, rng))
        if kept is None:
            found.append(weights)
            continue
        slice_, sentences = kept
        usable = [name for name, weight in zip(names, weights, strict=True) if weight]
        question = ask(model, slice_, k, usable=usable, sentences=sentences)
        chosen, judged = choose_weights(question, names, weights, usable=usable, cold=bool(kind))
        title = f"sentence{', cold items' if kind else ''}"
        verdicts.append(_to_verdict(title, question, judged))
        found.append(_normalise(chosen, question.cold_together if kind else question.together))
    return _Bucket(found[0], found[1], 0.0)


def _keep_fitting(model: Model, slice_: Slice) -> tuple[Slice, NDArray[np.float32]] | None:
    """Turns questions with one like into questions with a sentence, the text of the like; the wanted items are the
    user's other likes that fit it.
    """
    text = model.text.numpy()
    has_text: NDArray[np.bool_] = np.asarray(text.any(axis=1))
    if not has_text.any() or not slice_.support.nnz:
        return None
    shown = slice_.support.indices
    others = has_text & has_text[shown][:, None]  # (n_users, n_items)
    others[np.arange(len(shown)), shown] = False
    relevant = csr_array(slice_.relevant.multiply(find_fitting(text[shown] @ text.T, others)))
    relevant.eliminate_zeros()
    rows = np.flatnonzero(np.diff(relevant.indptr))
    if not len(rows):
        return None
    return select_users(replace(slice_, relevant=relevant), rows), text[shown[rows]]


def _to_verdict(
    title: str,
    question: Question,
    judged: ListQuality,
    rival: str | None = None,
    rival_judged: ListQuality | None = None,
    error: float | None = None,
) -> Verdict:
    worth = None if rival_judged is None else rival_judged.objective
    known = None if error is None or not np.isfinite(error) else error
    return Verdict(title, question.n_users, judged.objective, rival or None, worth, known, _count_popular(judged))


def _count_popular(judged: ListQuality) -> float:
    return float(judged.popular.mean()) if len(judged.popular) else 0.0


def _title(start: int, end: int | None) -> str:
    if end is None:
        return f"{start} likes or more"
    if end == start + 1:
        return f"{start} like{'' if start == 1 else 's'}"
    return f"{start} to {end - 1} likes"
