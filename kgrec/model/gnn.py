"""Item encoders by message passing over the catalogue, trained end to end with PyG's layers.

GraphSAGE (Hamilton et al. 2017) and LightGCN (He et al. 2020) for each relation, or the heterogeneous graph transformer
(Hu et al. 2020). A node's first state comes from its text and an embedding, an item's from its text and, if it is
known, its backbone vector; messages pass along links in both directions. The prior's ridge reads the items' texts and
states like the channels of `propagate`.

An item that is unknown, or hidden in training, sends no messages: so an unknown item of the training graph is placed
like an item that is added later.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from graph_schema import CatalogueSchema
from kgrec.config import NetworkConfig
from kgrec.graph.propagation import TEXT, Channel, NodeLinks, standardise, text_channel
from kgrec.model.prior import PriorSettings, RidgeProblem, build_ridge_problem

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

EdgeType = tuple[str, str, str]
States = dict[str, Tensor]  # node type -> (n_nodes, hidden)

STATES = "states"
_HELD_OUT = 0.1  # share of the known items, for early stopping
_LEAST_HELD_OUT = 5  # items; fewer are too few for early stopping
_FOLDS = 5
_EVERY = 20  # steps between validations on the held-out items
_PATIENCE = 2  # validations without a gain
_EMBEDDING_SCALE = 0.02


@dataclass(frozen=True)
class MessageGraph:
    """The edges that carry messages; users and their links are left out.

    Attributes:
        item_type: the items' node type.
        n_nodes: node type -> its number of nodes.
        text: node type -> (n, text_dim) float32, zeros for a node without a text; types with texts only.
        edges: edge type -> (2, n) int64, rows of sender and receiver; each relation in both directions.
        relations: the edge type, towards the items, of each of `NodeLinks.relations`; None for one left out.
    """

    item_type: str
    n_nodes: dict[str, int]
    text: dict[str, Tensor]
    edges: dict[EdgeType, Tensor]
    relations: tuple[EdgeType | None, ...]

    def messages(self, sends: Tensor) -> tuple[dict[EdgeType, Tensor], dict[str, Tensor]]:
        """The edges with messages if only the items in `sends`, (n_items,) bool, send, and each receiver's number."""
        edges = {
            name: ends[:, sends[ends[0]]] if name[0] == self.item_type else ends for name, ends in self.edges.items()
        }
        degrees = {name: torch.zeros(size, device=sends.device) for name, size in self.n_nodes.items()}
        for name, ends in edges.items():
            degrees[name[2]] += torch.bincount(ends[1], minlength=self.n_nodes[name[2]])
        return edges, degrees


def build_message_graph(data: HeteroData, schema: CatalogueSchema, links: NodeLinks, device: str) -> MessageGraph:
    """Builds the graph of items, the nodes linked to them, and the nodes linked to those.

    Args:
        data: the heterograph, with text vectors as `x` and `has_text` masks.
        schema: the catalogue's schema.
        links: from `build_item_links`.
        device: the device that holds it.
    """
    edges: dict[EdgeType, Tensor] = {}
    for edge_type, edge in schema.graph_edges.items():
        ends = data[schema.edge_triple(edge_type)].edge_index.unique(dim=1).to(device)
        if schema.user_type not in (edge.source, edge.target) and ends.shape[1]:
            edges[edge.source, edge_type, edge.target] = ends
            edges[edge.target, f"rev_{edge_type}", edge.source] = ends.flip(0)
    item_type = schema.item_type
    n_nodes = {name: int(data[name].num_nodes) for name in dict.fromkeys([item_type, *(name[0] for name in edges)])}
    text = {
        name: torch.where(data[name].has_text[:, None], data[name].x, 0.0).to(device)
        for name in n_nodes
        if "x" in data[name] and data[name].x.shape[1]
    }
    towards = [
        (far, f"rev_{edge_type}" if is_source else edge_type, item_type)
        for edge_type, is_source, far in links.relations
    ]
    return MessageGraph(item_type, n_nodes, text, edges, tuple(name if name in edges else None for name in towards))


@dataclass(frozen=True)
class Architecture:
    """The shape of a network's layers.

    Attributes:
        encoder: "sage", "hgt", "lightgcn" or "elsa", whose layers add means and whose last one has a weight for each
            relation.
        item_type: the items' node type.
        node_types, edge_types: those of the graph.
        relations: see `MessageGraph`.
        layers, hidden, heads: see `NetworkConfig`.
    """

    encoder: str
    item_type: str
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
            encoder, graph.item_type, tuple(graph.n_nodes), tuple(graph.edges), graph.relations,
            config.layers, config.hidden, config.heads,
        )  # fmt: skip
        self.text: Any = HeteroDictLinear({name: x.shape[1] for name, x in graph.text.items()}, config.hidden)
        self.vector = nn.Linear(dim, config.hidden, bias=False)
        self.embeddings: Any = nn.ParameterList(
            [
                _EMBEDDING_SCALE * torch.randn((0 if name == graph.item_type else size, config.hidden))
                for name, size in graph.n_nodes.items()
            ]
        )
        self.layers = Layers(self.architecture)

    def forward(self, graph: MessageGraph, vectors: Tensor, sends: Tensor) -> list[States]:
        """The states before each layer and after the last.

        Args:
            graph: the graph.
            vectors: (n_items, dim), read where `sends`.
            sends: (n_items,) bool, the items that are known.
        """
        edges, degrees = graph.messages(sends)
        states = self.text(graph.text)
        for name, embedding in zip(graph.n_nodes, self.embeddings, strict=True):
            own = self.vector(vectors * sends[:, None]) if name == graph.item_type else embedding
            states[name] = states[name] + own if name in states else own
        found = [states]
        for layer in range(len(self.layers.layers)):
            before = {
                name: nn.functional.dropout(state, self.dropout, self.training) for name, state in found[-1].items()
            }
            if layer == len(self.layers.layers) - 1:  # only item states are needed
                edges = {name: ends for name, ends in edges.items() if name[2] == graph.item_type}
            found.append(self.layers.pass_messages(layer, before, edges, degrees))
        return found


@dataclass(frozen=True)
class GnnEncoder:
    """Places any item in the backbone's space: its text and the states of linked nodes go through the layers.

    Attributes:
        architecture: the shape of the layers.
        parameters: the layers' parameters by name.
        relation: (n_codes,) int64, each link feature's relation.
        sends: (n_codes,) bool: whether a link feature's node sends messages.
        degree: (n_codes,) float32: the number of messages that the node receives.
        tables: (n_layers, n_codes, hidden) float32: the states of the node before each layer.
        input_weight: (text_dim, hidden) float32; input_bias: (hidden,): an item's first state.
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
        """The vector of one item; see `ItemEncoder`. Messages come from texts: vector columns are not read."""
        item = self.architecture.item_type
        codes = codes[self.sends[codes]]
        first, placed = self.input_bias, self.bias.copy()
        if text is not None and len(self.text_mean):
            first = first + text @ self.input_weight
            placed += (text - self.text_mean) @ self.text_weight
        senders: dict[str, list[NDArray[np.int64]]] = {item: []}  # node type -> link features; row 0 is the item
        edges = {}
        for place, name in enumerate(self.architecture.relations):
            if name is None:
                continue
            own, before = codes[self.relation[codes] == place], senders.setdefault(name[0], [])
            start = sum(map(len, before)) + (name[0] == item)
            edges[name] = torch.stack([torch.arange(start, start + len(own)), torch.zeros(len(own), dtype=torch.long)])
            before.append(own)
        of_type = {name: np.concatenate([np.zeros(0, np.int64), *own]) for name, own in senders.items()}

        def gather(table: NDArray[np.float32], own: NDArray[np.float32]) -> dict[str, Tensor]:
            return {
                name: torch.from_numpy(np.concatenate([own[None], table[rows]]) if name == item else table[rows])
                for name, rows in of_type.items()
            }

        state = first.astype(np.float32)
        with torch.inference_mode():
            degrees = gather(self.degree, np.float32(len(codes)))  # type: ignore[arg-type]
            for layer, table in enumerate(self.tables):
                states = self._layers.pass_messages(layer, gather(table, state), edges, degrees)
                state = states[item][0].numpy()
                placed += state @ self.state_weight[layer]
        return placed

    def place_all(self, text: NDArray[np.float32] | None, incidence: csr_array) -> NDArray[np.float32]:
        """The vectors of many nodes; see `ItemEncoder`."""
        bounds = list(zip(incidence.indptr[:-1].tolist(), incidence.indptr[1:].tolist(), strict=True))
        found = np.zeros((len(bounds), len(self.bias)), np.float32)
        for row, (start, end) in enumerate(bounds):
            own = text[row] if text is not None and text[row].any() else None
            found[row] = self.place(own, incidence.indices[start:end].astype(np.int64))
        return found


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and its output for the catalogue.

    Attributes:
        network: the network.
        graph: the graph that it passes messages over.
        vectors: (n_items, dim) float32, the backbone's vectors as the network reads them; for "elsa", the residuals.
        known: (n_items,) bool, the items with a vector.
        channels: the items' texts and states, a block for each layer; a known item's states are computed without its
            own backbone vector.
        steps: the number of gradient steps, chosen on held-out items.
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
        n_codes, item, hidden = len(links.relation), graph.item_type, network.architecture.hidden
        tables = np.zeros((len(states) - 1, n_codes, hidden), np.float32)
        degree, heard = np.zeros(n_codes, np.float32), np.zeros(n_codes, np.bool_)
        for place, name in enumerate(graph.relations):
            codes = np.flatnonzero(links.relation == place)
            if name is None:
                continue
            rows = links.node[codes]
            heard[codes] = self.known[rows] if name[0] == item else True
            degree[codes] = degrees[name[0]].cpu().numpy()[rows]
            for layer, table in enumerate(tables):
                table[codes] = states[layer][name[0]].detach().cpu().numpy()[rows]
        readout = _unfold(self.channels, problem, settings)
        input_weight, input_bias = np.zeros((0, hidden), np.float32), np.zeros(hidden, np.float32)
        if item in graph.text:
            linear = network.text.lins[item]
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
        of_text: (n_items, dim): the mean plus the contribution of the items' texts.
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
    item_vectors: NDArray[np.float32],
    item_weights: NDArray[np.float32],
    user_gram: NDArray[np.float32],
    config: NetworkConfig,
    *,
    seed: int,
    device: str = "cpu",
) -> TrainedNetwork:
    """Trains message passing towards the backbone's item vectors.

    In each step a random part of the known items is hidden and predicted (masked label prediction, Shi et al. 2021).
    The loss is the weighted mean of e' C e, e the error and C the users' Gram matrix: the squared error of the scores
    that users would give. The readout is the ridge, solved again every twenty steps; the layers below it follow the
    gradient. Held-out items decide at which step to stop.

    Args:
        encoder: "sage", "hgt" or "lightgcn".
        data: the heterograph, with text vectors as `x` and `has_text` masks.
        schema: the catalogue's schema.
        links: from `build_item_links`.
        item_vectors: (n_items, dim) float32 backbone vectors.
        item_weights: (n_items,) float32, the confidence in each vector; 0: the item is unknown.
        user_gram: (dim, dim) float32, W'W / n_users.
        config: widths and settings.
        seed: the seed of all random draws.
        device: the device to compute on.
    """
    graph, known = build_message_graph(data, schema, links, device), item_weights > 0
    text = text_channel(data, schema.item_type, known) if graph.item_type in graph.text else None
    mean = np.average(item_vectors, axis=0, weights=item_weights).astype(np.float32)
    centred = np.where(known[:, None], item_vectors - mean, 0).astype(np.float32)
    unit = _loss(centred, item_weights, user_gram)
    scale = float(np.sqrt(np.average((centred**2).mean(axis=1), weights=item_weights))) or 1.0
    messages = centred / np.float32(scale) * item_weights[:, None]  # items with little evidence send weak messages
    held = hold_out(known, np.random.default_rng(seed))
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        network = Network(graph, item_vectors.shape[1], encoder, config).to(device)
        optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        inputs, targets, weights, gram = (
            torch.from_numpy(part).to(device)
            for part in (messages, item_vectors, item_weights, user_gram / max(unit, 1e-12))
        )
        kept, readout = torch.from_numpy(known & ~held).to(device), PriorSettings(config.readout_regularisation, {})
        best, steps, least = copy.deepcopy(network.state_dict()), 0, np.inf
        for step in range(config.steps + 1 if held.any() and graph.edges else 0):
            if step % _EVERY == 0 or step == config.steps:
                channels = read_channels(network, graph, messages, known & ~held, text)
                problem = build_ridge_problem(channels, item_vectors, np.where(held, 0, item_weights))
                errors = np.where(held[:, None], problem.predict(readout) - item_vectors, 0)
                lost = _loss(errors, item_weights * held, user_gram) / max(unit, 1e-12)
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
            read = torch.cat([state[graph.item_type][hidden] for state in states], dim=1) - state_mean
            error = of_text[hidden] + nn.functional.dropout(read, config.dropout) @ state_weight - targets[hidden]
            loss = (weights[hidden] * ((error @ gram) * error).sum(dim=1)).sum() / weights[hidden].sum().clamp(min=1e-9)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        network.load_state_dict(best)
        channels = read_channels(network, graph, messages, known, text)
    return TrainedNetwork(network, graph, messages, known, channels, steps, None if least == np.inf else float(least))


def hold_out(known: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draws the known items for early stopping, (n_items,) bool; none if there are too few."""
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
    """The items' texts and their states after each layer; a known item's own fold sends no messages."""
    device = network.vector.weight.device
    network.eval()

    def read(sends: NDArray[np.bool_]) -> NDArray[np.float32]:
        states = network(graph, torch.from_numpy(vectors).to(device), torch.from_numpy(sends).to(device))[1:]
        found = [state[graph.item_type].cpu().numpy() for state in states]
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
