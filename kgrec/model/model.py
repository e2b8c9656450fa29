"""The trained model: support-additive components, and a gate that blends them by the size of the support."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from kgrec.model.content import Content
from kgrec.model.head import Head
from kgrec.model.ials import solve_supports
from kgrec.model.item_item import ItemItem
from kgrec.model.prior import ItemEncoder

FEW_SHOT, BACKBONE, ITEM_ITEM, ITEM_ITEM_FEW, CONTENT, POPULARITY, TEXT = COMPONENTS = (
    "few_shot",
    "backbone",
    "item_item",
    "item_item_few",
    "content",
    "popularity",
    "text",
)
_PLACE = {component: place for place, component in enumerate(COMPONENTS)}
WITH_PRIOR = (FEW_SHOT, BACKBONE)  # the components whose vectors of items that nobody has met are the prior's


@dataclass(frozen=True)
class ItemHead:
    """Places an item from the users who like it, as the few-shot head places a user from the items they like.

    z = argmin sum_{u in S} (1 - w_u.z)^2 + ridge |z - centre|^2, the centre being the prior's vector: what texts and
    links say of an item gives way to who likes it. Who does not like it counts for nothing: of a new item it is not
    known that anybody passed it over.

    Attributes:
        ridge: see above.
        centres: (n_items, dim) float32, the prior's vectors.
    """

    ridge: float
    centres: Tensor

    def solve(self, support: csr_array, users: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The vectors of some items, (n, dim) float32.

        Args:
            support: (n, n_users) of 1s: who likes each.
            users: (n_users, dim) float32 backbone vectors.
            rows: (n,) int64, the items' rows.
        """
        centres = self.centres[torch.from_numpy(rows)]
        if not support.nnz:
            return centres
        return solve_supports(support, users, np.full(support.shape[0], self.ridge, np.float32), 0.0, centres)


@dataclass(frozen=True)
class Gate:
    """How much each component counts, by the number of likes in the support; chosen on validation.

    Attributes:
        least_likes: (n_buckets,) ascending from 0: a bucket holds supports of at least this many likes.
        warm: (n_buckets, n_components) float32: weights for the items met in training.
        cold: (n_buckets, n_components) float32: weights for the others; 0 but for the components with a prior.
        cold_offset: (n_buckets,) float32: added to the others' scores, so that both kinds share one ranking.
        sentence_warm, sentence_cold, sentence_offset: the same for a sentence without likes; beside likes a sentence
            counts as one more like, and its `text` weight is taken from here.
    """

    least_likes: NDArray[np.int64]
    warm: NDArray[np.float32]
    cold: NDArray[np.float32]
    cold_offset: NDArray[np.float32]
    sentence_warm: NDArray[np.float32]
    sentence_cold: NDArray[np.float32]
    sentence_offset: float

    def bucket(self, n_likes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bucket of each support size."""
        return np.searchsorted(self.least_likes, n_likes, side="right") - 1


@dataclass(frozen=True)
class Model:
    """Scores items for any support set.

    Attributes:
        few_shot: the head trained on episodes.
        backbone: iALS's own fold-in, in the same form.
        item_item, item_item_few: for the first rows, those of the items that were there in training.
        content: scores the cold items by their texts and links; None where they have neither.
        popularity: (n_items,) float32, log1p of training likes.
        cold: (n_items,) bool: items that nobody had met in training; their vectors are the prior's.
        text: (n_items, text_dim) float32 unit vectors, zeros where `has_text` says that an item has none.
        prior: places a new item.
        item_head: places an item that some users like by now; None in a bundle written before version 3.
        gate: blends.
        name: what reports call it.
    """

    few_shot: Head
    backbone: Head
    item_item: ItemItem | None
    item_item_few: ItemItem | None
    content: Content | None
    popularity: Tensor
    cold: Tensor
    text: Tensor
    prior: ItemEncoder
    item_head: ItemHead | None
    gate: Gate
    name: str = "kgrec"

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.popularity)

    def component_scores(self, component: str, support: csr_array) -> Tensor:
        """One component's scores, (n_users, n_items) float32, for supports (n_users, n_items)."""
        n_likes = np.diff(support.indptr).astype(np.int64)
        if component == FEW_SHOT:
            often = torch.from_numpy(self.few_shot.popularity_weight(n_likes))
            return torch.addmm(often[:, None] * self.popularity, self.few_shot.solve(support), self.few_shot.vectors.T)
        if component == BACKBONE:
            return self.backbone.solve(support) @ self.backbone.vectors.T
        if component == POPULARITY:
            return self.popularity.expand(len(n_likes), -1)
        if component == TEXT:
            return torch.zeros(support.shape)
        if component == CONTENT:
            scores = torch.zeros(support.shape)
            if self.content is not None:
                scores[:, self.cold] = self.content.score(support)
            return scores
        matrix = self.item_item if component == ITEM_ITEM else self.item_item_few
        return torch.zeros(support.shape) if matrix is None else matrix.score(support)

    @torch.inference_mode()
    def score(self, support: csr_array) -> NDArray[np.float32]:
        """Scores all items for users known by their likes.

        Args:
            support: (n_users, n_items), an entry where a user likes an item.

        Returns:
            (n_users, n_items) float32.
        """
        buckets = self.gate.bucket(np.diff(support.indptr))
        found = np.unique(buckets)
        if len(found) == 1:
            return self._score_bucket(support, int(found[0])).numpy()
        scores = np.empty(support.shape, np.float32)
        for bucket in found:
            rows = np.flatnonzero(buckets == bucket)
            scores[rows] = self._score_bucket(support[rows], int(bucket)).numpy()
        return scores

    def _score_bucket(self, support: csr_array, bucket: int) -> Tensor:
        weights = self._item_weights(self.gate.warm[bucket], self.gate.cold[bucket])  # (n_components, n_items)
        scores = self._offset(float(self.gate.cold_offset[bucket])).expand(support.shape[0], -1)
        for place, component in enumerate(COMPONENTS):
            if weights[place].any():
                scores = torch.addcmul(scores, self.component_scores(component, support), weights[place])
        return scores

    def _item_weights(self, warm: NDArray[np.float32], cold: NDArray[np.float32]) -> Tensor:
        return torch.where(self.cold, torch.from_numpy(cold)[:, None], torch.from_numpy(warm)[:, None])

    def _offset(self, cold_offset: float) -> Tensor:
        return torch.where(self.cold, cold_offset, 0.0)

    @torch.inference_mode()
    def contributions(
        self, likes: Sequence[int], items: NDArray[np.int64] | None = None, sentence: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Takes the scores of one user apart; their sum over all parts is the score.

        Args:
            likes: item rows of the support.
            items: (n,) item rows to score; None: all.
            sentence: (text_dim,) float32 unit vector of what the user says; None: nothing.

        Returns:
            (n_likes, n) what each like adds, (n,) what the sentence adds, (n,) what is there without either
            (popularity and the centre of all users).
        """
        rows = torch.arange(self.n_items) if items is None else torch.from_numpy(items)
        index = torch.as_tensor(likes, dtype=torch.long)
        warm, cold, offset = self._weights_for(len(likes), with_sentence=sentence is not None)
        weights = self._item_weights(warm, cold)[:, rows]
        of_likes = torch.zeros((len(likes), len(rows)))
        of_sentence, of_rest = torch.zeros(len(rows)), self._offset(offset)[rows].clone()
        for place, head in ((_PLACE[FEW_SHOT], self.few_shot), (_PLACE[BACKBONE], self.backbone)):
            if not weights[place].any():
                continue
            shown = head.vectors[index]
            if sentence is not None:
                said = torch.from_numpy(self.prior.place(sentence, np.zeros(0, np.int64)))
                shown = torch.cat([shown, (said @ head.to_head)[None]])
            shares, rest = head.shares(shown)
            items_of = head.vectors[rows].T * weights[place]  # (dim, n)
            of_likes += shares[: len(likes)] @ items_of
            of_rest += rest @ items_of
            often = float(head.popularity_weight(np.array([len(likes)]))[0])
            of_rest += often * self.popularity[rows] * weights[place]
            if sentence is not None:
                of_sentence += shares[-1] @ items_of
        for place, matrix in ((_PLACE[ITEM_ITEM], self.item_item), (_PLACE[ITEM_ITEM_FEW], self.item_item_few)):
            if matrix is None or not weights[place].any():
                continue
            like_places = torch.nonzero(index < len(matrix)).squeeze(1)  # an added item has no row
            item_places = torch.nonzero(rows < len(matrix)).squeeze(1)
            found = matrix.rows(index[like_places])
            found = found if items is None else found[:, rows[item_places]]
            of_likes[like_places[:, None], item_places] += found * weights[place, item_places]
        if self.content is not None and weights[_PLACE[CONTENT]].any():
            cold_places = torch.nonzero(self.cold[rows]).squeeze(1)
            among_cold = (self.cold.cumsum(0) - 1)[rows[cold_places]].numpy()
            shares = torch.from_numpy(self.content.shares(np.asarray(likes, np.int64), among_cold))
            of_likes[:, cold_places] += shares * weights[_PLACE[CONTENT], cold_places]
        of_rest += self.popularity[rows] * weights[_PLACE[POPULARITY]]
        if sentence is not None:
            of_sentence += (self.text[rows] @ torch.from_numpy(sentence)) * weights[_PLACE[TEXT]]
        return of_likes.numpy(), of_sentence.numpy(), of_rest.numpy()

    def _weights_for(
        self, n_likes: int, *, with_sentence: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        gate = self.gate
        if with_sentence and not n_likes:
            return gate.sentence_warm, gate.sentence_cold, gate.sentence_offset
        bucket = int(gate.bucket(np.array([n_likes]))[0])
        warm, cold = gate.warm[bucket].copy(), gate.cold[bucket].copy()
        if with_sentence:
            text = _PLACE[TEXT]
            warm[text], cold[text] = gate.sentence_warm[text], gate.sentence_cold[text]
        return warm, cold, float(gate.cold_offset[bucket])

    @property
    def n_training_likes(self) -> NDArray[np.int64]:
        """(n_items,) int64: the likes that each item had in training."""
        counts: NDArray[np.int64] = torch.expm1(self.popularity.double()).round().long().numpy()
        return counts

    def with_item(
        self, text: NDArray[np.float32] | None, codes: NDArray[np.int64], vectors: NDArray[np.float32] | None = None
    ) -> "Model":
        """The model with one more item, placed by its prior; see `ItemEncoder.place`."""
        has_text = text is not None and self.text.shape[1] > 0
        own_text = torch.from_numpy(text)[None] if has_text else torch.zeros((1, self.text.shape[1]))
        placed = self.prior.place(text, codes, vectors)[None]  # (1, dim)
        kept, row = np.arange(self.n_items), np.array([self.n_items])
        return self.with_items(kept, torch.cat([self.text, own_text]), row, placed, [codes])

    def with_items(
        self,
        kept: NDArray[np.int64],
        text: Tensor,
        rows: NDArray[np.int64],
        placed: NDArray[np.float32],
        codes: Sequence[NDArray[np.int64]],
    ) -> "Model":
        """The model of other items: some are gone, some new, some placed anew. What was learned stays as it is.

        Args:
            kept: (n_kept,) int64, ascending: the rows of the items that stay; they become the first rows.
            text: (n_items, text_dim) float32: the text vectors of the items that stay and of the new ones after them.
            rows: (n,) int64: the rows, as they become, of all new items and of others that are placed anew.
            placed: (n, dim) float32: the prior's vectors of these.
            codes: their link codes.
        """
        n_new = len(text) - len(kept)
        stays, index, vectors = torch.from_numpy(kept), torch.from_numpy(rows), torch.from_numpy(placed)

        def extend(values: Tensor, fill: float) -> Tensor:
            return torch.cat([values[stays], torch.full((n_new, *values.shape[1:]), fill, dtype=values.dtype)])

        def place(head: Head) -> Head:
            found = extend(head.vectors, 0.0)
            found[index] = vectors @ head.to_head
            return replace(head, vectors=found)

        def cut(matrix: ItemItem | None) -> ItemItem | None:
            if matrix is None or len(first := stays[stays < len(matrix)]) == len(matrix):
                return matrix
            return matrix.select(first)

        cold, item_head = extend(self.cold, True), self.item_head
        if item_head is not None:
            centres = extend(item_head.centres, 0.0)
            centres[index] = vectors
            item_head = replace(item_head, centres=centres)

        return replace(
            self,
            few_shot=place(self.few_shot),
            backbone=place(self.backbone),
            item_item=cut(self.item_item),
            item_item_few=cut(self.item_item_few),
            content=self._content_of(kept, cold, text, rows, codes),
            popularity=extend(self.popularity, 0.0),
            cold=cold,
            text=text,
            item_head=item_head,
        )

    def _content_of(
        self,
        kept: NDArray[np.int64],
        cold: Tensor,
        text: Tensor,
        rows: NDArray[np.int64],
        codes: Sequence[NDArray[np.int64]],
    ) -> Content | None:
        """What scores other cold items; see `with_items`."""
        if self.content is None:
            return None
        n_landmarks = len(self.content.landmarks)
        kernel = np.zeros((len(cold), n_landmarks), np.float32)
        before = np.zeros((self.n_items, n_landmarks), np.float32)
        before[self.cold.numpy()] = self.content.kernel
        kernel[: len(kept)] = before[kept]
        for row, own_codes in zip(rows.tolist(), codes, strict=True):
            own_text = text[row].numpy()
            kernel[row] = self.content.place(own_text if own_text.any() else None, own_codes)
        first = kept[kept < len(self.content.onto)]
        return replace(self.content, onto=self.content.onto[first], kernel=kernel[cold.numpy()])

    def with_likes(self, rows: NDArray[np.int64], support: csr_array, liked: csr_array) -> "Model":
        """The model with some items placed by who likes them, beside what their texts and links say.

        Only items that nobody had met in training are moved: the others' vectors were learned. Whoever likes an item
        is known by their likes of these others, so that it does not matter which item is placed first, and placing one
        again undoes what was done before: without likes it is where the prior places it.

        Args:
            rows: (n,) int64, the items' rows.
            support: (n, n_users) of 1s: who likes each of them.
            liked: (n_users, n_items): what all users like.
        """
        moved = np.flatnonzero(self.cold.numpy()[rows])
        if self.item_head is None or not len(moved):
            return self
        rows, support = rows[moved], support[moved]
        known = np.unique(support.indices)  # nobody else's vector is needed
        met = csr_array(liked[known].multiply(~self.cold.numpy()))
        met.eliminate_zeros()
        users = self.backbone.solve(met)
        index, vectors = torch.from_numpy(rows), self.item_head.solve(support[:, known], users, rows)

        def place(head: Head) -> Head:
            found = head.vectors.clone()
            found[index] = vectors @ head.to_head
            return replace(head, vectors=found)

        return replace(self, few_shot=place(self.few_shot), backbone=place(self.backbone))
