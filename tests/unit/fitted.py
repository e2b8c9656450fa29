"""Every component, fitted to a small catalogue drawn at random, and a model of them whose gate is drawn, too."""

from functools import cache

import numpy as np
import torch
from checkerboard import to_csr
from numpy.typing import NDArray
from planted import BOOKS, draw_graph
from scipy.sparse import csr_array

from kgrec.config import HeadConfig, ItemItemConfig, PriorConfig, SequenceConfig, TrainConfig
from kgrec.graph.node_links import build_item_links
from kgrec.graph.propagation import propagate
from kgrec.model.backbone import ItemHead
from kgrec.model.component import Component
from kgrec.model.gate import Gate
from kgrec.model.inputs import FitInputs, LearnedVectors
from kgrec.model.likeness import fit_likeness, join_content
from kgrec.model.model import Model
from kgrec.model.prior import PriorSettings, build_prior, build_ridge_problem
from kgrec.model.registry import COMPONENTS
from kgrec.sequences import Sequences

N_ITEMS, N_USERS, DIM, TEXT_DIM = 30, 25, 4, 5
COLD = np.arange(0, N_ITEMS, 4)  # items that nobody likes
MET = COLD[:4]  # of these, some that one user or more met
CONFIG = TrainConfig(
    embedding_dim=DIM,
    head=HeadConfig(epochs=1),
    item_item=ItemItemConfig(kept=6, rank=4),
    prior=PriorConfig(),
    sequence=SequenceConfig(dim=8, epochs=1),
)


@cache
def draw_inputs(seed: int = 0) -> FitInputs:
    """Likes, texts, links and backbone vectors at random; some books have no text, the last one has no links."""
    rng = np.random.default_rng(seed)
    data = draw_graph(rng, n_books=N_ITEMS, dim=TEXT_DIM)
    links, warm = build_item_links(data, BOOKS), np.ones(N_ITEMS, bool)
    warm[COLD] = False
    liked = (rng.random((N_USERS, N_ITEMS)) < 0.3) & warm
    liked[0, warm] = True
    likes = to_csr(liked)
    n_likes = liked.sum(axis=0)
    weights = (n_likes / (n_likes + 20)).astype(np.float32)
    items = np.where(warm[:, None], rng.normal(size=(N_ITEMS, DIM)), 0).astype(np.float32)
    users = rng.normal(size=(N_USERS, DIM)).astype(np.float32)
    channels = propagate(data, BOOKS, links, warm, items, weights, CONFIG.prior, seed=0)
    problem, chosen = build_ridge_problem(channels, items, weights), PriorSettings(1.0, {})
    placed = torch.from_numpy(problem.predict(chosen))
    prior = build_prior(channels, links, problem, chosen, None)
    vectors = LearnedVectors(torch.from_numpy(items), torch.from_numpy(users), placed, prior, prior, 0.1, 0.05)
    text = torch.where(data["book"].has_text[:, None], data["book"].x, 0.0)
    content = join_content(text.numpy(), [])
    likeness = fit_likeness(likes, content, links)
    earlier: dict[str, Component] = {}
    inputs = FitInputs(
        likes, text, content, links, channels, vectors, likeness, CONFIG, "cpu", earlier, has_linked_users=True,
        sequences=draw_sequences(likes),
    )  # fmt: skip
    for kind in COMPONENTS:
        fitted = kind.fit(inputs)
        assert fitted is not None
        earlier[kind.name] = fitted
    return inputs


def draw_sequences(likes: csr_array) -> Sequences:
    """The likes in an order drawn at random."""
    rng = np.random.default_rng(9)
    users, items = likes.nonzero()
    times = rng.permutation(len(users)).astype(np.int64) * 3600
    return Sequences.of(users.astype(np.int64), items.astype(np.int64), times, likes.shape[0], rng)


@cache
def draw_model(seed: int = 0) -> Model:
    """A model of all components, with weights at random in the buckets of 0, 1 to 3, and 4 and more likes."""
    inputs, rng = draw_inputs(seed), np.random.default_rng(seed)
    components = tuple(inputs.earlier.values())
    weights = rng.uniform(-0.3, 1, (2, 4, len(components))).astype(np.float32)
    warm, cold = weights
    warm[1, :3], cold[2, 1] = 0, 0  # some count for nothing
    gate = Gate(
        np.array([0, 1, 4]), warm[:3], cold[:3], np.array([0.1, -0.2, 0.3], np.float32), 0.7, warm[3], cold[3], -0.7,
        np.array([1, 0.9, 0.8], np.float32),
    )  # fmt: skip
    n_disliked = np.zeros(N_ITEMS, np.int64)
    n_disliked[MET] = 1, 2, 5, 9
    n_disliked[1] = 3  # somebody likes it, too
    return Model(
        components, gate, torch.from_numpy(inputs.n_likes.astype(np.int64)), torch.from_numpy(n_disliked),
        inputs.text, torch.zeros((N_ITEMS, 0)), inputs.likeness, inputs.vectors.prior,
        ItemHead.fit(inputs),
    )  # fmt: skip


def add_item(model: Model, text: NDArray[np.float32] | None, codes: NDArray[np.int64]) -> Model:
    """The model with one item more, placed by the prior."""
    n_items = model.n_items
    own = np.zeros(model.text.shape[1], np.float32) if text is None else text
    grown = torch.cat([model.text, torch.from_numpy(own)[None]])
    return model.with_items(np.arange(n_items), grown, np.array([n_items]), [codes])


def to_support(rows: list[list[int]], n_items: int = N_ITEMS, weights: list[float] | None = None) -> csr_array:
    """(n_users, n_items): the likes of each user, in this order; weights of 1, or one for each like."""
    indptr = np.r_[0, np.cumsum([len(row) for row in rows])]
    columns = np.array([item for row in rows for item in row], np.int64)
    values = np.ones(len(columns), np.float32) if weights is None else np.array(weights, np.float32)
    return csr_array((values, columns, indptr), shape=(len(rows), n_items))


def draw_sentence(rng: np.random.Generator) -> NDArray[np.float32]:
    """(TEXT_DIM,) of length 1."""
    said = rng.normal(size=TEXT_DIM)
    return (said / np.linalg.norm(said)).astype(np.float32)
