"""Which items' texts fit a sentence, by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from shop import WordEncoder, train_shop

from kgrec.recommend.asked import Asked
from kgrec.recommend.requests import read_request
from kgrec.recommend.state import SentenceEncoder, State
from kgrec.text.encoder import OnTexts


class FixedEncoder(WordEncoder):
    """Gives every sentence one vector."""

    def __init__(self, *vector: float) -> None:
        self._vector = np.array([vector + (0.0,) * (self.dim - len(vector))], np.float32)

    def encode(self, texts: Sequence[str], on_texts: OnTexts | None = None) -> NDArray[np.float32]:
        return self._vector


def fitting(texts: Sequence[Sequence[float]], *sentence: float) -> list[int]:
    """The first items of the shop that fit a sentence, where only these have a text."""
    bundle = train_shop()
    text = np.zeros((len(bundle.items), WordEncoder.dim), np.float32)
    for row, vector in enumerate(texts):
        text[row, : len(vector)] = vector
    mean = text[: len(texts)].mean(axis=0) if texts else text[0]
    likeness = replace(bundle.model.likeness, text_mean=mean)
    bundle = replace(bundle, model=replace(bundle.model, text=torch.from_numpy(text), likeness=likeness))
    request = read_request(State(bundle, SentenceEncoder(FixedEncoder(*sentence))), Asked(text="words"), [])
    assert request.fits is not None
    return np.flatnonzero(request.fits).tolist()


@pytest.mark.parametrize(
    ("nearness", "expected"),
    [((0.45, 0.1), []), ((0.47, 0.1), [0]), ((0.1, 0.65), [1])],
)
def test_a_text_fits_if_it_stands_out_from_the_mean_text(nearness: tuple[float, float], expected: list[int]) -> None:
    texts = [(1.0, 0.0), (0.6, 0.8)]  # their cosine is 0.6, so the nearest must be 0.45 x 0.4 = 0.18 above the mean
    first, second = nearness
    assert fitting(texts, first, (second - 0.6 * first) / 0.8) == expected


def test_of_three_texts_the_mean_of_the_three_cosines_counts() -> None:
    texts = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.6, 0.0, 0.8)]  # 0, 0.6 and 0: 0.2, so by 0.45 x 0.8 = 0.36
    assert fitting(texts, 0.0, 0.55, 0.0) == [1]  # by two thirds of 0.55
    assert fitting(texts, 0.0, 0.53, 0.0) == []


def test_where_one_item_or_none_has_a_text() -> None:
    assert fitting([(1.0, 0.0)], 0.46, 0.0) == [0]
    assert fitting([(1.0, 0.0)], 0.44, 0.0) == []
    assert fitting([], 1.0, 0.0) == []
