"""Compares kgrec with and without friends on ml-latest-small, for new users with 0, 1 or 3 known likes.

    python scripts/benchmarks/friends.py --seeds 1 2 3
    python scripts/benchmarks/friends.py --friends 4 --no-kgrec    # friendship says less about taste; baselines only

The data set has no friends, so they are drawn. The taste t_u of user u has 16 numbers: u's row in the rank-16 SVD of
the likes. Before, each like is divided by the square root of its item's likes, each user is scaled to length 1, and the
mean user is subtracted. The low rank leaves out some noise of single likes. Users u and v are friends with probability

    min(1, c exp(b cos(t_u, t_v))),

independently for each pair, with c such that users have 8 friends on average. A fifth of the users is held out whole;
their friends stay known. The held-out likes are used to draw the friends, and by nothing else. That alone helps whoever
reads friends: with --half, friends are drawn from a random half of each user's likes, and new users are asked for likes
of the other half only.

Baselines, with settings chosen on a fifth of the training users, held out in the same way:

    popularity
    friends' mean likes    each friend weighs (number of its friends)^-p; w more friends like what everybody likes
    ridge on friends       predicts likes from the user's row of the friends' matrix, with 1 at the user itself

None reads the known likes of new users.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pyarrow as pa
from catalogues import DATA_DIR
from ml_latest_small import read_whole
from numpy.typing import NDArray
from scipy.sparse import csr_array
from with_and_without import (
    WITH,
    WITHOUT,
    Run,
    compare,
    evaluate_scores,
    parse_options,
    print_runs,
    run_seeds,
    sum_up,
    write_runs,
)

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from kgrec import cache_dir
from kgrec.config import SplitConfig
from kgrec.graph.hetero import sort_tables, to_hetero
from kgrec.questions.slices import Slice
from kgrec.questions.splits import Likes, read_likes, split_likes, subtract
from kgrec.text.encoder import load_encoder
from kgrec.training.dataset import build_graph

SPLIT = SplitConfig(cold_users=0.2, cold_items=0, warm=0, support_sizes=(0, 1, 3), least_likes=5)
RANK, N_FRIENDS = 16, 8

Matrix = NDArray[np.float64]
Baseline = Callable[[Matrix, Likes], Matrix]  # (n_users, n_users) of 1s, training likes -> (n_users, n_items) scores


def draw_friends(likes: Likes, b: float, rng: np.random.Generator) -> Matrix:
    """Draws friends, (n_users, n_users) of 1s, symmetric; see above."""
    taste = likes.to_matrix().toarray() / np.sqrt(np.maximum(likes.counts, 1))
    taste /= np.maximum(np.linalg.norm(taste, axis=1, keepdims=True), 1e-9)
    left, sizes, _ = np.linalg.svd(taste - taste.mean(axis=0), full_matrices=False)
    taste = left[:, :RANK] * sizes[:RANK]
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    odds = np.exp(b * (taste @ taste.T - 1))
    np.fill_diagonal(odds, 0)
    low, high = 0.0, 1 / odds[odds > 0].min()
    while high - low > 1e-6 * high:
        c = (low + high) / 2
        low, high = (low, c) if np.minimum(1, c * odds).sum(axis=1).mean() > N_FRIENDS else (c, high)
    drawn = np.triu(rng.random(odds.shape) < np.minimum(1, high * odds), 1)
    return (drawn | drawn.T).astype(np.float64)


def add_friends(tables: GraphTables, friends: Matrix) -> GraphTables:
    """Adds friendships to a catalogue sorted by id, in both directions."""
    described = tables.schema.model_dump(mode="json", exclude_unset=True)
    described["edges"]["friend_of"] = {"source": "user", "type": "FRIEND_OF", "target": "user"}
    ids = tables.ids("user").to_pylist()
    pairs = np.argwhere(friends)
    edge = pa.table({end: [ids[row] for row in pairs[:, place]] for place, end in enumerate((SOURCE, TARGET))})
    schema = CatalogueSchema.model_validate(described)
    edge = edge.cast(schema.edges["friend_of"].arrow_schema)
    return GraphTables(schema, tables.nodes, {**tables.edges, "friend_of": edge})


def score_popularity(friends: Matrix, train: Likes) -> Matrix:
    """The share of the training users who like an item, the same for everybody."""
    n_users = np.unique(train.users).size
    return np.tile(train.counts / n_users, (len(friends), 1))


def score_friends_mean(friends: Matrix, train: Likes, damping: float, weight: float) -> Matrix:
    """The mean likes of friends, shrunk towards popularity; friends without likes do not count."""
    known = np.bincount(train.users, minlength=len(friends)) > 0
    weights = friends * known * np.maximum(friends.sum(axis=1), 1) ** -damping
    scores = weights @ train.to_matrix().toarray() + weight * score_popularity(friends, train)
    return scores / (weights.sum(axis=1, keepdims=True) + weight)


def score_ridge(friends: Matrix, train: Likes, regularisation: float) -> Matrix:
    """Ridge from friends to likes, around the mean likes of the training users."""
    rows, known = friends + np.eye(len(friends)), np.unique(train.users)
    gram = rows @ rows[known].T  # (n_users, n_known)
    mean = train.counts / known.size
    likes = train.to_matrix()[known].toarray() - mean
    scores: Matrix = gram @ np.linalg.solve(gram[known] + regularisation * np.eye(known.size), likes) + mean
    return scores


CANDIDATES: Mapping[str, Sequence[Baseline]] = {
    "popularity": [score_popularity],
    "friends' mean likes": [
        partial(score_friends_mean, damping=damping, weight=weight)
        for damping, weight in product((0.0, 0.5, 1.0), (1e-6, 0.3, 1.0, 3.0))
    ],
    "ridge on friends": [partial(score_ridge, regularisation=one) for one in (3.0, 10.0, 30.0, 100.0)],
}


def leave_out(slice_: Slice, drawn_from: csr_array | None) -> Slice:
    """The slice without the likes that the friends are drawn from."""
    if drawn_from is None:
        return slice_
    return replace(slice_, relevant=subtract(slice_.relevant, drawn_from), left_out=drawn_from)


def choose(
    candidates: Sequence[Baseline], friends: Matrix, train: Likes, drawn_from: csr_array | None, seed: int
) -> Baseline:
    """Chooses the candidate with the best objective on training users held out whole."""
    split = split_likes(train, SPLIT, np.random.default_rng([seed, 1]))
    slice_, counts = leave_out(split.slices["cold_users_k0"], drawn_from), split.train.counts
    return max(
        candidates,
        key=lambda score: evaluate_scores("", score(friends, split.train), slice_, counts).objective,
    )


def measure(seed: int, b: float, half: bool, with_kgrec: bool) -> Run:
    """Draws friends and held-out users by a seed, and evaluates the baselines and, if wanted, kgrec."""
    tables = sort_tables(read_whole(DATA_DIR / "ml-latest-small"))
    likes = read_likes(to_hetero(tables)[0], tables.schema)
    rng = np.random.default_rng([seed, 0])
    part = likes.select(rng.random(len(likes)) < 0.5) if half else likes  # noqa: PLR2004
    friends, drawn_from = draw_friends(part, b, rng), part.to_matrix() if half else None
    split = split_likes(likes, SPLIT, np.random.default_rng(seed))
    slices = [leave_out(slice_, drawn_from) for name, slice_ in split.slices.items() if name.startswith("cold_users_k")]
    ours, costs = {}, {}
    if with_kgrec:
        encoder = load_encoder()
        graphs = {WITH: add_friends(tables, friends), WITHOUT: tables}
        built = {name: build_graph(one, encoder, cache_dir()) for name, one in graphs.items()}
        ours, costs = compare(built, split.train, slices, seed)
    chosen = {
        name: choose(candidates, friends, split.train, drawn_from, seed) for name, candidates in CANDIDATES.items()
    }
    scores = {name: score(friends, split.train) for name, score in chosen.items()}
    results = {
        slice_.name: {
            **{name: evaluate_scores(name, found, slice_, split.train.counts) for name, found in scores.items()},
            **ours.get(slice_.name, {}),
        }
        for slice_ in slices
    }
    settings = {name: found.keywords for name, found in chosen.items() if isinstance(found, partial)}
    return {"seed": seed, "chosen": settings, **sum_up(results, costs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--friends", type=float, default=8.0, metavar="B", help="b of the formula; 0: friends at random"
    )
    parser.add_argument("--half", action="store_true", help="draw friends from other likes than those asked for")
    parser.add_argument("--no-kgrec", action="store_true", help="measure only the baselines")
    options = parse_options(parser)
    measure_seed = partial(measure, b=options.friends, half=options.half, with_kgrec=not options.no_kgrec)
    runs = run_seeds(measure_seed, options.seeds)
    print_runs(
        f"friends, b = {options.friends:g}{', of half the likes' if options.half else ''}, seeds {options.seeds}", runs
    )
    write_runs(runs, options.out)


if __name__ == "__main__":
    main()
