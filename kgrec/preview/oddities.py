"""What looks wrong in a catalogue at a first look."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from graph_schema import GraphTables
from graph_schema.drafts.name_words import GRADES, begins_with, split_words

_FLOAT_ID = r"^-?\d+\.0+$"
_MISREAD = r"Ã[\x{80}-\x{BF}]|â€|�"  # UTF-8 that was read as Latin-1
_SOME, _MANY = 0.05, 0.5


def find_oddities(tables: GraphTables, texts: Sequence[str | None]) -> Iterator[str]:
    """Finds what looks wrong.

    Args:
        tables: the catalogue, or its first rows.
        texts: the text of each item, None where it has none.

    Yields:
        A sentence each.
    """
    yield from _check_likes(tables)
    yield from _check_ids(tables)
    yield from _check_names(tables)
    yield from _check_edges(tables)
    yield from _check_descriptions(tables, texts)


def _check_likes(tables: GraphTables) -> Iterator[str]:
    n_all, n_likes = tables.interactions.num_rows, tables.likes.num_rows
    chosen = tables.schema.interaction
    if n_likes == 0:
        yield f"no interaction is a like ({chosen.describe_like()}): change `positive` in the schema"
    elif n_likes == n_all and chosen.weight and (chosen.positive is not None or _is_grade(chosen.weight)):
        yield f"every interaction is a like ({chosen.describe_like()}): if some are none, change `positive`"


def _check_ids(tables: GraphTables) -> Iterator[str]:
    for name in tables.schema.nodes:
        ids = tables.ids(name).combine_chunks()
        n_floats = _count(pc.match_substring_regex(ids, _FLOAT_ID))
        if n_floats:
            example = ids.filter(pc.match_substring_regex(ids, _FLOAT_ID))[0].as_py()
            yield f"{name}: {n_floats:,} ids look like decimal numbers ({example}): did a table write them so?"


def _check_names(tables: GraphTables) -> Iterator[str]:
    schema = tables.schema
    for name, node in schema.nodes.items():
        if node.derived or (name == schema.user_type and node.name is None):
            continue
        n_all = tables.nodes[name].num_rows
        if node.name is None:
            if name == schema.item_type:
                yield f"{name}: items have no names, and are shown by their ids: name a column as `name`"
            continue
        names = tables.nodes[name][node.name].combine_chunks()
        n_without = _count(pc.or_kleene(pc.is_null(names), pc.equal(names, "")))
        if n_without > _SOME * n_all:
            yield f"{name}: {n_without:,} of {n_all:,} have no {node.name}"
        misread = names.filter(pc.fill_null(pc.match_substring_regex(names, _MISREAD), False))
        if len(misread):
            yield f"{name}: {len(misread):,} names were read in another encoding, such as {misread[0].as_py()!r}"
        n_named = len(names) - names.null_count
        n_distinct = len(names.drop_null().unique())
        if name == schema.item_type and n_named > 1 and n_distinct < _MANY * n_named:
            yield f"{name}: {n_named:,} items share {n_distinct:,} names: is {node.name} the name of something else?"


def _check_edges(tables: GraphTables) -> Iterator[str]:
    for name, edge in tables.schema.edges.items():
        if tables.edges[name].num_rows == 0 and not edge.derived:
            yield f"{name}: no edge was read"


def _check_descriptions(tables: GraphTables, texts: Sequence[str | None]) -> Iterator[str]:
    """What describes items: their texts, and their links and features."""
    schema = tables.schema
    n_without = sum(text is None for text in texts)
    item = schema.nodes[schema.item_type]
    is_linked = any(schema.item_type in (edge.source, edge.target) for edge in schema.graph_edges.values())
    is_linked = is_linked or bool(item.features or item.vectors)
    if not is_linked and n_without == len(texts):
        yield (
            "items have neither texts nor links nor features: only their users say what they are like, and new items "
            "cannot be placed"
        )
    elif not is_linked:
        yield "items have neither links nor features: new ones are placed by their texts alone"
        if n_without > _SOME * len(texts):
            yield f"{n_without:,} of {len(texts):,} items have no text: nothing describes them"
    elif n_without > _SOME * len(texts):
        yield f"{n_without:,} of {len(texts):,} items have no text: they are placed by their links alone"


def _is_grade(name: str) -> bool:
    return begins_with(split_words(name), GRADES)


def _count(flags: pa.Array) -> int:
    return pc.sum(flags.cast(pa.int64())).as_py() or 0
