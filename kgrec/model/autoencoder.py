"""An item encoder trained through the likes themselves: message passing inside a linear autoencoder over users.

ELSA (Vančura et al., "Scalable Linear Shallow Autoencoder for Collaborative Filtering", RecSys 2022) predicts a user's
likes x by relu(x A A' - x), where A has a unit row for each item; beeFormer (Vančura et al., RecSys 2024) computes
these rows from texts. Here a row is the direction of encoder(text, links) + residual. The residual is free, and an item
without likes has none. In each step a random part of the items goes without its residual too, so that the encoder
learns to stand in for it. Messages carry texts and the other items' residuals; they are added up as means, as in
LightGCN, and only the last layer has weights, a matrix for each relation, as GraphSAGE has them.
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from graph_schema import CatalogueSchema
from kgrec.config import NetworkConfig
from kgrec.graph.node_links import NodeLinks
from kgrec.graph.propagation import Channel, text_channel
from kgrec.model.gnn import MessageGraph, Network, TrainedNetwork, build_message_graph, hold_out, read_channels

ELSA = "elsa"  # the value of `PriorConfig.encoder`
_EVERY = 20  # steps between validations on the held-out items
_PATIENCE = 2  # validations without a gain
_JOINING_STEPS = 20  # with the likes of the held-out items, which have no residuals before
_RESIDUAL_SCALE = 0.01
_VALIDATION_USERS = 2048  # the most users to validate the held-out items on
_BATCH = 1024  # users in a step
_MOST_COLUMNS = 10_000  # the most items whose likes are predicted at once


class LikesAutoencoder(nn.Module):
    """The encoder, its readout and the residuals."""

    def __init__(self, graph: MessageGraph, text: Channel | None, config: NetworkConfig) -> None:
        """Initialises the parts from torch's current random state; `text` is the channel of the items' own texts."""
        super().__init__()
        width = config.hidden
        self.dropout = config.dropout
        self.network = Network(graph, width, ELSA, config)
        features = np.zeros((graph.n_nodes[graph.placed], 1), np.float32) if text is None else text.features
        self.text: Any = nn.Buffer(torch.from_numpy(features), persistent=False)
        n_states = len(self.network.layers.layers) * width
        self.readout = nn.Linear(n_states + features.shape[1], width)
        self.residual = nn.Parameter(_RESIDUAL_SCALE * torch.randn((len(features), width)))

    def forward(self, graph: MessageGraph, sends: Tensor) -> Tensor:
        """The rows of A, (n_items, hidden) of length 1; (n_items,) bool `sends`: which items have their residuals."""
        states = [state[graph.placed] for state in self.network(graph, self.residual, sends)[1:]]
        read = [nn.functional.dropout(_standardise(state), self.dropout, self.training) for state in states]
        rows = self.readout(torch.cat([*read, self.text], dim=1)) + self.residual * sends[:, None]
        return nn.functional.normalize(rows, dim=1)


def _standardise(states: Tensor) -> Tensor:
    """Centres states and scales them to a mean length of 1, as the ridge does that reads them later."""
    centred = states - states.mean(dim=0)
    scaled: Tensor = centred / centred.norm(dim=1).mean().clamp(min=1e-6)
    return scaled


def predict_likes(likes: Tensor, rows: Tensor) -> Tensor:
    """ELSA's scores relu(x A A' - x), (n_users, n_items), for `likes` x of that shape and the `rows` of A."""
    return nn.functional.relu((likes @ rows) @ rows.T - likes)


def cosine_loss(scores: Tensor, likes: Tensor) -> Tensor:
    """The mean over users of |s / |s| - x / |x||^2: ELSA's loss, the squared error of rows brought to length 1."""
    error = nn.functional.normalize(scores, dim=1) - nn.functional.normalize(likes, dim=1)
    return (error**2).sum(dim=1).mean()


def train_autoencoder(
    likes: csr_array,
    data: HeteroData,
    schema: CatalogueSchema,
    links: NodeLinks,
    config: NetworkConfig,
    *,
    seed: int,
    device: str = "cpu",
) -> tuple[TrainedNetwork, NDArray[np.float32]]:
    """Trains message passing through the likes.

    A step draws users, and of a large catalogue items: those that the users like and random others. Memory is the graph
    and the likes of a step, never users times items. Held-out items, whose likes are not learned from, decide when to
    stop; then they join for some steps, to get residuals too.

    Args:
        likes: (n_users, n_items) float32 of 1s.
        data: the heterograph, with text vectors as `x` and `has_text` masks.
        schema: the catalogue's schema.
        links: from `build_item_links`.
        config: widths and settings.
        seed: the seed of all random draws.
        device: the device to compute on.

    Returns:
        The trained network, whose states the prior's ridge reads, and the rows of A, (n_items, hidden) float32.
    """
    graph = build_message_graph(data, schema, schema.item_type, links, device)
    known = np.bincount(likes.indices, minlength=likes.shape[1]) > 0
    rng = np.random.default_rng(seed)
    held = hold_out(known, rng) if graph.edges else np.zeros_like(known)
    text = text_channel(data, schema.item_type, known) if graph.placed in graph.text else None
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        model = LikesAutoencoder(graph, text, config).to(device)
        optimiser = torch.optim.AdamW(
            [
                {"params": [*model.network.parameters(), *model.readout.parameters()], "lr": config.learning_rate},
                {"params": [model.residual], "lr": config.residual_learning_rate},
            ],
            weight_decay=config.weight_decay,
        )
        best, steps, least = _copy(model, optimiser), 0, np.inf
        for step in range(config.steps + 1 if held.any() else 0):
            if step % _EVERY == 0 or step == config.steps:
                lost = _validate(model, graph, likes, known & ~held, held)
                if lost < least:
                    best, steps, least = _copy(model, optimiser), step, lost
                if step == config.steps or step - steps >= _PATIENCE * _EVERY:
                    break
            _step(model, graph, optimiser, likes, known & ~held, config, rng)
        model.load_state_dict(best[0])
        optimiser.load_state_dict(best[1])
        for _ in range(_JOINING_STEPS if steps else 0):
            _step(model, graph, optimiser, likes, known, config, rng)
        model.eval()
        with torch.no_grad():
            rows = model(graph, torch.from_numpy(known).to(device)).cpu().numpy()
        residual = model.residual.detach().cpu().numpy()
        channels = read_channels(model.network, graph, residual, known, text)
    loss = None if least == np.inf else float(least)
    return TrainedNetwork(model.network, graph, residual, known, channels, steps, loss), rows


def _copy(model: LikesAutoencoder, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    return copy.deepcopy(model.state_dict()), copy.deepcopy(optimiser.state_dict())


def _step(
    model: LikesAutoencoder,
    graph: MessageGraph,
    optimiser: torch.optim.Optimizer,
    likes: csr_array,
    kept: NDArray[np.bool_],
    config: NetworkConfig,
    rng: np.random.Generator,
) -> None:
    """One gradient step on the likes that some users have of the items that are `kept`, (n_items,) bool."""
    users = rng.choice(likes.shape[0], min(likes.shape[0], _BATCH), replace=False)
    batch = likes[np.sort(users)]
    columns = _draw_columns(batch, kept, rng)
    device = model.residual.device
    x = torch.from_numpy(batch[:, columns].toarray()).to(device)
    sends = torch.from_numpy(kept & (rng.random(len(kept)) >= config.hide)).to(device)
    model.train()
    rows = model(graph, sends)[torch.from_numpy(columns).to(device)]
    loss = cosine_loss(predict_likes(x, rows), x)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _draw_columns(batch: csr_array, kept: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """All kept items, or as many as a step predicts: liked ones first, then others, both at random."""
    columns = np.flatnonzero(kept)
    if len(columns) <= _MOST_COLUMNS:
        return columns
    liked = np.bincount(batch.indices, minlength=len(kept))[columns] > 0
    return np.sort(columns[np.lexsort((rng.random(len(columns)), ~liked))[:_MOST_COLUMNS]])


@torch.no_grad()
def _validate(
    model: LikesAutoencoder, graph: MessageGraph, likes: csr_array, kept: NDArray[np.bool_], held: NDArray[np.bool_]
) -> float:
    """The loss on the held-out items, predicted as cold items from the users' other likes."""
    device = model.residual.device
    asked = _thin(np.flatnonzero(likes @ held.astype(np.float32)), _VALIDATION_USERS)
    columns = _thin(np.flatnonzero(held), _MOST_COLUMNS)
    model.eval()
    rows = model(graph, torch.from_numpy(kept).to(device))
    users = torch.from_numpy(likes[asked] @ (rows.cpu().numpy() * kept[:, None])).to(device)
    scores = nn.functional.relu(users @ rows[torch.from_numpy(columns).to(device)].T)
    return float(cosine_loss(scores, torch.from_numpy(likes[asked][:, columns].toarray()).to(device)))


def _thin(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows, evenly spaced."""
    return rows[:: max(-(-len(rows) // most), 1)]
