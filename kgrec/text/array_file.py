"""Vectors of any number of texts in a file: a memory-mapped array that is written chunk by chunk."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from kgrec.errors import TextError
from kgrec.text.cache import encode_cached
from kgrec.text.encoder import Encoder, OnTexts

ROWS_PER_CHUNK = 32768


def encode_to_file(
    encoder: Encoder, source: Path, column: str, target: Path, cache_dir: Path, on_texts: OnTexts | None = None
) -> int:
    """Encodes a column of texts to a .npy file, float32 (n, dim) in the order of the rows, to be memory-mapped.

    Memory does not grow with the number of texts. The vectors go to `TARGET.part` until all are done; after an
    interrupt the same call resumes there, unless the encoder or the texts so far have changed. The cache in `cache_dir`
    saves encoding equal texts twice.

    Args:
        encoder: the encoder.
        source: a Parquet file, or a CSV file in UTF-8 with a header.
        column: its column of texts.
        target: the file to write; an old one is replaced when the new one is complete.
        cache_dir: the folder of the text cache.
        on_texts: called with (rows done so far, rows in all).

    Returns:
        The number of rows without text (null or blank); their vectors are 0.

    Raises:
        TextError: the source cannot be read, or a text cannot be encoded.
        OSError: the target cannot be written; no incomplete file is left under its name.
    """
    n = sum(len(batch) for batch in _read_batches(source, column))
    target.parent.mkdir(parents=True, exist_ok=True)
    part, state_file = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    about = {
        "revision": encoder.revision, "computation": encoder.computation, "n": n, "dim": encoder.dim,
        "rows_per_chunk": ROWS_PER_CHUNK,
    }  # fmt: skip
    state = _read_state(part, state_file)
    done = state["done"] if about.items() <= state.items() else 0
    if done and state["texts_sha256"] != _hash_rows(source, column, done):
        done = 0
    if done == 0:
        _reserve(part, n, encoder.dim)
    vectors = np.lib.format.open_memmap(part, mode="r+")
    n_blank, digest = 0, hashlib.sha256()
    texts = chain.from_iterable(_read_batches(source, column))
    for start in range(0, n, ROWS_PER_CHUNK):
        chunk = list(islice(texts, ROWS_PER_CHUNK))
        end = start + len(chunk)
        _update(digest, chunk)
        places = [place for place, text in enumerate(chunk) if text is not None and text.strip()]
        n_blank += len(chunk) - len(places)
        if start < done:
            continue
        on_chunk = None if on_texts is None else partial(_report, on_texts, end, n)
        rows = np.zeros((len(chunk), encoder.dim), np.float32)
        rows[places] = encode_cached(encoder, [str(chunk[place]) for place in places], cache_dir, on_chunk)
        vectors[start:end] = rows
        vectors.flush()  # before the state counts them as done
        _write_state(
            state_file, {**about, "n_bytes": part.stat().st_size, "done": end, "texts_sha256": digest.hexdigest()}
        )
        if on_texts is not None:
            on_texts(end, n)
    del vectors  # Windows moves no file that is mapped
    part.replace(target)
    state_file.unlink(missing_ok=True)
    return n_blank


def _read_batches(source: Path, column: str) -> Iterator[list[str | None]]:
    try:
        with source.open("rb") as file:
            if source.suffix == ".parquet":
                parquet = pq.ParquetFile(file)
                _check_column(source, column, parquet.schema_arrow)
                batches = parquet.iter_batches(columns=[column])
            else:
                as_text = pa_csv.ConvertOptions(
                    include_columns=[column], column_types={column: pa.string()}, strings_can_be_null=True
                )
                parsing = pa_csv.ParseOptions(newlines_in_values=True)
                batches = iter(pa_csv.open_csv(file, parse_options=parsing, convert_options=as_text))
            for batch in batches:
                yield batch.column(0).to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise TextError(
            f"cannot read the texts in the column {column!r} of {source}: {error}; expected a Parquet file, or a CSV "
            f"file in UTF-8 with a header: check the file and the column"
        ) from error


def _check_column(source: Path, column: str, schema: pa.Schema) -> None:
    if column not in schema.names:
        raise TextError(f"{source} has no column {column!r}; expected one of {', '.join(schema.names)}")
    kind = schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise TextError(f"the column {column!r} of {source} holds {kind}; expected texts: name another column")


def _reserve(part: Path, n: int, dim: int) -> None:
    """Writes an array of zeros that occupies its room on the disk: a memory map crashes where the disk is full."""
    try:
        with part.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (n, dim)}
            np.lib.format.write_array_header_2_0(file, header)
            file.flush()
            if n and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), file.tell(), n * dim * 4)
            else:  # macOS and Windows
                for start in range(0, n, ROWS_PER_CHUNK):
                    file.write(bytes(min(ROWS_PER_CHUNK, n - start) * dim * 4))
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _hash_rows(source: Path, column: str, n: int) -> str:
    digest = hashlib.sha256()
    _update(digest, islice(chain.from_iterable(_read_batches(source, column)), n))
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", texts: Iterable[str | None]) -> None:
    for text in texts:
        content = b"\xff" if text is None else text.encode()  # UTF-8 never has the byte 0xff
        digest.update(len(content).to_bytes(8, "little") + content)


def _read_state(part: Path, state_file: Path) -> dict[str, Any]:
    try:
        state = json.loads(state_file.read_text(encoding="utf-8"))
        return state if part.stat().st_size == state["n_bytes"] else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}  # missing or half written: encode everything again


def _write_state(state_file: Path, state: dict[str, Any]) -> None:
    new = state_file.with_name(f"{state_file.name}.new")
    new.write_text(json.dumps(state), encoding="utf-8")
    new.replace(state_file)


def _report(on_texts: OnTexts, end: int, n: int, done: int, total: int) -> None:
    """Reports progress within a chunk that ends at row `end`, of whose uncached texts `done` of `total` are encoded."""
    on_texts(end - (total - done), n)
