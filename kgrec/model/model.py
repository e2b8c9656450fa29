"""The trained model: components that add up, a gate that blends them, and the placing of new items."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.backbone import Backbone, ItemHead
from kgrec.model.component import (
    AddsRows,
    Component,
    Emphatic,
    InBackboneSpace,
    ItemChange,
    Ordered,
    Scale,
    Support,
    add_rows,
    deviate,
    round_half,
    round_int8,
    spread_rows,
)
from kgrec.model.gate import Gate
from kgrec.model.item_item import ItemItem
from kgrec.model.knowledge import Knowledge, join_knowledge
from kgrec.model.likeness import Likeness, join_content
from kgrec.model.linked_likes import LinkedLikes
from kgrec.model.prior import ItemEncoder
from kgrec.model.sequence_encoder import SequenceEncoder
from kgrec.model.user_prior import UserPrior
from kgrec.sequences import Order

_BLOCK_SCORES = 1_600_000  # scores computed at once
_LEAST_BLOCK = 32  # users at once
_BLOCK_ITEMS = 8192
_READ = (Backbone.name, ItemItem.name, Knowledge.name)  # needed without a weight: by the prior, `Content`, new likes
_LIKES_UNMET, _SENTENCE_ALONE = -1, -2  # kinds of users: with likes of cold items only; with a sentence only


@dataclass(frozen=True)
class Part:
    """A component's scores of some users in factors, with the means and deviations that standardise them.

    Attributes:
        users: (n_users, width) float32 factors.
        added: (n_users, n_items) float32, what its neighbours or its own rows add; None: nothing.
        warm: the mean and 1 / deviation of each user's scores over the items with likes, (n_users,) each.
        cold: the same over items as the prior places them.
    """

    users: Tensor
    added: Tensor | None
    warm: tuple[Tensor, Tensor]
    cold: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Contributions:
    """One user's scores split into parts that add up to them.

    Attributes:
        likes: (n_likes, n) float32, what each like adds to each item.
        sentence: (n,) float32, what the sentence adds.
        prior: (n,) float32, what the user's own links, attributes and text add.
        rest: (n,) float32, the part that depends on none of these: popularity, and the level of all items.
        known: (n_likes, n) float32: the part of `likes` that comes from texts and links.
        sources: component name -> (n,) float32, its part of the scores.
        followed: (n_likes, n) float32: the part of `likes` that comes from what people like after them.
    """

    likes: NDArray[np.float32]
    sentence: NDArray[np.float32]
    prior: NDArray[np.float32]
    rest: NDArray[np.float32]
    known: NDArray[np.float32]
    sources: dict[str, NDArray[np.float32]]
    followed: NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """Scores items for any support set.

    Attributes:
        components: the components, in the order of the gate's weights.
        gate: their weights.
        n_likes: (n_items,) int64: the likes of each item in training. Items without are cold: they have the gate's
            weights for cold items and the prior's vectors.
        n_disliked: (n_items,) int64: how many users met each item in training without liking it.
        text: (n_items, text_dim) float32 unit vectors, zeros for an item without a text.
        columns: (n_items, width) float32, the items' vector columns side by side, NaN where an item has none.
        likeness: the vectors that `similar` ranks by.
        prior: places new items.
        item_head: places cold items that users have liked since training.
        user_prior: places users by their links, attributes and texts; None: the catalogue has none.
        name: its name in reports.
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
    user_prior: ItemEncoder | None = None
    name: str = "kgrec"

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.n_likes)

    @cached_property
    def cold(self) -> Tensor:
        """(n_items,) bool: the items without likes in training."""
        return self.n_likes == 0

    @cached_property
    def has_texts(self) -> bool:
        """Whether any item has a text."""
        return bool(self.text.any())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The components' names."""
        return tuple(component.name for component in self.components)

    @property
    def backbone(self) -> Backbone:
        """The component in whose space the prior places items."""
        found = self.components[self.names.index(Backbone.name)]
        assert isinstance(found, Backbone)
        return found

    def component(self, name: str) -> Component | None:
        """The component with a name; None: there is none."""
        return self.components[self.names.index(name)] if name in self.names else None

    @cached_property
    def order_counts(self) -> NDArray[np.bool_]:
        """(n_buckets,) bool: whether the order of likes counts, by the number of likes; see `Gate.least_likes`."""
        gate, known = self.gate, self.gate.warm if self.gate.known is None else self.gate.known
        reading = [_has(type(c), Ordered) or c.name == SequenceEncoder.name for c in self.components]
        weights = np.stack([gate.warm, known, gate.cold])[..., np.array(reading, np.bool_)]
        counts: NDArray[np.bool_] = (gate.recency != 1) | weights.any(axis=(0, 2))
        return counts

    def weighed(self) -> "Model":
        """The model without components that have no weight and that nothing else reads; it scores the same."""
        gate = self.gate
        known = gate.warm if gate.known is None else gate.known
        weights = np.concatenate([gate.warm, known, gate.cold, gate.sentence_warm[None], gate.sentence_cold[None]])
        kept = [place for place, name in enumerate(self.names) if weights[:, place].any() or name in _READ]
        if len(kept) == len(self.names):
            return self
        return replace(self, components=tuple(self.components[place] for place in kept), gate=gate.select(kept))

    def likeness_vectors(self, by: str | None = None) -> NDArray[np.float32]:
        """(n_items, dim) unit vectors whose inner products are the items' likeness; see `Likeness.vectors`; cached."""
        if by not in self._vectors:
            none = np.zeros(0, np.int64)
            width = self.likeness.vectors_of(none, self._content(none), by).shape[1]
            found = np.empty((self.n_items, width), np.float32)
            for rows in np.split(np.arange(self.n_items), range(_BLOCK_ITEMS, self.n_items, _BLOCK_ITEMS)):
                found[rows] = self.likeness.vectors_of(rows, self._content(rows), by)
            self._vectors[by] = found  # once it is whole: threads share it
        return self._vectors[by]

    def likeness_shares(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Splits the likeness of pairs of items, (n,) rows each, by source; see `Likeness.shares`."""
        rows, places = np.unique(np.concatenate([one, other]), return_inverse=True)
        return self.likeness.shares(rows, self._content(rows), places[: len(one)], places[len(one) :])

    def _content(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, width): texts and vector columns of some items, as `Likeness` takes them."""
        return join_content(self.text.numpy()[rows], [self.columns.numpy()[rows]])

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
    def _cold_items(self) -> dict[str, Tensor]:
        return {}

    def _items_of_cold(self, component: Component) -> Tensor:
        """A component's factors of the items without likes, (n_cold, width); cached."""
        if component.name not in self._cold_items:
            self._cold_items[component.name] = component.items[self._cold_rows]
        return self._cold_items[component.name]

    def part(self, component: Component, support: Support, *, warm: bool = True, cold: bool = True) -> Part:
        """Scores users by one component.

        Args:
            component: one of the model's.
            support: the users.
            warm: whether to measure scores over the items with likes; else `Part.warm` is 0.
            cold: whether to measure scores over the others; else `Part.cold` is 0.
        """
        users = component.users(support)
        likes = _weigh(component, support)
        added: Tensor | None = None
        neighbours: tuple[Tensor, Tensor] | None = None
        reference: tuple[Tensor, Tensor] | None = None
        if component.neighbours is not None:
            added = add_rows(likes, component.neighbours)
            if warm and component.warm_scale is not None:
                neighbours = _spread(added, self._n_warm)
        rows = cast(AddsRows, component).added(support) if _has(type(component), AddsRows) else None
        if rows is not None:
            if component.cold_scale is None:
                rows = csr_array((rows.data * ~self._is_cold[rows.indices], rows.indices, rows.indptr), rows.shape)
            added = torch.from_numpy(np.asarray(rows.toarray(), np.float32))
            if warm and component.warm_scale is not None:
                neighbours = spread_rows(rows, self._n_warm)
        if cold and component.reference is not None:
            reference = _spread(add_rows(likes, component.reference), component.reference.shape[1])
        of_warm = _measure(component.warm_scale if warm else None, users, neighbours)
        of_cold = _measure(component.cold_scale if cold else None, users, reference)
        if _has(type(component), Emphatic):
            emphasis = cast(Emphatic, component).emphasis(support, users)
            of_warm, of_cold = (of_warm[0], of_warm[1] * emphasis), (of_cold[0], of_cold[1] * emphasis)
        return Part(users, added, of_warm, of_cold)

    @torch.inference_mode()
    def score(
        self,
        support: csr_array,
        prior: NDArray[np.float32] | None = None,
        linked: csr_array | None = None,
        order: Order | None = None,
    ) -> NDArray[np.float32]:
        """Scores all items for users known by their likes, and by what the graph says of them.

        Args:
            support: (n_users, n_items) float32: the weight of each like.
            prior: (n_users, dim) float32, from `place_users`; None: the graph says nothing.
            linked: (n_users, n_items) float32: the weighted likes of linked users; None: nobody is linked.
            order: of the likes; None: they have none.

        Returns:
            (n_users, n_items) float32.
        """
        of_graph = None if prior is None else torch.from_numpy(prior)
        return self._score(Support(support, prior=of_graph, linked=linked, order=order)).numpy()

    def place_users(self, text: NDArray[np.float32] | None, incidence: csr_array) -> NDArray[np.float32]:
        """Vectors of what the graph says of users, (n, dim) float32 in the backbone's space; zeros where it is nothing.

        Args:
            text: (n, text_dim) float32 unit vectors, zeros for a user without a text; None: nobody has one.
            incidence: (n, n_codes) float32 of 1s, their link codes.
        """
        known = np.diff(incidence.indptr) > 0
        if text is not None and text.shape[1]:
            known = known | text.any(axis=1)
        if self.user_prior is None or not known.any():
            return np.zeros((len(known), self.backbone.items.shape[1]), np.float32)
        found = self.user_prior.place_all(text, incidence)
        return np.where(known[:, None], found, 0).astype(np.float32)

    def _score(self, support: Support) -> Tensor:
        """(n_users, n_items); users with the same weights are scored together, in blocks."""
        kinds, sizes = self._kinds(support), support.n_likes
        support = support.recent(self.gate.recency[self.gate.bucket(sizes)])
        n_users, step = len(kinds), max(_BLOCK_SCORES // max(self.n_items, 1), _LEAST_BLOCK)
        if 0 < n_users <= step and (kinds == kinds[0]).all():
            return self._blend(support, *self._weights(int(kinds[0]), support))
        scores = torch.empty((n_users, self.n_items))
        for kind in np.unique(kinds).tolist():
            weights = self._weights(kind, support)
            rows = np.flatnonzero(kinds == kind)
            rows = rows[np.argsort(sizes[rows], kind="stable")]  # supports solved together have similar lengths
            for start in range(0, len(rows), step):
                block = rows[start : start + step]
                scores[torch.from_numpy(block)] = self._blend(support.select(block), *weights)
        return scores

    def _kinds(self, support: Support) -> NDArray[np.int64]:
        """(n_users,): twice the bucket of a user's weights, one more with a prior, or one of the kinds below 0."""
        kinds = 2 * self.gate.bucket(support.n_likes)
        if self.gate.known is not None:
            kinds += self._is_known(support)
        kinds[self._likes_unmet(support.likes)] = _LIKES_UNMET
        if support.text is not None:
            kinds[support.n_likes == 0] = _SENTENCE_ALONE
        return kinds

    def _is_known(self, support: Support) -> NDArray[np.bool_]:
        """(n_users,) bool: the users with a prior or with likes of linked users."""
        known = np.zeros(support.likes.shape[0], np.bool_)
        if support.prior is not None:
            known |= support.prior.any(dim=1).numpy()
        if support.linked is not None and LinkedLikes.name in self.names:
            known |= np.diff(support.linked.indptr) > 0
        return known

    def _weights(self, kind: int, support: Support) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """The weights for items with likes and for the others, (n_components,) each, and the shift, of users of a kind.

        Args:
            kind: from `_kinds`.
            support: the users; only whether they have sentences is read.
        """
        gate = self.gate
        if kind == _SENTENCE_ALONE:
            return gate.sentence_warm, gate.sentence_cold, gate.sentence_shift
        if kind == _LIKES_UNMET:
            warm, cold, shift = self._knowledge_alone.copy(), self._knowledge_alone.copy(), 0.0
        else:
            bucket, has_prior = divmod(kind, 2)
            of_warm = gate.known if has_prior and gate.known is not None else gate.warm
            warm, cold, shift = of_warm[bucket].copy(), gate.cold[bucket].copy(), float(gate.shift[bucket])
        if support.text is not None and "sentence" in self.names:
            place = self.names.index("sentence")
            warm[place], cold[place] = gate.sentence_warm[place], gate.sentence_cold[place]
        return warm, cold, shift

    def _likes_unmet(self, support: csr_array) -> NDArray[np.bool_]:
        """(n_users,) bool: the users with likes of cold items only, whom texts and links alone can score."""
        found: NDArray[np.bool_] = np.diff(support.indptr) > 0
        if not found.any() or Knowledge.name not in self.names:
            return np.zeros(len(found), np.bool_)
        unmet = self._is_cold[support.indices]
        if not unmet.any():
            return np.zeros(len(found), np.bool_)
        n_met = np.concatenate([[0], np.cumsum(~unmet)])[support.indptr]
        only: NDArray[np.bool_] = found & (n_met[1:] == n_met[:-1])
        return only

    @cached_property
    def _is_cold(self) -> NDArray[np.bool_]:
        return self.cold.numpy()

    @cached_property
    def _knowledge_alone(self) -> NDArray[np.float32]:
        """(n_components,) float32: 1 for `Knowledge`, the default for `UserPrior`, 0 for the others."""
        weights = {Knowledge.name: 1.0, UserPrior.name: UserPrior.weights.none}
        return np.array([weights.get(name, 0.0) for name in self.names], np.float32)

    def _blend(self, support: Support, warm: NDArray[np.float32], cold: NDArray[np.float32], shift: float) -> Tensor:
        """Scores (n_users, n_items) by weights, (n_components,) each, and a shift, the same for all of the users."""
        n_users, has_cold = support.likes.shape[0], bool(len(self._cold_rows))
        level, cold_level = np.zeros(n_users, np.float32), np.full(n_users, shift, np.float32)
        of_warm: list[tuple[Component, Part, Tensor]] = []  # with each user's factor, (n_users, 1)
        of_cold: list[tuple[Component, Part, Tensor]] = []
        for component, by_warm, by_cold in zip(self.components, warm.tolist(), cold.tolist(), strict=True):
            is_heard, is_heard_of_cold = bool(by_warm), has_cold and bool(by_cold)
            if not (is_heard or is_heard_of_cold):
                continue
            part = self.part(component, support, warm=is_heard, cold=is_heard_of_cold)
            if is_heard:
                factor = by_warm * part.warm[1].numpy()
                level -= factor * part.warm[0].numpy()
                of_warm.append((component, part, torch.from_numpy(factor[:, None])))
            if is_heard_of_cold:
                factor = by_cold * part.cold[1].numpy()
                cold_level -= factor * part.cold[0].numpy()
                of_cold.append((component, part, torch.from_numpy(factor[:, None])))
        scores = torch.from_numpy(np.repeat(level[:, None], self.n_items, axis=1))
        for component, part, by_user in of_warm:
            if part.users.shape[1]:
                scores.addmm_(part.users * by_user, component.items.T)
            if part.added is not None:
                scores.addcmul_(part.added, by_user)
        if has_cold:
            others = torch.from_numpy(cold_level[:, None] - self._penalty)
            for component, part, by_user in of_cold:
                if part.users.shape[1]:
                    others.addmm_(part.users * by_user, self._items_of_cold(component).T)
                if part.added is not None:
                    others.addcmul_(part.added[:, self._cold_rows], by_user)
            scores[:, self._cold_rows] = others
        return scores

    @cached_property
    def _penalty(self) -> NDArray[np.float32]:
        """(n_cold,): subtracted from each item without likes, for the users who met it without liking it."""
        lost: NDArray[np.float32] = (self.gate.dislike * torch.log1p(self.n_disliked[self._cold_rows].float())).numpy()
        return lost

    @torch.inference_mode()
    def contributions(self, support: Support, items: NDArray[np.int64] | None = None) -> Contributions:
        """Splits the scores of one user into parts that add up to them.

        Args:
            support: of one user.
            items: (n,) item rows to score; None: all.
        """
        rows = torch.arange(self.n_items) if items is None else torch.from_numpy(items)
        n_likes = support.likes.nnz
        warm, cold, shift = self._weights(int(self._kinds(support)[0]), support)
        support = support.recent(self.gate.recency[self.gate.bucket(support.n_likes)])
        is_cold = self.cold[rows]
        of_likes = torch.zeros((n_likes, len(rows)))
        of_known = torch.zeros((n_likes, len(rows)))
        of_followed = torch.zeros((n_likes, len(rows)))
        of_sentence, of_prior = torch.zeros(len(rows)), torch.zeros(len(rows))
        penalty = self.gate.dislike * torch.log1p(self.n_disliked[rows].float())
        of_rest = torch.where(is_cold, shift - penalty, 0.0)
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
                of_each.data *= np.repeat(_weigh(component, support).data, np.diff(of_each.indptr))
                dense = of_each.toarray() if items is None else of_each[:, items].toarray()
                own = own + torch.from_numpy(np.asarray(dense, np.float32))
            of_text, rest = (shares.sentence @ factors) * factor, shares.rest @ factors
            of_graph = torch.zeros(len(rows)) if shares.prior is None else (shares.prior @ factors) * factor
            added = cast(AddsRows, component).added(support) if _has(type(component), AddsRows) else None
            if added is not None:
                of_graph += torch.from_numpy(added.toarray()[0])[rows] * factor
            rest = (rest - torch.where(is_cold, cold_mean, warm_mean)) * factor
            own *= factor
            of_likes += own
            of_known += own * (is_cold | (component.name == Knowledge.name))
            if _has(type(component), Ordered):
                of_followed += own
            of_sentence += of_text
            of_prior += of_graph
            of_rest += rest
            sources[component.name] = (own.sum(dim=0) + of_text + of_graph + rest).numpy()
        return Contributions(
            of_likes.numpy(), of_sentence.numpy(), of_prior.numpy(), of_rest.numpy(), of_known.numpy(), sources,
            of_followed.numpy(),
        )  # fmt: skip

    @torch.inference_mode()
    def score_support(self, support: Support) -> NDArray[np.float32]:
        """Scores all items for users by all that is known of them: (n_users, n_items) float32."""
        return self._score(support).numpy()

    def with_sentence(
        self, support: csr_array, sentence: NDArray[np.float32], prior: Tensor | None = None,
        linked: csr_array | None = None, order: Order | None = None,
    ) -> Support:  # fmt: skip
        """The support of users with a sentence each: their likes, and unit vectors (n_users, text_dim)."""
        none = np.zeros(0, np.int64)
        placed = np.stack([self.prior.place(one, none) for one in sentence])
        return Support(support, torch.from_numpy(sentence), torch.from_numpy(placed), prior, linked, order)

    def with_items(
        self,
        kept: NDArray[np.int64],
        text: Tensor,
        rows: NDArray[np.int64],
        codes: Sequence[NDArray[np.int64]],
        columns: Tensor | None = None,
        number: NDArray[np.int64] | None = None,
    ) -> "Model":
        """The model after a change: some items are gone, some new, some placed anew. Nothing is trained.

        Changed values are rounded as a bundle stores them, so that the saved model answers the same.

        Args:
            kept: (n_kept,) int64, ascending: the rows of the items that stay; they become the first rows.
            text: (n_items, text_dim) float32: the text vectors of the items that stay and of the new ones after them,
                as `round_text` makes them.
            rows: (n,) int64: the rows, after the change, of all new items and of others that the prior places anew.
            codes: the link codes of these.
            columns: (n_items, width) float32: the vector columns of all items; None: new items have none.
            number: (n_new,) int64: of the new items, see `Likeness.with_items`.
        """
        if columns is None:
            none = torch.full((len(text) - len(kept), self.columns.shape[1]), torch.nan)
            columns = torch.cat([self.columns[torch.from_numpy(kept)], none])
        columns = round_half(columns)
        likeness = self.likeness.with_items(kept, len(text), rows, codes, number)
        content = join_content(text.numpy()[rows], [columns.numpy()[rows]])
        known = torch.from_numpy(join_knowledge(likeness.select(rows), content))
        placed = round_int8(torch.from_numpy(self._place(text[rows], codes, columns[rows]))).numpy()
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

    def _place(self, text: Tensor, codes: Sequence[NDArray[np.int64]], columns: Tensor) -> NDArray[np.float32]:
        """The prior's vectors of n items, (n, dim), by their texts, link codes and vector columns."""
        placed = np.zeros((len(text), self.backbone.items.shape[1]), np.float32)
        for place, (own, linked, vectors) in enumerate(zip(text, codes, columns, strict=True)):
            placed[place] = self.prior.place(own.numpy() if own.any() else None, linked, vectors.numpy())
        return placed

    def with_likes(self, rows: NDArray[np.int64], support: csr_array, liked: csr_array) -> "Model":
        """The model with some items placed by the users who like them, beside their texts and links.

        Only items without likes in training are moved: the others' vectors were learned. The users' vectors come from
        their likes of these others alone. So the order of placing does not matter, and an item that is placed again
        without likes returns to the prior's vector.

        Args:
            rows: (n,) int64, the items' rows.
            support: (n, n_users) of 1s: the users who like each of them.
            liked: (n_users, n_items): all users' likes.
        """
        moved = np.flatnonzero(self.cold.numpy()[rows])
        if not len(moved):
            return self
        rows, support = rows[moved], support[moved]
        known = np.unique(support.indices)  # only these users' vectors are needed
        met = csr_array(liked[known].multiply(~self.cold.numpy()))
        met.eliminate_zeros()
        users = self.backbone.users(Support(met))
        index, vectors = torch.from_numpy(rows), self.item_head.solve(support[:, known], users, rows)

        moved_components = (
            component.with_vectors(index, vectors) if isinstance(component, InBackboneSpace) else component
            for component in self.components
        )
        return replace(self, components=tuple(moved_components))


@cache
def _has(kind: type, trait: Any) -> bool:
    """Whether a kind of component has a trait, a protocol; asking the instance takes microseconds each time."""
    return issubclass(kind, trait)


def describe_order(model: Model) -> str:
    """Says for how many likes of a user their order counts."""
    gate = model.gate
    ends = [*(gate.least_likes[1:] - 1).tolist(), None]
    spans = [
        f"{start}+" if end is None else f"{start}" if end == start else f"{start}-{end}"
        for start, end, does in zip(gate.least_likes.tolist(), ends, model.order_counts.tolist(), strict=True)
        if does
    ]
    if not spans:
        return "the order of likes does not count: validation finds no more with it"
    return f"the order of likes counts for users with {', '.join(spans)} likes"


def _weigh(component: Component, support: Support) -> csr_array:
    """The likes with the weights that the component's neighbours are multiplied by."""
    return cast(Ordered, component).weigh(support) if _has(type(component), Ordered) else support.likes


def _spread(added: Tensor, n_items: int) -> tuple[Tensor, Tensor]:
    """Mean and variance over n_items of scores, (n_users, ...), that are 0 elsewhere: two (n_users,) tensors."""
    mean, square = added.sum(dim=1) / max(n_items, 1), torch.linalg.vecdot(added, added) / max(n_items, 1)
    return mean, (square - mean.square()).clamp(min=0)


def _measure(scale: Scale | None, users: Tensor, beside: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """The mean and 1 / deviation of users' scores; both 0 without a scale.

    Args:
        scale: of the factors' reference items.
        users: (n_users, width) factors.
        beside: mean and variance, (n_users,) each, of the neighbours' part.
    """
    if scale is None:
        return torch.zeros(len(users)), torch.zeros(len(users))
    if beside is None:
        mean, variance = scale.measure(users)
    elif not users.shape[1]:
        mean, variance = beside
    else:
        own_mean, own_variance = scale.measure(users)
        mean, variance = own_mean + beside[0], own_variance + beside[1]
    return mean, deviate(mean, variance)
