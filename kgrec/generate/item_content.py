"""The content of a bundle's items, from which semantic ids are made: texts and links as `similar` compares them."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from kgrec.bundle import Bundle
from kgrec.model.likeness import LINKS, WEIGHTS, join_content

_EVERYTHING = slice(None)


def read_content(bundle: Bundle, rows: NDArray[np.int64] | slice = _EVERYTHING) -> NDArray[np.float32]:
    """(n, content_dim) float32: the content of some items, zeros where an item has neither texts nor links.

    An item that is added later has one, too.
    """
    model = bundle.model
    text, columns = model.text.numpy()[rows], model.columns.numpy()[rows]
    texts = model.likeness.place_texts(join_content(text, [columns]))
    return np.hstack([texts, np.float32(WEIGHTS[LINKS] ** 0.5) * model.likeness.links[rows]])


def digest_content(bundle: Bundle) -> str:
    """SHA-256 of how content is read: bundles with the same one read the same text and links as the same content.

    Adding items and syncing do not change it; another training may.
    """
    likeness, digest = bundle.model.likeness, hashlib.sha256(bundle.encoder_revision.encode())
    for part in (likeness.text_mean, likeness.text_basis, likeness.idf, likeness.relation, np.array(likeness.seed)):
        digest.update(str((part.dtype, part.shape)).encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
