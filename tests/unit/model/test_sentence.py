from dataclasses import replace

import numpy as np
import pytest
import torch
from fitted import draw_inputs

from kgrec.model.sentence import Sentence, find_fitting


@pytest.mark.parametrize(
    ("nearness", "known", "fits"),
    [
        ([0.9, 0.75, 0.25, 0.1], [1, 1, 1, 1], [1, 1, 0, 0]),  # the mean is .5, so they fit from .7 on
        ([0.9, 0.6, 0.0, 0.99], [1, 1, 1, 0], [1, 0, 0, 0]),  # a missing text neither matches nor counts
        ([1.0, 0.5, 0.0, 0.75], [1, 1, 0, 0], [1, 0, 0, 0]),
        ([0.5, 0.5, 0.5, 0.5], [1, 1, 1, 1], [1, 1, 1, 1]),
        ([-0.3, 0.2, 0.2, 0.2], [1, 0, 0, 0], [1, 0, 0, 0]),
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_texts_fit_from_half_way_between_the_mean_and_the_nearest(
    nearness: list[float], known: list[int], fits: list[int]
) -> None:
    found = find_fitting(np.float32([nearness]), np.array([known], bool))
    assert found[0].tolist() == [bool(one) for one in fits]


def test_without_texts_there_is_no_sentence_component() -> None:
    inputs = draw_inputs()
    assert Sentence.fit(inputs) is not None
    assert Sentence.fit(replace(inputs, text=torch.zeros_like(inputs.text))) is None
