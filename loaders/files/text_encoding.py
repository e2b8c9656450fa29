"""The encoding of a text file, and its content as UTF-8."""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

BLOCK_BYTES = 16 << 20
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_UTF_8 = ("utf-8", "utf-8-sig")
_MANY = 0.3  # share of zero bytes that Latin text in UTF-16 has beyond


def find_mark(file: Path) -> str:
    """The encoding that the first bytes of a file say, compressed or not; UTF-8 where they say none."""
    start = read_start(file, 4096)
    marked = next((encoding for mark, encoding in _BOMS.items() if start.startswith(mark)), None)
    if marked is not None:
        return marked
    if start.count(0) > _MANY * len(start):
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    return "utf-8"


def find_encoding(file: Path) -> str:
    """The encoding of a text file, found by reading all of it.

    Returns:
        The one that its first bytes say; "utf-8" if it is; else "cp1252", or "latin-1" for bytes that cp1252 lacks.
    """
    marked = find_mark(file)
    if marked != "utf-8":
        return marked
    for encoding in ("utf-8", "cp1252"):
        try:
            for _ in iter_utf8(file, encoding, is_checked=True):
                pass
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def read_start(file: Path, most_bytes: int) -> bytes:
    """The first bytes of a file, decompressed."""
    with pa.input_stream(str(file), compression="detect") as stream:
        start: bytes = stream.read(most_bytes)
    return start


def iter_utf8(
    file: Path, encoding: str, block_bytes: int = BLOCK_BYTES, *, is_checked: bool = False
) -> Iterator[bytes]:
    """A text file, decompressed, as UTF-8 in blocks; a mark of its encoding is left out.

    Args:
        file: the file.
        encoding: its encoding.
        block_bytes: how much to read at once.
        is_checked: fail where a UTF-8 file has bytes that are not UTF-8; otherwise they stay as they are.

    Raises:
        UnicodeDecodeError: the file has another encoding.
        LookupError: there is no such encoding.
    """
    is_utf_8 = codecs.lookup(encoding).name in _UTF_8
    decoder = None if is_utf_8 and not is_checked else codecs.getincrementaldecoder(encoding)("strict")
    is_start = True
    with pa.input_stream(str(file), compression="detect") as stream:
        while block := stream.read(block_bytes):
            if decoder is not None:
                block = decoder.decode(block).encode()
            if is_start and block:
                block = block.removeprefix(codecs.BOM_UTF8)
                is_start = False
            yield block
    if decoder is not None:
        yield decoder.decode(b"", final=True).encode()


def iter_whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of whole lines; lines that end in a lone carriage return get a line feed."""
    rest: list[bytes] = []
    has_old_ends: bool | None = None
    for block in blocks:
        if has_old_ends is None and block:
            has_old_ends = b"\r" in block and b"\n" not in block
        whole = block.replace(b"\r", b"\n") if has_old_ends else block
        cut = whole.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, whole[:cut]])
            rest = []
        rest.append(whole[cut:])
    last = b"".join(rest)
    if last:
        yield last
