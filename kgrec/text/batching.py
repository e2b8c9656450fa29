"""Batches of texts: chunks between progress reports, rows of like length, and batches side by side on a CPU."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

TEXTS_PER_CALL, CHARACTERS_PER_CALL = 4096, 500_000  # between progress reports: some seconds of a CPU's work
CPU_TOKENS_PER_BATCH = 1024  # larger batches overflow a CPU's cache, smaller ones leave its matrix units idle
CUDA_TOKENS_PER_BATCH = 65536
_LEAST_TOKENS = 512  # of a batch: the overhead dominates smaller ones
_MOST_STREAMS = 8  # Python's share of a batch does not run in parallel


def count_streams() -> int:
    """How many batches a CPU computes in parallel: one thread for each batch beats all threads on one batch."""
    import torch

    return min(torch.get_num_threads(), _MOST_STREAMS)


def split_texts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Splits texts into chunks; after each, progress is reported and vectors can be cached."""
    start = size = 0
    for end, text in enumerate(texts):
        size += len(text)
        if end > start and (size > CHARACTERS_PER_CALL or end - start == TEXTS_PER_CALL):
            yield texts[start:end]
            start, size = end, len(text)
    if start < len(texts):
        yield texts[start:]


def batch_rows(lengths: Sequence[int], tokens_per_batch: int, streams: int) -> list[list[int]]:
    """Groups texts of like length into batches, longest first, small enough that every stream gets work.

    A batch ends when it is full, or when it is half full and the next text is shorter, which saves padding.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    budget = min(tokens_per_batch, max(sum(lengths) // (2 * streams), _LEAST_TOKENS))
    batches: list[list[int]] = []
    longest = size = 0
    for row in order:
        if not batches or size + longest > budget or (2 * size >= budget and lengths[row] < longest):
            batches.append([])
            longest, size = lengths[row], 0
        batches[-1].append(row)
        size += longest
    return batches


def run_batches(embed: Callable[[list[int]], None], batches: list[list[int]], streams: int) -> None:
    """Embeds batches, `streams` at a time."""
    import torch

    if streams == 1 or len(batches) == 1:
        for rows in batches:
            embed(rows)
        return
    n_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(streams, initializer=torch.set_num_threads, initargs=(max(1, n_threads // streams),))
    try:
        for _ in pool.map(embed, batches):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the rest
        torch.set_num_threads(n_threads)  # new threads inherit the value set last
