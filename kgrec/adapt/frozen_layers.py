"""The states of texts above the frozen layers: they never change, so no step computes them again."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from kgrec.language.tuned_weights import list_layers
from kgrec.text.language_model import LanguageModel

_MOST_BYTES = 1 << 30
_SAME = 1e-3  # the largest change of a vector's entry when its states are taken from here


@dataclass(frozen=True)
class FrozenStates:
    """The states of some texts above the frozen layers.

    Attributes:
        layers: the frozen ones of the network.
        states: (tokens, width) of each text, without gradients.
    """

    layers: Sequence[nn.Module]
    states: Sequence[Tensor]

    def select(self, texts: Iterable[int]) -> "FrozenStates":
        """Those of some texts, in this order."""
        return replace(self, states=[self.states[text] for text in texts])

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """While it is open, the network embeds exactly these texts, and skips the frozen layers."""
        padded = nn.utils.rnn.pad_sequence(list(self.states), batch_first=True)
        for layer in self.layers:
            layer.__dict__["forward"] = lambda *_, **__: padded
        try:
            yield
        finally:
            for layer in self.layers:
                del layer.__dict__["forward"]


def compute_frozen_states(
    model: LanguageModel, tokens: Sequence[list[int]], chunks: Sequence[Iterable[int]]
) -> FrozenStates | None:
    """Computes the states of texts above the frozen layers.

    Args:
        model: the language model; its network is the tuned one.
        tokens: of each text.
        chunks: the places in `tokens` that are computed together; the states of others stay empty.

    Returns:
        The states; None where the first layer is not frozen, where they would take more than a gigabyte, or where the
        network gives other vectors with them.
    """
    layers = _find_frozen_layers(model.network)
    if not layers:
        return None
    states: list[Tensor] = [torch.empty(0)] * len(tokens)
    n_tokens = sum(len(tokens[place]) for chunk in chunks for place in chunk)
    with torch.no_grad():
        for number, chunk in enumerate(chunks):
            texts = [tokens[place] for place in chunk]
            vectors, computed = _watch(layers[-1], model, texts)
            if computed is None or n_tokens * computed.shape[-1] * computed.element_size() > _MOST_BYTES:
                return None
            for place, row in zip(chunk, computed, strict=True):
                states[place] = row[: len(tokens[place])].clone()
            if number == 0:
                with FrozenStates(layers, states).select(chunk).standing_in():
                    apart = float((model.embed(texts) - vectors).abs().max())
                if not apart <= _SAME:
                    return None
    return FrozenStates(layers, states)


def _find_frozen_layers(network: nn.Module) -> list[nn.Module]:
    """The layers below the first tuned one; none where weights outside the layers are tuned."""
    layers = list_layers(network)
    tuned = [sum(weight.requires_grad for weight in layer.parameters()) for layer in layers]
    elsewhere = sum(weight.requires_grad for weight in network.parameters()) - sum(tuned)
    return [] if elsewhere else layers[: next((place for place, count in enumerate(tuned) if count), 0)]


def _watch(layer: nn.Module, model: LanguageModel, texts: list[list[int]]) -> tuple[Tensor, Tensor | None]:
    """The vectors of texts, and a layer's output; None where that is no (texts, tokens, width) tensor."""
    seen: list[object] = []
    hook = layer.register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        vectors = model.embed(texts)
    finally:
        hook.remove()
    output = seen[0] if len(seen) == 1 else None
    return vectors, output if isinstance(output, Tensor) and output.dim() == 3 else None  # noqa: PLR2004
