"""Encoders of items, or of users, by message passing over the catalogue, trained end to end with PyG's layers.

GraphSAGE (Hamilton et al. 2017) and LightGCN (He et al. 2020) for each relation, or the heterogeneous graph transformer
(Hu et al. 2020). One node type is placed in the backbone's space. A node of it starts from its text and, if it is
known, its backbone vector; other nodes from their texts and embeddings, but where users are placed, items start from
their backbone vectors too. Messages pass along links in both directions, never along interactions. The prior's ridge
reads the texts and states of the placed nodes like the channels of `propagate`.

A placed node that is unknown, or hidden in training, sends no messages: so an unknown node of the training graph is
placed like one that is added later.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from graph_schema import CatalogueSchema
from kgrec.config import NetworkConfig
from kgrec.graph.node_links import NodeLinks
from kgrec.graph.propagation import TEXT, Channel, standardise, text_channel
from kgrec.model.prior import PriorSettings, RidgeProblem, build_ridge_problem

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

EdgeType = tuple[str, str, str]
States = dict[str, Tensor]  # node type -> (n_nodes, hidden)

STATES = "states"
_HELD_OUT = 0.1  # share of the known nodes, for early stopping
_LEAST_HELD_OUT = 5  # nodes; fewer are too few for early stopping
_FOLDS = 5
_EVERY = 20  # steps between validations on the held-out nodes
_PATIENCE = 2  # validations without a gain
_EMBEDDING_SCALE = 0.02
_BLOCK_LINKS = 2**16  # links whose messages are in memory at once


@dataclass(frozen=True)
class MessageGraph:
    """The edges that carry messages.

    Attributes:
        placed: the node type that is placed: items or users.
        n_nodes: node type -> its number of nodes.
        text: node type -> (n, text_dim) float32, zeros for a node without a text; types with texts only.
        vectors: node type -> (n, dim) float32, vectors that nodes start from, besides those of the placed type.
        edges: edge type -> (2, n) int64, rows of sender and receiver; each relation in both directions.
        relations: the edge type, towards the placed type, of each of `NodeLinks.relations`; None for one left out.
    """

    placed: str
    n_nodes: dict[str, int]
    text: dict[str, Tensor]
    vectors: dict[str, Tensor]
    edges: dict[EdgeType, Tensor]
    relations: tuple[EdgeType | None, ...]

    def messages(self, sends: Tensor) -> tuple[dict[EdgeType, Tensor], dict[str, Tensor]]:
        """The edges with messages if of the placed nodes only those in `sends` send, and each receiver's number.

        Args:
            sends: (n_placed,) bool.
        """
        edges = {name: ends[:, sends[ends[0]]] if name[0] == self.placed else ends for name, ends in self.edges.items()}
        degrees = {name: torch.zeros(size, device=sends.device) for name, size in self.n_nodes.items()}
        for name, ends in edges.items():
            degrees[name[2]] += torch.bincount(ends[1], minlength=self.n_nodes[name[2]])
        return edges, degrees


def build_message_graph(
    data: HeteroData,
    schema: CatalogueSchema,
    placed: str,
    links: NodeLinks,
    device: str,
    vectors: Mapping[str, NDArray[np.float32]] | None = None,
) -> MessageGraph:
    """Builds the graph of the placed nodes and of all nodes that links lead to from them.

    Args:
        data: the heterograph, with text vectors as `x` and `has_text` masks.
        schema: the catalogue's schema.
        placed: the node type that is placed.
        links: its links, from `build_item_links` or `build_user_links`.
        device: the device that holds it.
        vectors: see `MessageGraph`; types that no link leads to are left out.
    """
    keys = {name: _to_key(name) for name in schema.nodes}
    edges: dict[EdgeType, Tensor] = {}
    for edge_type, edge in schema.graph_edges.items():
        ends = data[schema.edge_triple(edge_type)].edge_index.unique(dim=1).to(device)
        if edge.source == edge.target == schema.user_type:
            ends = ends[:, ends[0] != ends[1]]
        if ends.shape[1]:
            edges[keys[edge.source], edge_type, keys[edge.target]] = ends
            edges[keys[edge.target], f"rev_{edge_type}", keys[edge.source]] = ends.flip(0)
    reached = [keys[placed]]
    for near in reached:  # grows
        reached += {name[2] for name in edges if name[0] == near}.difference(reached)
    edges = {name: ends for name, ends in edges.items() if name[0] in reached}
    order = dict.fromkeys([keys[placed], *(name[0] for name in edges)])
    names = {key: name for name, key in keys.items()}
    nodes = {key: data[names[key]] for key in order}
    text = {
        key: torch.where(found.has_text[:, None], found.x, 0.0).to(device)
        for key, found in nodes.items()
        if "x" in found and found.x.shape[1]
    }
    start = {keys[name]: torch.from_numpy(rows).to(device) for name, rows in (vectors or {}).items()}
    towards = [
        (keys[far], f"rev_{edge_type}" if is_source else edge_type, keys[placed])
        for edge_type, is_source, far in links.relations
    ]
    return MessageGraph(
        keys[placed], {key: int(found.num_nodes) for key, found in nodes.items()}, text,
        {key: rows for key, rows in start.items() if key in nodes}, edges,
        tuple(name if name in edges else None for name in towards),
    )  # fmt: skip


def _to_key(node_type: str) -> str:
    """The node type as torch's modules can have it: without dots, and not one of their own attributes."""
    return f"{node_type}/" if hasattr(nn.ModuleDict(), node_type) else node_type.replace(".", "/")


@dataclass(frozen=True)
class Architecture:
    """The shape of a network's layers.

    Attributes:
        encoder: "sage", "hgt", "lightgcn" or "elsa", whose layers add means and whose last one has a weight for each
            relation.
        placed: the node type that is placed.
        node_types, edge_types: those of the graph.
        relations: see `MessageGraph`.
        layers, hidden, heads: see `NetworkConfig`.
    """

    encoder: str
    placed: str
    node_types: tuple[str, ...]
    edge_types: tuple[EdgeType, ...]
    relations: tuple[EdgeType | None, ...]
    layers: int
    hidden: int
    heads: int


class Layers(nn.Module):
    """The layers of message passing."""

    def __init__(self, architecture: Architecture) -> None:
        """Initialises the layers from torch's current random state."""
        from torch_geometric.nn import HeteroConv, HGTConv, LGConv, SAGEConv, SimpleConv

        super().__init__()
        self.encoder, self.edge_types = architecture.encoder, architecture.edge_types
        width, names = architecture.hidden, architecture.edge_types
        self.layers: Any = nn.ModuleList()
        for place in range(architecture.layers if names else 0):
            if self.encoder == "hgt":
                layer = HGTConv(width, width, (list(architecture.node_types), list(names)), architecture.heads)
            elif self.encoder == "sage":
                layer = HeteroConv({name: SAGEConv((width, width), width) for name in names}, aggr="sum")
            elif self.encoder == "lightgcn":
                layer = HeteroConv({name: LGConv(normalize=False) for name in names}, aggr="sum")
            elif place < architecture.layers - 1:
                layer = HeteroConv({name: SimpleConv(aggr="mean") for name in names}, aggr="sum")
            else:
                weighted = {name: SAGEConv((width, width), width, root_weight=False, bias=False) for name in names}
                layer = HeteroConv(weighted, aggr="sum")
            self.layers.append(layer)

    def pass_messages(
        self, layer: int, states: States, edges: Mapping[EdgeType, Tensor], degrees: Mapping[str, Tensor]
    ) -> States:
        """The states after one layer.

        Args:
            layer: its index.
            states: the states before it.
            edges: edge type -> (2, n) rows of sender and receiver.
            degrees: node type -> (n,) the number of messages each node receives.
        """
        edges = {name: edges[name] for name in self.edge_types if name in edges}  # HGTConv relies on this order
        if self.encoder == "lightgcn":
            weights = {
                name: (degrees[name[0]][ends[0]] * degrees[name[2]][ends[1]]).clamp(min=1).rsqrt()
                for name, ends in edges.items()
            }
            found = self.layers[layer](states, edges, edge_weight_dict=weights)
        else:
            found = self.layers[layer](states, edges)
        if self.encoder == "sage":
            found = {name: nn.functional.gelu(state) for name, state in found.items()}
        elif self.encoder == "elsa" and layer < len(self.layers) - 1:
            found = {name: states[name] + state for name, state in found.items()}
        return {**states, **{name: state for name, state in found.items() if state is not None}}


class Network(nn.Module):
    """The first states and the layers."""

    def __init__(self, graph: MessageGraph, dim: int, encoder: str, config: NetworkConfig) -> None:
        """Initialises the parts from torch's current random state; `dim` is the width of the backbone's vectors."""
        from torch_geometric.nn import HeteroDictLinear

        super().__init__()
        self.dropout = config.dropout
        self.architecture = Architecture(
            encoder, graph.placed, tuple(graph.n_nodes), tuple(graph.edges), graph.relations,
            config.layers, config.hidden, config.heads,
        )  # fmt: skip
        self.text: Any = HeteroDictLinear({name: x.shape[1] for name, x in graph.text.items()}, config.hidden)
        self.vector = nn.Linear(dim, config.hidden, bias=False)
        self.embeddings: Any = nn.ParameterList(
            [
                _EMBEDDING_SCALE * torch.randn((0 if name in (graph.placed, *graph.vectors) else size, config.hidden))
                for name, size in graph.n_nodes.items()
            ]
        )
        self.layers = Layers(self.architecture)
        self.far_vector: Any = HeteroDictLinear({name: x.shape[1] for name, x in graph.vectors.items()}, config.hidden)

    def forward(self, graph: MessageGraph, vectors: Tensor, sends: Tensor) -> list[States]:
        """The states before each layer and after the last.

        Args:
            graph: the graph.
            vectors: (n_placed, dim), read where `sends`.
            sends: (n_placed,) bool, the placed nodes that are known.
        """
        edges, degrees = graph.messages(sends)
        states, far = self.text(graph.text), self.far_vector(graph.vectors)
        for name, embedding in zip(graph.n_nodes, self.embeddings, strict=True):
            own = self.vector(vectors * sends[:, None]) if name == graph.placed else far.get(name, embedding)
            states[name] = states[name] + own if name in states else own
        found = [states]
        for layer in range(len(self.layers.layers)):
            before = {
                name: nn.functional.dropout(state, self.dropout, self.training) for name, state in found[-1].items()
            }
            if layer == len(self.layers.layers) - 1:  # only the placed nodes' states are needed
                edges = {name: ends for name, ends in edges.items() if name[2] == graph.placed}
            found.append(self.layers.pass_messages(layer, before, edges, degrees))
        return found


@dataclass(frozen=True)
class GnnEncoder:
    """Places any item, or any user, in the backbone's space: its text and linked nodes' states go through the layers.

    Attributes:
        architecture: the shape of the layers.
        parameters: the layers' parameters by name.
        relation: (n_codes,) int64, each link feature's relation.
        sends: (n_codes,) bool: whether a link feature's node sends messages.
        degree: (n_codes,) float32: the number of messages that the node receives.
        tables: (n_layers, n_codes, hidden) float32: the states of the node before each layer.
        input_weight: (text_dim, hidden) float32; input_bias: (hidden,): a placed node's first state.
        bias: (dim,) float32; text_mean: (text_dim,); text_weight: (text_dim, dim).
        state_weight: (n_layers, hidden, dim) float32.
    """

    architecture: Architecture
    parameters: Mapping[str, Tensor]
    relation: NDArray[np.int64]
    sends: NDArray[np.bool_]
    degree: NDArray[np.float32]
    tables: NDArray[np.float32]
    input_weight: NDArray[np.float32]
    input_bias: NDArray[np.float32]
    bias: NDArray[np.float32]
    text_mean: NDArray[np.float32]
    text_weight: NDArray[np.float32]
    state_weight: NDArray[np.float32]

    @cached_property
    def _layers(self) -> Layers:
        layers = Layers(self.architecture)
        layers.load_state_dict(dict(self.parameters))
        return layers.eval()

    def place(
        self, text: NDArray[np.float32] | None, codes: NDArray[np.int64], vectors: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """The vector of one node; see `ItemEncoder`. Messages come from texts: vector columns are not read."""
        one = csr_array((np.ones(len(codes), np.float32), codes, [0, len(codes)]), shape=(1, len(self.relation)))
        found: NDArray[np.float32] = self.place_all(None if text is None else text[None], one)[0]
        return found

    def place_all(self, text: NDArray[np.float32] | None, incidence: csr_array) -> NDArray[np.float32]:
        """The vectors of many nodes; see `ItemEncoder`."""
        n, found = incidence.shape[0], np.zeros((incidence.shape[0], len(self.bias)), np.float32)
        starts = np.flatnonzero(np.diff(incidence.indptr[:-1] // _BLOCK_LINKS, prepend=-1))
        for start, end in pairwise([*starts.tolist(), n]):
            rows = slice(start, end)
            found[rows] = self._place_block(None if text is None else text[rows], incidence[rows])
        return found

    def _place_block(self, text: NDArray[np.float32] | None, incidence: csr_array) -> NDArray[np.float32]:
        placed_type, n = self.architecture.placed, incidence.shape[0]
        owner, codes = np.repeat(np.arange(n), np.diff(incidence.indptr)), incidence.indices
        owner, codes = owner[self.sends[codes]], codes[self.sends[codes]]
        state, placed = np.tile(self.input_bias, (n, 1)), np.tile(self.bias, (n, 1))
        if text is not None and len(self.text_mean):
            state += text @ self.input_weight
            placed += np.where(text.any(axis=1, keepdims=True), text - self.text_mean, 0) @ self.text_weight
        senders: dict[str, list[NDArray[np.int64]]] = {placed_type: []}  # node type -> link features
        edges = {}
        for place, name in enumerate(self.architecture.relations):
            if name is None:
                continue
            mine, before = self.relation[codes] == place, senders.setdefault(name[0], [])
            own, sender = np.unique(codes[mine], return_inverse=True)
            first = sum(map(len, before)) + (n if name[0] == placed_type else 0)  # the placed nodes come first
            edges[name] = torch.from_numpy(np.stack([first + sender, owner[mine]]))
            before.append(own)
        of_type = {name: np.concatenate([np.zeros(0, np.int64), *own]) for name, own in senders.items()}

        def gather(table: NDArray[np.float32], own: NDArray[np.float32]) -> dict[str, Tensor]:
            return {
                name: torch.from_numpy(np.concatenate([own, table[rows]]) if name == placed_type else table[rows])
                for name, rows in of_type.items()
            }

        with torch.inference_mode():
            degrees = gather(self.degree, np.bincount(owner, minlength=n).astype(np.float32))
            for layer, table in enumerate(self.tables):
                states = self._layers.pass_messages(layer, gather(table, state), edges, degrees)
                state = states[placed_type][:n].numpy()
                placed += state @ self.state_weight[layer]
        return placed


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and its output for the catalogue.

    Attributes:
        network: the network.
        graph: the graph that it passes messages over.
        vectors: (n_placed, dim) float32, the backbone's vectors as the network reads them; for "elsa", the residuals.
        known: (n_placed,) bool, the placed nodes with a vector.
        channels: the placed nodes' texts and states, a block for each layer; a known node's states are computed without
            its own backbone vector.
        steps: the number of gradient steps, chosen on held-out nodes.
        held_out_loss: the loss on these, relative to that of the mean vector (for "elsa", see `cosine_loss`); None:
            there were too few.
    """

    network: Network
    graph: MessageGraph
    vectors: NDArray[np.float32]
    known: NDArray[np.bool_]
    channels: list[Channel]
    steps: int
    held_out_loss: float | None

    def to_encoder(self, links: NodeLinks, problem: RidgeProblem, settings: PriorSettings) -> GnnEncoder:
        """The encoder, with the ridge fitted to the channels."""
        network, graph = self.network, self.graph
        sends = torch.from_numpy(self.known).to(network.vector.weight.device)
        with torch.inference_mode():
            states = network.eval()(graph, torch.from_numpy(self.vectors).to(sends.device), sends)
            _, degrees = graph.messages(sends)
        n_codes, placed, hidden = len(links.relation), graph.placed, network.architecture.hidden
        tables = np.zeros((len(states) - 1, n_codes, hidden), np.float32)
        degree, heard = np.zeros(n_codes, np.float32), np.zeros(n_codes, np.bool_)
        for place, name in enumerate(graph.relations):
            codes = np.flatnonzero(links.relation == place)
            if name is None:
                continue
            rows = links.node[codes]
            heard[codes] = self.known[rows] if name[0] == placed else True
            degree[codes] = degrees[name[0]].cpu().numpy()[rows]
            for layer, table in enumerate(tables):
                table[codes] = states[layer][name[0]].detach().cpu().numpy()[rows]
        readout = _unfold(self.channels, problem, settings)
        input_weight, input_bias = np.zeros((0, hidden), np.float32), np.zeros(hidden, np.float32)
        if placed in graph.text:
            linear = network.text.lins[placed]
            input_weight, input_bias = (part.detach().cpu().numpy().copy() for part in (linear.weight.T, linear.bias))
        parameters = {name: value.detach().cpu().clone() for name, value in network.layers.state_dict().items()}
        bias = problem.mean - np.einsum("lh,lhd->d", readout.state_mean, readout.state_weight)
        return GnnEncoder(
            network.architecture, parameters, links.relation, heard, degree, tables, input_weight, input_bias,
            bias.astype(np.float32), readout.text_mean, readout.text_weight, readout.state_weight,
        )  # fmt: skip


@dataclass(frozen=True)
class _Readout:
    """The ridge as it reads raw texts and states: mean + (text - text_mean) text_weight + the same for each layer.

    Attributes:
        of_text: (n_placed, dim): the mean plus the contribution of the nodes' texts.
        text_mean: (text_dim,); text_weight: (text_dim, dim).
        state_mean: (n_layers, hidden); state_weight: (n_layers, hidden, dim).
    """

    of_text: NDArray[np.float32]
    text_mean: NDArray[np.float32]
    text_weight: NDArray[np.float32]
    state_mean: NDArray[np.float32]
    state_weight: NDArray[np.float32]


def _unfold(channels: Sequence[Channel], problem: RidgeProblem, settings: PriorSettings) -> _Readout:
    weights, start, dim = problem.solve(settings), 0, len(problem.mean)
    of_text = np.tile(problem.mean, (len(problem.features), 1))
    text_mean, text_weight = np.zeros(0, np.float32), np.zeros((0, dim), np.float32)
    means: list[NDArray[np.float32]] = []
    onto: list[NDArray[np.float32]] = []
    for channel in channels:
        own = weights[start : start + channel.features.shape[1]]
        start += len(own)
        if channel.name == TEXT:
            of_text += channel.features @ own
            text_mean, text_weight = channel.mean, channel.basis @ own
        else:
            means.append(channel.mean)
            onto.append(channel.basis @ own)
    if not means:  # without relations there are no layers
        return _Readout(
            of_text, text_mean, text_weight, np.zeros((0, 0), np.float32), np.zeros((0, 0, dim), np.float32)
        )
    return _Readout(of_text, text_mean, text_weight, np.stack(means), np.stack(onto))


def train_network(
    encoder: str,
    data: HeteroData,
    schema: CatalogueSchema,
    links: NodeLinks,
    vectors: NDArray[np.float32],
    weights: NDArray[np.float32],
    gram: NDArray[np.float32],
    config: NetworkConfig,
    *,
    seed: int,
    device: str = "cpu",
    far_vectors: Mapping[str, NDArray[np.float32]] | None = None,
) -> TrainedNetwork:
    """Trains message passing towards the backbone's vectors of items, or of users.

    In each step a random part of the known nodes is hidden and predicted (masked label prediction, Shi et al. 2021).
    The loss is the weighted mean of e' C e, e the error and C the Gram matrix of the other side, users or items: the
    squared error of the scores. The readout is the ridge, solved again every twenty steps; the layers below it follow
    the gradient. Held-out nodes decide at which step to stop.

    Args:
        encoder: "sage", "hgt" or "lightgcn".
        data: the heterograph, with text vectors as `x` and `has_text` masks.
        schema: the catalogue's schema.
        links: from `build_item_links`, or of users from `build_user_links`.
        vectors: (n_placed, dim) float32 backbone vectors.
        weights: (n_placed,) float32, the confidence in each vector; 0: the node is unknown.
        gram: (dim, dim) float32, W'W / n_users, or Z'Z / n_items for users.
        config: widths and settings.
        seed: the seed of all random draws.
        device: the device to compute on.
        far_vectors: for users: node type -> (n_nodes, dim) float32 backbone vectors times their weights, from which
            nodes of other types start. None: items are placed.
    """
    placed, known = schema.item_type if far_vectors is None else schema.user_type, weights > 0
    others = {
        name: _to_messages(rows, np.asarray(rows.any(axis=1), np.float32))
        for name, rows in (far_vectors or {}).items()
        if name != placed
    }
    graph = build_message_graph(data, schema, placed, links, device, others)
    text = text_channel(data, placed, known) if graph.placed in graph.text else None
    mean = np.average(vectors, axis=0, weights=weights).astype(np.float32)
    unit = _loss(np.where(known[:, None], vectors - mean, 0).astype(np.float32), weights, gram)
    messages = _to_messages(vectors, weights)
    held = hold_out(known, np.random.default_rng(seed))
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        network = Network(graph, vectors.shape[1], encoder, config).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        inputs, targets, trust, metric = (
            torch.from_numpy(part).to(device) for part in (messages, vectors, weights, gram / max(unit, 1e-12))
        )
        kept, readout = torch.from_numpy(known & ~held).to(device), PriorSettings(config.readout_regularisation, {})
        best, steps, least = copy.deepcopy(network.state_dict()), 0, np.inf
        for step in range(config.steps + 1 if held.any() and graph.edges else 0):
            if step % _EVERY == 0 or step == config.steps:
                channels = read_channels(network, graph, messages, known & ~held, text)
                problem = build_ridge_problem(channels, vectors, np.where(held, 0, weights))
                errors = np.where(held[:, None], problem.predict(readout) - vectors, 0)
                lost = _loss(errors, weights * held, gram) / max(unit, 1e-12)
                if lost < least:
                    best, steps, least = copy.deepcopy(network.state_dict()), step, lost
                if step == config.steps or step - steps >= _PATIENCE * _EVERY:
                    break
                unfolded = _unfold(channels, problem, readout)
                of_text, state_mean, state_weight = (
                    torch.from_numpy(part).to(device)
                    for part in (unfolded.of_text, unfolded.state_mean.ravel(), np.concatenate(unfolded.state_weight))
                )
                network.train()
            hidden = kept & (torch.rand(len(kept), device=device) < config.hide)
            states = network(graph, inputs, kept & ~hidden)[1:]
            read = torch.cat([state[graph.placed][hidden] for state in states], dim=1) - state_mean
            error = of_text[hidden] + nn.functional.dropout(read, config.dropout) @ state_weight - targets[hidden]
            loss = (trust[hidden] * ((error @ metric) * error).sum(dim=1)).sum() / trust[hidden].sum().clamp(min=1e-9)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        network.load_state_dict(best)
        channels = read_channels(network, graph, messages, known, text)
    return TrainedNetwork(network, graph, messages, known, channels, steps, None if least == np.inf else float(least))


def _to_messages(vectors: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centred vectors of unit size times their weights: nodes with little evidence send weak messages."""
    if not weights.any():
        return np.zeros_like(vectors)
    mean = np.average(vectors, axis=0, weights=weights).astype(np.float32)
    centred = np.where(weights[:, None] > 0, vectors - mean, 0).astype(np.float32)
    scale = float(np.sqrt(np.average((centred**2).mean(axis=1), weights=weights))) or 1.0
    found: NDArray[np.float32] = centred / np.float32(scale) * weights[:, None]
    return found


def hold_out(known: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draws the known nodes for early stopping, (n,) bool; none if there are too few."""
    rows, held = np.flatnonzero(known), np.zeros(len(known), np.bool_)
    n_held = int(len(rows) * _HELD_OUT)
    if n_held >= _LEAST_HELD_OUT:
        held[rng.choice(rows, n_held, replace=False)] = True
    return held


def _loss(errors: NDArray[np.float32], weights: NDArray[np.float32], gram: NDArray[np.float32]) -> float:
    each = ((errors @ gram) * errors).sum(axis=1)
    return float((weights * each).sum() / max(float(weights.sum()), 1e-9))


@torch.no_grad()
def read_channels(
    network: Network,
    graph: MessageGraph,
    vectors: NDArray[np.float32],
    known: NDArray[np.bool_],
    text: Channel | None,
) -> list[Channel]:
    """The placed nodes' texts and their states after each layer; a known node's own fold sends no messages."""
    device = network.vector.weight.device
    network.eval()

    def read(sends: NDArray[np.bool_]) -> NDArray[np.float32]:
        states = network(graph, torch.from_numpy(vectors).to(device), torch.from_numpy(sends).to(device))[1:]
        found = [state[graph.placed].cpu().numpy() for state in states]
        return np.stack(found) if found else np.zeros((0, len(known), 0), np.float32)

    blocks, rows = read(known), np.flatnonzero(known)
    for fold in range(_FOLDS if len(blocks) and len(rows) > _FOLDS else 0):
        mine = np.zeros(len(known), np.bool_)
        mine[rows[fold::_FOLDS]] = True
        blocks[:, mine] = read(known & ~mine)[:, mine]
    everything, channels = np.ones(len(known), np.bool_), [] if text is None else [text]
    for block in blocks:
        identity = np.eye(block.shape[1], dtype=np.float32)
        channels.append(standardise(STATES, block, everything, known, identity, scale=len(blocks) ** -0.5))
    return channels
