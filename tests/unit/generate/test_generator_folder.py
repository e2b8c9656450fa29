import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generators import draw_vectors, make_generator

from kgrec.errors import BundleError
from kgrec.generate.generator import Generator, generate
from kgrec.generate.generator_folder import GENERATOR_FILE, load_generator, save_generator
from kgrec.generate.item_sequences import ItemSequences

ITEMS = [f"i{row}" for row in range(30)]
ABOUT = {"schema": "abc"}


@pytest.fixture(scope="module")
def generator() -> Generator:
    return make_generator()


@pytest.fixture
def folder(generator: Generator, tmp_path: Path) -> Path:
    save_generator(generator, tmp_path / "g", items=ITEMS, about=ABOUT)
    return tmp_path / "g"


def name_tensors(folder: Path) -> Path:
    return folder / json.loads((folder / GENERATOR_FILE).read_text())["tensors"]["file"]


def test_a_generator_comes_back_as_it_was(generator: Generator, folder: Path) -> None:
    loaded, items, about = load_generator(folder)
    assert (list(items), about) == (ITEMS, ABOUT)
    assert (loaded.ids.codes == generator.ids.codes).all()
    sequences = ItemSequences.of([[1, 2, 3], []])
    one, again = (generate(each, sequences, 30, beams=30, hide_seen=False) for each in (generator, loaded))
    np.testing.assert_array_equal(loaded.vectors, generator.vectors)  # a folder keeps them in half precision
    np.testing.assert_array_equal(again.rows, one.rows)
    np.testing.assert_array_equal(again.log_probs, one.log_probs)


def test_new_items_get_the_same_ids_after_loading(generator: Generator, folder: Path) -> None:
    new = draw_vectors(3, seed=5)
    ids = [each.with_items(np.arange(30), new).ids.codes for each in (generator, load_generator(folder)[0])]
    assert (ids[0] == ids[1]).all()


def test_a_generator_is_replaced(generator: Generator, folder: Path) -> None:
    other = make_generator(seed=1)
    save_generator(other, folder, items=ITEMS, about=ABOUT)
    assert (load_generator(folder)[0].ids.codes == other.ids.codes).all()
    assert len(list(folder.glob("generator-*"))) == 1


def test_a_missing_folder_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no generator at .*generator\.json"):
        load_generator(tmp_path / "nowhere")


def test_half_a_copy_is_one_error(folder: Path) -> None:
    name_tensors(folder).unlink()
    with pytest.raises(BundleError, match=r"incomplete: no generator-.*copy"):
        load_generator(folder)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_cut_or_changed_tensors_are_one_error(folder: Path, keep: int) -> None:
    file = name_tensors(folder)
    content = file.read_bytes()
    file.write_bytes(content[:keep] if keep >= 0 else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"damaged: generator-.* SHA-256"):
        load_generator(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "kgrec bundle"}, "holds no generator"),
        ({"version": 99}, "version 99"),
        ({"tokens": "0" * 64}, "other semantic ids"),
        ({"tensors": {"file": "../secret", "sha256": "", "layout": {}}}, "expected one of its own folder"),
        ({"tensors": None}, "damaged"),
        ({"about": None}, "damaged"),
        ({"shape": {}}, "damaged"),
    ],
)
def test_another_manifest_is_one_error(folder: Path, change: dict[str, object], problem: str) -> None:
    file = folder / GENERATOR_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(BundleError, match=problem):
        load_generator(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "\x00"])
def test_a_broken_manifest_is_one_error(folder: Path, content: str) -> None:
    (folder / GENERATOR_FILE).write_text(content)
    with pytest.raises(BundleError, match=r"damaged|holds no generator"):
        load_generator(folder)


def test_other_ids_are_one_error(generator: Generator, tmp_path: Path) -> None:
    for items in (ITEMS[:-1], [*ITEMS[:-1], ITEMS[0]]):
        save_generator(generator, tmp_path / "g", items=items, about={})
        with pytest.raises(BundleError, match="damaged: ValueError: 29 ids for 30 items"):
            load_generator(tmp_path / "g")


def test_weights_of_other_ids_are_one_error(generator: Generator, folder: Path) -> None:
    """A manifest of one generator beside the tensors of another."""
    books = tuple(book + 1 for book in generator.ids.codebooks)
    manifest = json.loads((folder / GENERATOR_FILE).read_text())
    other = replace(generator, ids=replace(generator.ids, codebooks=books), network=make_generator(seed=1).network)
    save_generator(other, folder, items=ITEMS, about=ABOUT)
    changed = json.loads((folder / GENERATOR_FILE).read_text()) | {"tokens": manifest["tokens"]}
    (folder / GENERATOR_FILE).write_text(json.dumps(changed))
    with pytest.raises(BundleError, match="other semantic ids"):
        load_generator(folder)


def test_what_is_no_generator_is_not_overwritten(generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="is no generator"):
        save_generator(generator, tmp_path, items=ITEMS, about=ABOUT)
    assert (tmp_path / "notes.txt").read_text() == "mine"
