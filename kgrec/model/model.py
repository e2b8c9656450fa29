"""The trained model: components that add up, a gate that blends them, and how items are placed later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.backbone import Backbone, ItemHead
from kgrec.model.component import Component, Emphatic, InBackboneSpace, ItemChange, Scale, Support, deviate, round_half
from kgrec.model.gate import Gate
from kgrec.model.item_item import ItemItem
from kgrec.model.knowledge import Knowledge, join_knowledge
from kgrec.model.likeness import Likeness, join_content
from kgrec.model.prior import ItemEncoder


@dataclass(frozen=True)
class Part:
    """What a component says of some users, by which its share in a score is centred and brought to a deviation of 1.

    Attributes:
        users: (n_users, width) float32 factors.
        rows: (n_users, n_items) float32, what its neighbours add; None: nothing.
        warm: the mean and one over the deviation of the users' scores over the items with likes, (n_users,) each.
        cold: the same over items as the prior places them.
    """

    users: Tensor
    rows: csr_array | None
    warm: tuple[Tensor, Tensor]
    cold: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Contributions:
    """The scores of one user taken apart; their sum over all parts is the score.

    Attributes:
        likes: (n_likes, n) float32, what each like adds to each item.
        sentence: (n,) float32, what the sentence adds.
        rest: (n,) float32, what is there without either: popularity, and the level of all items.
        known: (n_likes, n) float32: what of `likes` texts and links say.
        sources: component name -> (n,) float32, its part of the whole.
    """

    likes: NDArray[np.float32]
    sentence: NDArray[np.float32]
    rest: NDArray[np.float32]
    known: NDArray[np.float32]
    sources: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """Scores items for any support set.

    Attributes:
        components: what adds up, in the order of the gate's weights.
        gate: blends.
        n_likes: (n_items,) int64: the likes that each item had in training. Items without are cold: they have the
            gate's weights for cold items, and stand where the prior places them.
        n_disliked: (n_items,) int64: how many met each item in training without liking it.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text.
        columns: (n_items, width) float32, the items' vector columns side by side, NaN where an item has none.
        likeness: what `similar` ranks by.
        prior: places a new item.
        item_head: places a cold item that some users like by now.
        name: what reports call it.
    """

    components: tuple[Component, ...]
    gate: Gate
    n_likes: Tensor
    n_disliked: Tensor
    text: Tensor
    columns: Tensor
    likeness: Likeness
    prior: ItemEncoder
    item_head: ItemHead
    name: str = "kgrec"

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.n_likes)

    @cached_property
    def cold(self) -> Tensor:
        """(n_items,) bool: the items that nobody liked in training."""
        return self.n_likes == 0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The components' names."""
        return tuple(component.name for component in self.components)

    @property
    def backbone(self) -> Backbone:
        """The component whose space the prior places items in."""
        found = self.components[self.names.index(Backbone.name)]
        assert isinstance(found, Backbone)
        return found

    def component(self, name: str) -> Component | None:
        """The component of a name; None: there is none."""
        return self.components[self.names.index(name)] if name in self.names else None

    def likeness_vectors(self, by: str | None = None) -> NDArray[np.float32]:
        """(n_items, dim) unit vectors whose inner products say how alike items are; see `Likeness.vectors`; kept."""
        if by not in self._vectors:
            self._vectors[by] = self.likeness.vectors(self.content, by)
        return self._vectors[by]

    @property
    def content(self) -> NDArray[np.float32]:
        """(n_items, width): texts and vector columns, as `Likeness` takes them."""
        return join_content(self.text.numpy(), [self.columns.numpy()])

    @cached_property
    def _vectors(self) -> dict[str | None, NDArray[np.float32]]:
        return {}

    @cached_property
    def _cold_rows(self) -> Tensor:
        return torch.nonzero(self.cold).squeeze(1)

    @cached_property
    def _n_warm(self) -> int:
        return max(self.n_items - len(self._cold_rows), 1)

    @cached_property
    def _stacked(self) -> dict[tuple[str, ...], Tensor]:
        return {}

    def _stack(self, names: tuple[str, ...], rows: Tensor | None = None) -> Tensor:
        """The items' factors of some components side by side, (n_items or n_rows, width); kept."""
        key = names if rows is None else ("cold", *names)
        if key not in self._stacked:
            parts = [self.components[self.names.index(name)].items for name in names]
            whole = torch.cat([torch.zeros((self.n_items, 0)), *parts], dim=1)
            self._stacked[key] = (whole if rows is None else whole[rows]).contiguous()
        return self._stacked[key]

    def part(self, component: Component, support: Support) -> Part:
        """What a component says of some users."""
        users = component.users(support)
        rows: csr_array | None = None
        neighbours: tuple[Tensor | None, Tensor | None] = None, None
        reference: tuple[Tensor | None, Tensor | None] = None, None
        if component.neighbours is not None:
            rows = csr_array(support.likes @ component.neighbours)
            if component.warm_scale is not None:
                neighbours = _spread(rows, self._n_warm)
        if component.reference is not None:
            reference = _spread(csr_array(support.likes @ component.reference), component.reference.shape[1])
        warm = _measure(component.warm_scale, users, *neighbours)
        cold = _measure(component.cold_scale, users, *reference)
        if isinstance(component, Emphatic):
            emphasis = component.emphasis(support)
            warm, cold = (warm[0], warm[1] * emphasis), (cold[0], cold[1] * emphasis)
        return Part(users, rows, warm, cold)

    @torch.inference_mode()
    def score(self, support: csr_array) -> NDArray[np.float32]:
        """Scores all items for users known by their likes.

        Args:
            support: (n_users, n_items) float32: the weight of each like.

        Returns:
            (n_users, n_items) float32.
        """
        asked = Support(support)
        buckets = self.gate.bucket(asked.n_likes)
        warm, cold, shift = (
            torch.from_numpy(weights[buckets]) for weights in (self.gate.warm, self.gate.cold, self.gate.shift)
        )
        of_unmet = torch.from_numpy(self._likes_unmet(support))
        if of_unmet.any():
            alone = torch.from_numpy(self._knowledge_alone)
            warm, cold = (torch.where(of_unmet[:, None], alone, weights) for weights in (warm, cold))
            shift = torch.where(of_unmet, 0.0, shift)
        return self._blend(asked, warm, cold, shift).numpy()

    def _likes_unmet(self, support: csr_array) -> NDArray[np.bool_]:
        """(n_users,) bool: whose likes are all of items that nobody liked in training.

        Who likes what says nothing of these, so texts and links alone are asked.
        """
        found: NDArray[np.bool_] = np.diff(support.indptr) > 0
        if not found.any() or not self._knowledge_alone.any():
            return np.zeros(len(found), np.bool_)
        return found & ~np.asarray(support @ (~self.cold).numpy().astype(np.float32)).astype(np.bool_)

    @cached_property
    def _knowledge_alone(self) -> NDArray[np.float32]:
        """(n_components,) float32: a weight for texts and links alone; zeros where there are neither."""
        return np.array([name == Knowledge.name for name in self.names], np.float32)

    def _blend(self, support: Support, warm: Tensor, cold: Tensor, shift: Tensor) -> Tensor:
        """Scores (n_users, n_items) by weights (n_users, n_components) and shifts (n_users,)."""
        n_users = len(shift)
        level = torch.zeros(n_users)
        cold_level = shift.clone()
        factors: list[tuple[str, Tensor]] = []
        cold_factors: list[tuple[str, Tensor]] = []
        rows: csr_array | None = None
        for place, component in enumerate(self.components):
            if not (warm[:, place].any() or cold[:, place].any()):
                continue
            part = self.part(component, support)
            by_warm, by_cold = warm[:, place] * part.warm[1], cold[:, place] * part.cold[1]
            if part.rows is not None:
                owner = np.repeat(np.arange(n_users), np.diff(part.rows.indptr))
                of_cold_item = self.cold.numpy()[part.rows.indices]
                part.rows.data *= np.where(of_cold_item, by_cold.numpy()[owner], by_warm.numpy()[owner])
                rows = part.rows if rows is None else rows + part.rows
            if warm[:, place].any():
                level -= by_warm * part.warm[0]
                if part.users.shape[1]:
                    factors.append((component.name, part.users * by_warm[:, None]))
            if len(self._cold_rows) and cold[:, place].any():
                cold_level -= by_cold * part.cold[0]
                cold_factors.append((component.name, part.users * by_cold[:, None]))
        scores = torch.addmm(level[:, None], _side_by_side(factors, n_users), self._stack(_names(factors)).T)
        if len(self._cold_rows):
            stacked = self._stack(_names(cold_factors), self._cold_rows)
            of_cold = torch.addmm(cold_level[:, None], _side_by_side(cold_factors, n_users), stacked.T)
            scores[:, self._cold_rows] = of_cold - self._penalty[self._cold_rows]
        if rows is not None:
            scores += torch.from_numpy(rows.toarray())
        return scores

    @cached_property
    def _penalty(self) -> Tensor:
        """(n_items,): what an item loses for those who met it without liking it; 0 for items with likes."""
        return torch.where(self.cold, self.gate.dislike * torch.log1p(self.n_disliked.float()), 0.0)

    @torch.inference_mode()
    def contributions(self, support: Support, items: NDArray[np.int64] | None = None) -> Contributions:
        """Takes the scores of one user apart; their sum over all parts is the score.

        Args:
            support: of one user.
            items: (n,) item rows to score; None: all.
        """
        rows = torch.arange(self.n_items) if items is None else torch.from_numpy(items)
        n_likes = support.likes.nnz
        warm, cold, shift = self._weights_for(support)
        is_cold = self.cold[rows]
        of_likes = torch.zeros((n_likes, len(rows)))
        of_known = torch.zeros((n_likes, len(rows)))
        of_sentence = torch.zeros(len(rows))
        of_rest = torch.where(is_cold, shift - self._penalty[rows], 0.0)
        sources: dict[str, NDArray[np.float32]] = {}
        liked = support.likes.indices
        for place, component in enumerate(self.components):
            if not (warm[place] or cold[place]):
                continue
            part = self.part(component, support)
            (warm_mean, warm_unit), (cold_mean, cold_unit) = part.warm, part.cold
            factor = torch.where(is_cold, float(cold[place]) * cold_unit, float(warm[place]) * warm_unit)  # (n,)
            shares, factors = component.shares(support), component.items[rows].T
            own = shares.likes @ factors  # (n_likes, n)
            if component.neighbours is not None and n_likes:
                of_each = csr_array(component.neighbours[liked])
                of_each.data *= np.repeat(support.likes.data, np.diff(of_each.indptr))
                dense = of_each.toarray() if items is None else of_each[:, items].toarray()
                own = own + torch.from_numpy(np.asarray(dense, np.float32))
            said, rest = (shares.sentence @ factors) * factor, shares.rest @ factors
            rest = (rest - torch.where(is_cold, cold_mean, warm_mean)) * factor
            own *= factor
            of_likes += own
            of_known += own * (is_cold | (component.name == Knowledge.name))
            of_sentence += said
            of_rest += rest
            sources[component.name] = (own.sum(dim=0) + said + rest).numpy()
        return Contributions(of_likes.numpy(), of_sentence.numpy(), of_rest.numpy(), of_known.numpy(), sources)

    @torch.inference_mode()
    def score_sentence(self, support: Support) -> NDArray[np.float32]:
        """Scores all items for users with a sentence, whatever else they are known by: (n_users, n_items) float32."""
        one_each = (
            Support(support.likes[[row]], support.text, support.placed) for row in range(support.likes.shape[0])
        )
        weights = [self._weights_for(one) for one in one_each]
        warm, cold = (torch.from_numpy(np.stack([one[place] for one in weights])) for place in (0, 1))
        shift = torch.tensor([one[2] for one in weights])
        return self._blend(support, warm, cold, shift).numpy()

    def hear(self, support: csr_array, sentence: NDArray[np.float32]) -> Support:
        """What is known of users who say a sentence each: their likes, and unit vectors (n_users, text_dim)."""
        none = np.zeros(0, np.int64)
        placed = np.stack([self.prior.place(one, none) for one in sentence])
        return Support(support, torch.from_numpy(sentence), torch.from_numpy(placed))

    def _weights_for(self, support: Support) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """The weights for items with likes and for the others, (n_components,) each, and the shift, of one user."""
        gate, n_likes, with_sentence = self.gate, support.likes.nnz, support.text is not None
        if with_sentence and not n_likes:
            return gate.sentence_warm, gate.sentence_cold, gate.sentence_shift
        bucket = int(gate.bucket(np.array([n_likes]))[0])
        warm, cold, shift = gate.warm[bucket].copy(), gate.cold[bucket].copy(), float(gate.shift[bucket])
        if self._likes_unmet(support.likes)[0]:
            warm, cold, shift = self._knowledge_alone.copy(), self._knowledge_alone.copy(), 0.0
        if with_sentence and "sentence" in self.names:
            place = self.names.index("sentence")
            warm[place], cold[place] = gate.sentence_warm[place], gate.sentence_cold[place]
        return warm, cold, shift

    def with_items(
        self,
        kept: NDArray[np.int64],
        text: Tensor,
        rows: NDArray[np.int64],
        placed: NDArray[np.float32],
        codes: Sequence[NDArray[np.int64]],
        columns: Tensor | None = None,
        number: NDArray[np.int64] | None = None,
    ) -> "Model":
        """The model of other items: some are gone, some new, some placed anew. What was learned stays as it is.

        What changes is rounded as a bundle stores it, so that a saved model answers as this one.

        Args:
            kept: (n_kept,) int64, ascending: the rows of the items that stay; they become the first rows.
            text: (n_items, text_dim) float32: the text vectors of the items that stay and of the new ones after them.
            rows: (n,) int64: the rows, as they become, of all new items and of others that are placed anew.
            placed: (n, dim) float32: the prior's vectors of these.
            codes: their link codes.
            columns: (n_items, width) float32: the vector columns of all items; None: new items have none.
            number: (n_new,) int64: of the new items, see `Likeness.with_items`.
        """
        if columns is None:
            none = torch.full((len(text) - len(kept), self.columns.shape[1]), torch.nan)
            columns = torch.cat([self.columns[torch.from_numpy(kept)], none])
        text, columns = round_half(text), round_half(columns)
        likeness = self.likeness.with_items(kept, len(text), rows, codes, number)
        content = join_content(text.numpy()[rows], [columns.numpy()[rows]])
        known = torch.from_numpy(join_knowledge(likeness.select(rows), content))
        placed = round_half(torch.from_numpy(placed)).numpy()
        change = ItemChange(kept, len(text), rows, placed, text, tuple(codes), known)
        components: list[Component] = []
        for component in self.components:
            components.append(component.with_items(change))
            if isinstance(components[-1], ItemItem) and component.name == ItemItem.name:
                change = replace(change, expect=components[-1].expect)
        return replace(
            self,
            components=tuple(components),
            n_likes=change.carry(self.n_likes),
            n_disliked=change.carry(self.n_disliked),
            text=text,
            columns=columns,
            likeness=likeness,
            item_head=self.item_head.with_items(change),
        )

    def with_likes(self, rows: NDArray[np.int64], support: csr_array, liked: csr_array) -> "Model":
        """The model with some items placed by who likes them, beside what their texts and links say.

        Only items without likes in training are moved: the others' vectors were learned. Whoever likes an item
        is known by their likes of these others, so that it does not matter which item is placed first, and placing one
        again undoes what was done before: without likes it is where the prior places it.

        Args:
            rows: (n,) int64, the items' rows.
            support: (n, n_users) of 1s: who likes each of them.
            liked: (n_users, n_items): what all users like.
        """
        moved = np.flatnonzero(self.cold.numpy()[rows])
        if not len(moved):
            return self
        rows, support = rows[moved], support[moved]
        known = np.unique(support.indices)  # nobody else's vector is needed
        met = csr_array(liked[known].multiply(~self.cold.numpy()))
        met.eliminate_zeros()
        users = self.backbone.users(Support(met))
        index, vectors = torch.from_numpy(rows), self.item_head.solve(support[:, known], users, rows)

        moved_components = (
            component.with_vectors(index, vectors) if isinstance(component, InBackboneSpace) else component
            for component in self.components
        )
        return replace(self, components=tuple(moved_components))


def _spread(rows: csr_array, n_items: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of sparse scores, (n_users, ...), over n_items: two (n_users,) tensors."""
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    mean, square = (
        torch.from_numpy(np.bincount(owner, values, rows.shape[0]) / max(n_items, 1)).float()
        for values in (rows.data, np.square(rows.data))
    )
    return mean, square - mean.square()


def _measure(
    scale: Scale | None, users: Tensor, mean: Tensor | None = None, variance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The mean and one over the deviation of users' scores; both 0 where the component says nothing."""
    if scale is None:
        return torch.zeros(len(users)), torch.zeros(len(users))
    own_mean, own_variance = scale.measure(users)
    if mean is not None and variance is not None:
        own_mean, own_variance = own_mean + mean, own_variance + variance.clamp(min=0)
    return own_mean, deviate(own_mean, own_variance)


def _names(factors: list[tuple[str, Tensor]]) -> tuple[str, ...]:
    return tuple(name for name, _ in factors)


def _side_by_side(factors: list[tuple[str, Tensor]], n_users: int) -> Tensor:
    return torch.cat([torch.zeros((n_users, 0)), *(part for _, part in factors)], dim=1)
