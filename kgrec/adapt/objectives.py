"""The objectives of adaptation: pure functions of the unit vectors of a batch of texts."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_HIDDEN = -1e4  # the logit of a text with itself
_WARMER = tuple(2 ** (half / 2) for half in range(1, 9))  # factors for a temperature that is too low


def contrast(vectors: Tensor, likeness: Tensor, temperature: float) -> Tensor:
    """Pulls similar texts together, among all texts of the batch.

    The cross entropy between softmax(cosines / temperature) and each row of `likeness` as a distribution: InfoNCE
    (van den Oord et al. 2018) with every positive of the batch and no false negative.

    Args:
        vectors: (n, dim) float32 unit rows.
        likeness: (n, n) float32, 0 or more; the diagonal is not read, and rows of zeros are left out.
        temperature: of the softmax.

    Returns:
        A scalar; 0 where all of `likeness` is 0.
    """
    target = likeness.clone().fill_diagonal_(0)
    total = target.sum(dim=1, keepdim=True)
    known = total[:, 0] > 0
    if not known.any():
        return vectors.sum() * 0
    logs = (vectors @ vectors.T / temperature).fill_diagonal_(_HIDDEN).log_softmax(dim=1)
    return -(logs * target)[known].sum(dim=1).div(total[known, 0]).mean()


def fit_temperature(vectors: Tensor, likeness: Tensor, temperature: float) -> float:
    """Raises the temperature of `contrast`, up to 16 times, where its loss before training is above chance.

    At such a temperature training collapses all texts into one point: there the loss is that of chance, log(n - 1), and
    no gradient leads away. Catalogues where most people like the same items are prone to it.

    Args:
        vectors: (n, dim) float32 unit rows, before training.
        likeness: (n, n) float32, 0 or more.
        temperature: to start with.

    Returns:
        The given temperature where its loss is at most chance, else the higher one with the least loss.
    """

    def lose(tried: float) -> float:
        return float(contrast(vectors, likeness, tried))

    if lose(temperature) <= math.log(max(len(vectors) - 1, 1)):
        return temperature
    return min((temperature * factor for factor in _WARMER), key=lose)


def autoencode(vectors: Tensor, likes: Tensor) -> Tensor:
    """Predicts each user's likes from their other likes: | x / |x| - y / |y| |^2 with y = x (A A' - I).

    ELSA's loss (Vančura et al., "Scalable linear shallow autoencoder", 2022) with text vectors as A, as beeFormer
    (Vančura et al. 2024) trains it.

    Args:
        vectors: (n, dim) float32 unit rows, A.
        likes: (n_users, n) float32 of 1s; users with fewer than two likes are left out.

    Returns:
        A scalar, the mean over users; 0 without users.
    """
    likes = likes[likes.sum(dim=1) > 1]
    if not len(likes):
        return vectors.sum() * 0
    predicted = likes @ vectors @ vectors.T - likes
    return (functional.normalize(likes, dim=1) - functional.normalize(predicted, dim=1)).square().sum(dim=1).mean()


def distil(vectors: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Matches the similarities of texts to those of the teacher's vectors: cross entropy of the two softmax rows.

    Args:
        vectors: (n, dim) float32 unit rows.
        teacher: (n, width) float32 unit rows; rows of zeros are left out.
        temperature: of both softmaxes.
    """
    known = teacher.any(dim=1)
    target = (teacher @ teacher.T / temperature).fill_diagonal_(_HIDDEN).softmax(dim=1)
    return contrast(vectors, target * known[:, None] * known, temperature)


def classify_relations(vectors: Tensor, sources: Tensor, targets: Tensor, relations: Tensor, head: nn.Linear) -> Tensor:
    """Predicts which relation links two texts from the product and difference of their vectors: cross entropy.

    Args:
        vectors: (n, dim) float32 unit rows.
        sources: (n_pairs,) int64 rows.
        targets: (n_pairs,) int64 rows.
        relations: (n_pairs,) int64; the last class of `head` means no relation.
        head: from 2 dim to the relations.
    """
    a, b = vectors[sources], vectors[targets]
    return functional.cross_entropy(head(torch.cat([a * b, a - b], dim=1) * vectors.shape[1] ** 0.5), relations)
