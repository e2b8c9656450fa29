"""The largest values of long rows, faster than by `torch.topk`."""

import torch
from torch import Tensor


def find_largest(values: Tensor, k: int) -> Tensor:
    """Finds the places of the k largest values of each row, the largest first; equal values in any order.

    Columns are split into groups. The k largest values lie in the k groups with the largest maxima, so only these
    groups' values are compared.

    Args:
        values: (n, width) float32.
        k: at most `width`.

    Returns:
        (n, k) int64.
    """
    n, width = values.shape
    size = int((width / max(k, 1)) ** 0.5)  # of a group: about as many maxima as candidates
    if size < 2:  # noqa: PLR2004  # groups of one are no groups
        return values.topk(k, dim=1).indices
    n_groups = width // size
    whole = n_groups * size
    maxima = values[:, :whole].view(n, size, n_groups).amax(dim=1)  # a group is every n_groups-th column
    best = maxima.topk(k, dim=1, sorted=False).indices  # (n, k)
    members = (best[:, None] + torch.arange(size)[:, None] * n_groups).flatten(1)  # (n, size * k)
    among = torch.cat([members, torch.arange(whole, width).expand(n, -1)], dim=1)
    return among.gather(1, values.gather(1, among).topk(k, dim=1).indices)
