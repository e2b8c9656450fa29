import math

import pytest
import torch
from torch import nn

from kgrec.adapt.objectives import autoencode, classify_relations, contrast, distil, fit_temperature

# two equal vectors, and one orthogonal to them
VECTORS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def unit_rows(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    return nn.functional.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_contrast_by_hand() -> None:
    likeness = torch.tensor([[9.0, 2.0, 0.0], [2.0, 9.0, 0.0], [0.0, 0.0, 9.0]])  # the diagonal is not read
    expected = math.log(1 + math.exp(-1))  # -log(e^1 / (e^1 + e^0)), for the first two; the last is alike to none
    assert float(contrast(VECTORS, likeness, 1.0)) == pytest.approx(expected, rel=1e-6)
    wrong = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert float(contrast(VECTORS, wrong, 1.0)) == pytest.approx(expected + 1, rel=1e-6)


def test_a_batch_without_positive_pairs_has_no_gradient() -> None:
    vectors = VECTORS.clone().requires_grad_()
    loss = contrast(vectors, torch.eye(3), 0.07) + autoencode(vectors, torch.eye(3))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not vectors.grad.any()


def test_a_temperature_is_raised_only_where_chance_is_better() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    same = torch.eye(2).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert fit_temperature(vectors, same, 0.05) == 0.05
    assert fit_temperature(vectors, torch.zeros(4, 4), 0.05) == 0.05
    # All texts are equally similar, so no temperature beats chance and the highest comes closest.
    assert fit_temperature(vectors, torch.ones(4, 4), 0.05) == pytest.approx(0.8)
    # The twin has 2/3 of each text's positives, which softmax gives at 1 / log 4 = .72: .8 is nearest.
    assert fit_temperature(vectors, 4 * same + (1 - same), 0.1) == pytest.approx(0.8)


def test_autoencode_by_hand() -> None:
    alike = torch.tensor([[1.0, 1.0, 0.0]])  # predicted as (2, 2, 0) - (1, 1, 0)
    assert float(autoencode(VECTORS, alike)) == pytest.approx(0, abs=1e-6)
    unlike = torch.tensor([[1.0, 0.0, 1.0]])  # predicted as (1, 1, 1) - (1, 0, 1): everything but the like itself
    assert float(autoencode(VECTORS, unlike)) == pytest.approx(2, rel=1e-6)
    one_like = torch.tensor([[0.0, 1.0, 0.0]])
    assert float(autoencode(VECTORS, torch.cat([alike, unlike, one_like]))) == pytest.approx(1, rel=1e-6)


def test_distillation_has_no_gradient_where_texts_match_the_teacher() -> None:
    teacher = unit_rows(6, 4)
    same, other = teacher.clone().requires_grad_(), unit_rows(6, 4, seed=1).requires_grad_()
    distil(same, teacher, 0.5).backward()
    distil(other, teacher, 0.5).backward()
    assert float(same.grad.abs().max()) < 1e-6
    assert float(other.grad.abs().max()) > 1e-3


def test_distillation_reads_no_item_without_a_vector() -> None:
    teacher = unit_rows(6, 4)
    vectors = unit_rows(6, 4, seed=1)
    unknown = torch.cat([teacher, torch.zeros(1, 4)])
    a, b = (distil(torch.cat([vectors, extra]), unknown, 0.5) for extra in (unit_rows(1, 4, 2), unit_rows(1, 4, 3)))
    assert abs(float(a) - float(b)) > 1e-6  # it is one of the candidates,
    target = torch.cat([vectors, unit_rows(1, 4, 2)]).requires_grad_()
    contrast_with_it = distil(target, unknown, 0.5)
    contrast_with_it.backward()
    assert float((target.grad[6] @ target[6]).detach()) >= 0  # and is only ever pushed away


def test_an_untrained_relation_head_is_at_chance() -> None:
    head = nn.Linear(4, 5)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    rows = torch.tensor([0, 1])
    loss = classify_relations(VECTORS, rows, rows + 1, torch.tensor([0, 4]), head)
    assert float(loss.detach()) == pytest.approx(math.log(5), rel=1e-6)
