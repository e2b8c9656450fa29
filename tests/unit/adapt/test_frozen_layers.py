"""Frozen layers can be skipped: vectors and gradients stay the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted_words import make_tiny_model
from torch import nn

from kgrec.adapt import frozen_layers
from kgrec.adapt.frozen_layers import compute_frozen_states
from kgrec.config import AdaptConfig
from kgrec.language.tuned_weights import list_layers, tune_few
from kgrec.text.language_model import LanguageModel, load_language_model

TEXTS = ["topic1 word3 word8", "topic2", "word5 topic0 word9 word11 word12", "word7 word7", "topic3 word1"]


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), decoder=request.param == "decoder")


def tune(name: str, **changes: object) -> LanguageModel:
    model = load_language_model(name)
    tuned = tune_few(model, AdaptConfig.model_validate({"rank": 4, "layers": 1, **changes}))
    with torch.no_grad():
        for number, weight in enumerate(p for p in tuned.parameters() if p.requires_grad):
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
    return replace(model, network=tuned)


def gradients(vectors: torch.Tensor, network: nn.Module) -> list[torch.Tensor]:
    wanted = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad((vectors * wanted).sum(), [p for p in network.parameters() if p.requires_grad]))


def test_frozen_layers_are_skipped_without_changing_vectors_or_gradients(tiny: str) -> None:
    model = tune(tiny)
    tokens = model.tokenize(TEXTS)
    states = compute_frozen_states(model, tokens, [[1, 3], [4, 0, 2]])
    assert states is not None
    assert len(states.layers) == len(list_layers(model.network)) - 1
    computed: list[nn.Module] = []
    for layer in states.layers:
        for part in layer.modules():
            if isinstance(part, nn.Linear):
                part.register_forward_hook(lambda part, *_: computed.append(part))
    some = [2, 1, 4]
    with states.select(some).standing_in():
        vectors = model.embed([tokens[text] for text in some])
    assert not computed
    expected = model.embed([tokens[text] for text in some])
    assert computed
    assert float((vectors - expected).detach().abs().max()) < 1e-5
    found, wanted = gradients(vectors, model.network), gradients(expected, model.network)
    assert max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True)) < 1e-4
    assert min(float(gradient.abs().max()) for gradient in wanted) > 1e-4


@pytest.mark.parametrize("changes", [{"layers": 0}, {"method": "prefix", "prefix_tokens": 2}, {"method": "ia3"}])
def test_nothing_is_skipped_when_the_first_layer_is_tuned(tmp_path: Path, changes: dict[str, object]) -> None:
    model = tune(make_tiny_model(tmp_path), **changes)
    assert compute_frozen_states(model, model.tokenize(TEXTS), [range(len(TEXTS))]) is None


def test_states_above_the_memory_limit_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tune(make_tiny_model(tmp_path))
    tokens = model.tokenize(TEXTS)
    room = sum(map(len, tokens)) * model.dim * 4
    monkeypatch.setattr(frozen_layers, "_MOST_BYTES", room - 1)
    assert compute_frozen_states(model, tokens, [range(len(TEXTS))]) is None
    monkeypatch.setattr(frozen_layers, "_MOST_BYTES", room)
    assert compute_frozen_states(model, tokens, [range(len(TEXTS))]) is not None


class Skipping(nn.Module):
    """A network whose output reads the inside of its first layer too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        self.inside: list[torch.Tensor] = []
        inner = network.get_submodule("base_model.model.encoder.layer.0.attention.output.dense")
        inner.register_forward_hook(lambda _, __, output: self.inside.append(output))

    def forward(self, **given: torch.Tensor) -> object:
        self.inside.clear()
        found = self.network(**given)
        for output in self.inside:
            found.last_hidden_state = found.last_hidden_state + output
        return found


def test_a_network_that_cannot_skip_layers_computes_all(tmp_path: Path) -> None:
    model = tune(make_tiny_model(tmp_path))
    model = replace(model, network=Skipping(model.network))
    assert compute_frozen_states(model, model.tokenize(TEXTS), [range(len(TEXTS))]) is None
