"""Columns of text: their decoding, and the parsing of each distinct value where Arrow cannot cast a column whole."""

import html
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
MISSING_WORDS = frozenset(("", "nan", "NaN", "NULL", "null", "None", "N/A", r"\N", "<NA>"))  # no id is called so
MISSING_TEXTS = frozenset(("NaN", "NULL", r"\N", "<NA>"))  # in columns of text, where "None" may be a word like others
Problem = tuple[Mask, str]  # bool [rows]: which rows; what is wrong with them, a text that follows the column's name

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")


def decode(column: pa.Array) -> pa.Array:
    """A column without extension types, dictionaries, and the large and view forms of text."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_large_binary(column.type) or pa.types.is_binary_view(column.type):
        column = column.cast(pa.binary())
    return column


def is_text(kind: pa.DataType) -> bool:
    """Whether a decoded column is text, or bytes that may be text."""
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def is_missing_word(text: pa.Array) -> pa.Array:
    """Which texts are empty or a word for a missing value, such as "NULL"; booleans."""
    return pc.is_in(text, pa.array(sorted(MISSING_WORDS)))


def drop_missing_texts(text: pa.Array) -> pa.Array:
    """Texts, null where they are one of `MISSING_TEXTS`."""
    return pc.if_else(pc.is_in(text, pa.array(sorted(MISSING_TEXTS))), pa.scalar(None, text.type), text)


def to_string(column: pa.Array) -> tuple[pa.Array, list[Problem]]:
    """A decoded column as text; text that is not UTF-8 or has a NUL character does not fit.

    The entries of a list are joined by spaces: the paragraphs of a description, the words of a title.
    """
    if pa.types.is_list(column.type):
        joined = pc.binary_join(column.cast(pa.list_(pa.string())), " ")
        column = pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined)
    if not is_text(column.type):
        return column.cast(pa.string()), []
    problems: list[Problem] = []
    try:
        column.validate(full=True)
        text = column.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = [_decode_utf8(value) for value in column.view(pa.binary()).to_pylist()]
        bad = np.array([isinstance(value, bytes) for value in decoded], dtype=bool)
        text = pa.array([None if isinstance(value, bytes) else value for value in decoded], pa.string())
        problems.append((bad, "is not valid UTF-8"))
    nul = to_mask(pc.match_substring(text, "\0"))
    if nul.any():
        problems.append((nul, "has a NUL character"))
        text = pc.if_else(pa.array(nul), pa.scalar(None, pa.string()), text)
    return text, problems


def parse_each(text: pa.Array, parse: Callable[[str], object], kind: pa.DataType) -> tuple[pa.Array, Mask]:
    """Parses each distinct text by itself, without the spaces around it; empty text is null.

    Args:
        text: strings.
        parse: gives the value; raises ValueError or OverflowError where the text does not fit.
        kind: the type of the values.

    Returns:
        The values, and which rows do not fit.
    """
    encoded = text.dictionary_encode()
    parsed: list[object] = []
    bad = np.zeros(len(encoded.dictionary) + 1, dtype=bool)  # the last stands for null
    for place, value in enumerate(encoded.dictionary.to_pylist()):
        stripped = value.strip()
        try:
            parsed.append(parse(stripped) if stripped else None)
        except (ValueError, OverflowError):
            parsed.append(None)
            bad[place] = True
    places = encoded.indices.fill_null(len(parsed))
    return pa.array([*parsed, None], kind).take(places), bad[places.to_numpy()]


def mend_entities(text: pa.Array) -> pa.Array:
    """Texts with the characters that HTML entities stand for: "Tom &amp; Jerry" is "Tom & Jerry".

    Args:
        text: strings, or lists of them.
    """
    if pa.types.is_list(text.type):
        mended = mend_entities(text.flatten())
        lengths = pc.fill_null(pc.list_value_length(text), 0).to_numpy()
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), mended, mask=text.is_null()).cast(text.type)
    has_one = to_mask(pc.match_substring_regex(text, _ENTITY.pattern))
    if not has_one.any():
        return text
    # NUL, which "&#0;" stands for, becomes the sign of a character that is unknown
    given = text.filter(pa.array(has_one)).to_pylist()
    found = [_ENTITY.sub(lambda entity: html.unescape(entity[0]), one) for one in given]
    return pc.replace_with_mask(text, pa.array(has_one), pa.array(found, pa.string()))


def mend_written_lists(column: pa.Array) -> pa.Array:
    """Lists that are written as text, mended before they are split at the ";" of an entity; other columns stay.

    Those in brackets stay too: a quotation mark that is mended would end an entry.
    """
    text = decode(column)
    if not pa.types.is_string(text.type):
        return column
    return pc.if_else(pc.starts_with(pc.utf8_ltrim_whitespace(text), "["), text, mend_entities(text))


def to_mask(values: pa.Array) -> Mask:
    """Booleans as a mask; null is false."""
    mask: Mask = values.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _decode_utf8(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value
