"""Speed of encoding texts, compared with `SentenceTransformer.encode` and its defaults, in turns in one process.

    python scripts/benchmarks/encoding_speed.py --data ../shared/data/ml-1m
    python scripts/benchmarks/encoding_speed.py --threads 1

One thread is measured in processor time, so that other processes do not matter; more threads in wall time.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from kgrec.errors import TextError
from kgrec.text.encoder import has_bf16, load_encoder
from kgrec.text.language_model import load_language_model
from kgrec.text.model_files import find_folder

Encode = Callable[[list[str]], NDArray[np.float32]]


def main(
    data: Annotated[Path, typer.Option(help="The folder with movies.parquet and kg.parquet.")] = Path(
        "../shared/data/ml-1m"
    ),
    plots: Annotated[int, typer.Option(help="Number of long texts.")] = 200,
    names: Annotated[int, typer.Option(help="Number of short texts.")] = 2000,
    threads: Annotated[int, typer.Option(help="Threads of every encoder, the peer included.")] = 2,
    rounds: Annotated[int, typer.Option(help="Number of times that each encodes the texts.")] = 5,
) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    folder = find_folder(None, False)
    peer = SentenceTransformer(str(folder), device="cpu")
    ways: dict[str, Encode] = {
        "SentenceTransformer.encode": lambda texts: np.asarray(peer.encode(texts, normalize_embeddings=True)),
        "kgrec, torch fp32": load_encoder(precision="fp32").encode,
    }
    if has_bf16("cpu"):
        ways["kgrec, torch bf16"] = load_encoder(precision="bf16").encode
    try:
        best = load_encoder(backend="openvino")
        ways[f"kgrec, openvino {best.precision}"] = best.encode
    except TextError as error:
        print(error)
    tokenize = load_language_model().tokenize
    clock = time.process_time if threads == 1 else time.perf_counter
    table = Table(title=f"texts/s, medians of {rounds} rounds by turns, {threads} threads")
    for column in ("texts", "tokens", "by", "texts/s", "times the peer", "least cosine"):
        table.add_column(column, justify="left" if column in {"texts", "by"} else "right")
    for kind, texts in (
        ("plots", _draw(data / "movies.parquet", "plot", plots)),
        ("names", _draw(data / "kg.parquet", "entity", names)),
    ):
        n_tokens = sum(map(len, tokenize(texts))) / len(texts)
        for way, rate, ratio, cosine in _measure(ways, texts, rounds, clock):
            table.add_row(kind, f"{n_tokens:.1f}", way, f"{rate:,.0f}", f"{ratio:.2f}", f"{cosine:.5f}")
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _draw(file: Path, column: str, n: int) -> list[str]:
    texts = sorted({text for text in pq.read_table(file)[column].to_pylist() if text and text.strip()})
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))[:n]]


def _measure(
    ways: dict[str, Encode], texts: Sequence[str], rounds: int, clock: Callable[[], float]
) -> list[tuple[str, float, float, float]]:
    took: dict[str, list[float]] = {way: [] for way in ways}
    vectors: dict[str, NDArray[np.float32]] = {}
    for encode in ways.values():  # warm-up: the first call chooses kernels
        encode(list(texts[:64]))
    for _ in range(rounds):
        for way, encode in ways.items():
            started = clock()
            vectors[way] = encode(list(texts))
            took[way].append(clock() - started)
    peer = next(iter(ways))
    return [
        (
            way,
            len(texts) / statistics.median(took[way]),
            statistics.median(a / b for a, b in zip(took[peer], took[way], strict=True)),
            float((vectors[way] * vectors[peer]).sum(axis=1).min()),
        )
        for way in ways
    ]


if __name__ == "__main__":
    typer.run(main)
