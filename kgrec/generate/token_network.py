"""The network: a decoder-only transformer reads a user's items, a small head writes the next item token by token.

One position is one item, not one token, so a sequence is a fifth as long, and a user's state is computed once for all
beams (Lee et al. 2022, RQ-Transformer; Rajput et al. 2023 for the ids). A token's score is a product of the head's
output with the token's vector, which is learned plus the projected centroid of its code, plus how near the centroid
comes to the user's last items, less what the tokens so far explain of these. So a code that no training item has after
some prefix is scored by what it means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec.generate.semantic_ids import SemanticIds

_SPREAD = 0.02  # of initial weights
_FADES = 0.6  # an item's weight in the mean of the last items, relative to the next one's
_NEARNESS = 3.0  # the initial weight of nearness


@dataclass(frozen=True)
class NetworkShape:
    """The sizes of a network.

    Attributes:
        sizes: the number of tokens of each level.
        vector_dim: the width of item vectors.
        width: the width of states.
        layers: of the transformer.
        heads: of its attention.
        head_layers: of the head.
        most_items: the longest sequence; of longer ones the last items are read.
        dropout: while training.
    """

    sizes: tuple[int, ...]
    vector_dim: int
    width: int
    layers: int
    heads: int
    head_layers: int
    most_items: int
    dropout: float


class TokenNetwork(nn.Module):
    """Scores the next token of the next item.

    Args:
        shape: the sizes.
        codebooks: as in `SemanticIds`; they are not trained.
    """

    def __init__(self, shape: NetworkShape, codebooks: Sequence[Tensor]) -> None:
        super().__init__()
        from transformers import LlamaConfig, LlamaModel

        self.shape = shape
        width = shape.width
        config = LlamaConfig(
            vocab_size=1,  # items are read as vectors
            bos_token_id=None,
            eos_token_id=None,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.most_items + 1,
        )
        config._attn_implementation = "sdpa"
        self.reader = LlamaModel(config)
        layers: Any = self.reader.layers
        for layer in layers:  # Llama has no dropout but in attention
            layer.self_attn.o_proj = nn.Sequential(layer.self_attn.o_proj, nn.Dropout(shape.dropout))
            layer.mlp.down_proj = nn.Sequential(layer.mlp.down_proj, nn.Dropout(shape.dropout))
        self.begin = nn.Parameter(torch.randn(width) * _SPREAD)
        self.read_tokens = nn.ModuleList(nn.Embedding(size, width) for size in shape.sizes)
        self.read_vector = nn.Linear(shape.vector_dim, width, bias=False)
        self.read_norm = nn.RMSNorm(width)
        self.write_tokens = nn.ModuleList(nn.Embedding(size, width) for size in shape.sizes)
        self.write_centroid = nn.ModuleList(nn.Linear(shape.vector_dim, width, bias=False) for _ in codebooks)
        self.prefix_tokens = nn.ModuleList(nn.Embedding(size, width) for size in shape.sizes[:-1])
        self.level = nn.Embedding(len(shape.sizes), width)
        self.head = nn.ModuleList(_HeadLayer(width, shape.dropout) for _ in range(shape.head_layers))
        self.head_norm = nn.RMSNorm(width)
        self.nearness = nn.Linear(width, len(codebooks))
        nn.init.zeros_(self.nearness.weight)
        nn.init.constant_(self.nearness.bias, _NEARNESS)
        self.dropout = nn.Dropout(shape.dropout)
        for level, codebook in enumerate(codebooks):
            self.register_buffer(f"codebook_{level}", codebook)
        for table in [*self.read_tokens, *self.write_tokens, *self.prefix_tokens, self.level]:
            nn.init.normal_(table.weight, std=_SPREAD)
        for linear in [self.read_vector, *self.write_centroid]:
            nn.init.normal_(linear.weight, std=width**-0.5)

    def read_items(self, tokens: Tensor, vectors: Tensor, shows_tokens: Tensor | None = None) -> Tensor:
        """(..., width) float32: what stands for an item in a sequence.

        Args:
            tokens: (..., levels + 1) int64.
            vectors: (..., vector_dim) float32.
            shows_tokens: (...,) float32, 0 where the vector alone is read; None: nowhere.
        """
        read = torch.stack([table(tokens[..., level]) for level, table in enumerate(self.read_tokens)]).sum(dim=0)
        read = read * self.shape.width**0.5
        if shows_tokens is not None:
            read = read * shows_tokens[..., None]
        items: Tensor = self.read_norm(read + self.read_vector(vectors))
        return items

    @property
    def state_dim(self) -> int:
        """The width of a state."""
        return self.shape.width + self.shape.vector_dim

    def read(self, items: Tensor, vectors: Tensor) -> Tensor:
        """(n_users, length + 1, state_dim): the state before the first item and after each item.

        A state is the transformer's output and the mean vector of the items so far, the last ones weighing most.

        Args:
            items: (n_users, length, width) from `read_items`; shorter sequences are filled up at the end.
            vectors: (n_users, length, vector_dim), the items' vectors.
        """
        begin = self.begin.expand(len(items), 1, -1) * self.shape.width**0.5
        states = self.reader(inputs_embeds=self.dropout(torch.cat([begin, items], 1)), use_cache=False)[0]
        places = torch.arange(vectors.shape[1] + 1, device=vectors.device)
        ages = places[:, None] - places[None, 1:]  # of each item at each state; below 0 it is yet to come
        weights = torch.where(ages >= 0, _FADES ** ages.clamp(min=0).float(), 0.0)
        means = (weights / weights.sum(dim=1, keepdim=True).clamp(min=1.0)) @ vectors
        return torch.cat([states, means], -1)

    def score(self, level: int, states: Tensor, prefixes: Tensor) -> Tensor:
        """(n, size) float32: the logits of the tokens of one level.

        Args:
            level: from 0.
            states: (n, state_dim) of users.
            prefixes: (n, level) int64: the tokens so far.
        """
        hidden, remaining = states[:, : self.shape.width], states[:, self.shape.width :]
        hidden = hidden + self.level.weight[level]
        for above in range(level):
            hidden = hidden + self.prefix_tokens[above](prefixes[:, above])
        for layer in self.head:
            hidden = layer(hidden)
        hidden = self.dropout(self.head_norm(hidden))
        tokens = self.write_tokens[level](torch.arange(self.shape.sizes[level], device=states.device))
        if level == len(self.write_centroid):  # a collision token means nothing
            return functional.linear(hidden, tokens)
        codebook = self.get_buffer(f"codebook_{level}")
        for above in range(level):
            remaining = remaining - self.get_buffer(f"codebook_{above}")[prefixes[:, above]]
        near = functional.linear(remaining, codebook, -0.5 * codebook.square().sum(dim=1))
        weight = functional.softplus(self.nearness(hidden)[:, level, None])
        return functional.linear(hidden, tokens + self.write_centroid[level](codebook)) + weight * near


class _HeadLayer(nn.Module):
    """A pre-norm residual SwiGLU."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        gate, value = self.up(self.norm(hidden)).chunk(2, dim=-1)
        changed: Tensor = hidden + self.dropout(self.down(functional.silu(gate) * value))
        return changed


def build_network(ids: SemanticIds, shape: NetworkShape) -> TokenNetwork:
    """A network with random weights for a catalogue's ids."""
    return TokenNetwork(shape, [torch.from_numpy(codebook) for codebook in ids.codebooks])
