"""Lists written as text, such as "Drama|War": what is between their entries."""

import ast
import json
import re
import statistics
from collections.abc import Sequence

from graph_schema.drafts.name_words import NAMES, TEXTS, is_entity_name, is_place_name, split_id, split_words

BRACKETS = "[]"  # the separator that stands for lists as JSON or Python write them
_SEPARATORS = ("|", ";", " > ", ", ", ",")
_LEAST_SPLIT = 0.1  # share of the values that have several entries
_MOST_WORDS = 4  # of an entry, on average
_ALL_PAIRS = 0.9  # values with exactly two entries: "Tolkien, John", no list


def find_separator(name: str, texts: Sequence[str]) -> str:
    """What is between the entries of a column of lists; empty where its values are no lists.

    A comma is judged more strictly, since titles and names have it too: the column must be called like a list, as
    "genres" and "author" are.

    Args:
        name: the column's name.
        texts: distinct values.
    """
    if not texts:
        return ""
    if sum(text.lstrip().startswith("[") and text.rstrip().endswith("]") for text in texts) * 2 > len(texts):
        return BRACKETS if _are_entries(split_entries(texts, BRACKETS)) else ""
    for separator in _SEPARATORS:
        split = [text for text in texts if separator in text]
        if len(split) < max(_LEAST_SPLIT * len(texts), 1):
            continue
        if separator in (", ", ",") and not _is_called_a_list(name, split, separator, len(texts)):
            return ""
        if separator in ("|", ";", " > ") and len(split) * 4 < len(texts) and not _is_plural(name):
            continue
        return separator if _are_entries(split_entries(texts, separator)) else ""
    return ""


def split_entries(texts: Sequence[str], separator: str) -> list[str]:
    """The entries of all lists, stripped, one after the other; empty ones are left out."""
    if separator != BRACKETS:
        return [entry for text in texts for part in text.split(separator) if (entry := part.strip())]
    found: list[str] = []
    for text in texts:
        for read in (json.loads, ast.literal_eval):
            try:
                entries = read(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
            if isinstance(entries, list):
                found += [str(entry).strip() for entry in entries if isinstance(entry, str | int | float)]
            break
    return [entry for entry in found if entry]


def _are_entries(entries: Sequence[str]) -> bool:
    """Whether entries are ids or words, not sentences or measures such as the numbers of a vector."""
    if not entries:
        return False
    n_measures = sum(bool(re.fullmatch(r"[+-]?\d*[.,]\d+(e[+-]?\d+)?", entry)) for entry in entries)
    return n_measures * 2 <= len(entries) and statistics.fmean(len(entry.split()) for entry in entries) <= _MOST_WORDS


def _is_called_a_list(name: str, split: Sequence[str], separator: str, n_texts: int) -> bool:
    words = split_words(name)
    is_text = words[-1:] and (words[-1] in NAMES or words[-1] in ("description", "text", "url"))
    if is_text or is_place_name(words) or not (_is_plural(name) or is_entity_name(words) or words[-1:] == ["cast"]):
        return False
    n_pairs = sum(text.count(separator) == 1 for text in split)
    return _is_plural(name) or n_pairs < _ALL_PAIRS * n_texts


def _is_plural(name: str) -> bool:
    words = split_id(name)[0] or split_words(name)
    last = words[-1] if words else ""
    return (last.endswith("s") and not last.endswith(("ss", "us", "is"))) or last in TEXTS or name.endswith("ids")
