"""A bundle on disk is complete, or an error names what is wrong with it."""

import json
import pickletools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_files import assert_equal, change_json, change_tensors, names_in, read_tensors, saved_of, tensors_of
from linked_shop import LINKED, train_linked
from scipy.sparse import csr_array
from shop import CONFIG, SCHEMA, WordEncoder, train_shop

from graph_schema import CatalogueSchema
from kgrec.bundle import load_bundle, round_model, save_bundle
from kgrec.bundle.serialisation import FORMAT_VERSION
from kgrec.errors import BundleError
from kgrec.model.component import Support

GATE_WEIGHTS = ("warm", "cold", "sentence_warm", "sentence_cold")


def change_catalogue(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the ids and names of a bundle and writes them with a valid hash."""

    def rewrite(tensors: dict[str, torch.Tensor]) -> None:
        catalogue = json.loads(tensors["catalogue"].numpy().tobytes())
        change(catalogue)
        written = json.dumps(catalogue).encode()
        tensors["catalogue"] = torch.from_numpy(np.frombuffer(written, np.uint8).copy())

    change_tensors(path, rewrite)


def test_a_bundle_reads_back_as_written(saved: Path) -> None:
    assert_equal(load_bundle(saved, SCHEMA), saved_of(train_shop()))


def test_what_is_known_of_users_and_their_attributes_reads_back_as_written(tmp_path: Path) -> None:
    bundle = train_linked()
    assert bundle.model.user_prior is not None
    assert bundle.values.codes["customer.age"].labels
    save_bundle(bundle, tmp_path / "bundle")
    found = load_bundle(tmp_path / "bundle", LINKED)
    assert_equal(found, saved_of(bundle))
    prior = np.random.default_rng(0).normal(size=(3, CONFIG.embedding_dim)).astype(np.float32)
    np.testing.assert_array_equal(
        found.model.score(bundle.liked[:3], prior), bundle.model.score(bundle.liked[:3], prior)
    )


@pytest.mark.parametrize(
    "name", ["user_text", "user_link_node", "prior_of_users.path_table", "prior_of_users.is_value"]
)
def test_a_bundle_without_a_part_of_what_is_known_of_users_is_refused(name: str, tmp_path: Path) -> None:
    save_bundle(train_linked(), tmp_path / "bundle")
    change_tensors(tmp_path / "bundle", lambda tensors: tensors.pop(name))
    with pytest.raises(BundleError, match=name):
        load_bundle(tmp_path / "bundle")


def test_a_saved_model_answers_as_the_trained_one_to_the_bit(saved: Path) -> None:
    bundle = train_shop()
    ours, theirs = bundle.model, load_bundle(saved).model
    likes = bundle.liked
    np.testing.assert_array_equal(theirs.score(likes), ours.score(likes))
    sentences = WordEncoder().encode(["green tea", "a bell"])
    scores = [model.score_support(model.with_sentence(likes[:2], sentences)) for model in (ours, theirs)]
    np.testing.assert_array_equal(*scores)
    one = Support(likes[[3]])
    for name, value in vars(ours.contributions(one)).items():
        if name != "sources":
            np.testing.assert_array_equal(getattr(theirs.contributions(one), name), value)
    np.testing.assert_array_equal(theirs.likeness_vectors(), ours.likeness_vectors())
    codes = np.arange(3)
    np.testing.assert_array_equal(theirs.prior.place(sentences[0], codes), ours.prior.place(sentences[0], codes))
    n_items = ours.n_items
    grown = [
        model.with_items(
            np.arange(n_items), torch.cat([model.text, torch.from_numpy(sentences[:1])]), np.array([n_items]), [codes]
        )
        for model in (ours, theirs)
    ]
    more = csr_array((likes.data, likes.indices, likes.indptr), shape=(likes.shape[0], n_items + 1))
    np.testing.assert_array_equal(*(model.score(more) for model in grown))


def test_rounding_a_second_time_changes_nothing() -> None:
    bundle = train_shop()
    assert_equal(replace(bundle, model=round_model(bundle.model)), bundle)


def test_a_component_without_weights_is_not_stored(saved: Path) -> None:
    model = train_shop().model
    assert "co_likes" in model.names  # the shop's gate gives it no weight
    assert "co_likes" not in model.weighed().names
    assert not any(name.startswith("co_likes.") for name in sizes_of(saved))
    unweighed = replace(
        model, gate=replace(model.gate, **{name: 0 * getattr(model.gate, name) for name in GATE_WEIGHTS})
    )
    assert unweighed.weighed().names == ("backbone", "item_item", "knowledge")  # other components read these
    weighed = model.weighed()
    assert weighed.weighed() is weighed


def test_a_bundle_may_lack_components(tmp_path: Path) -> None:
    model = train_shop().model
    places = [model.names.index(name) for name in ("backbone", "item_item_few", "popularity")]
    gate = replace(
        model.gate, warm=model.gate.warm[:, places], cold=model.gate.cold[:, places],
        sentence_warm=model.gate.sentence_warm[places], sentence_cold=model.gate.sentence_cold[places],
    )  # fmt: skip
    fewer = replace(model, components=tuple(model.components[place] for place in places), gate=gate)
    bundle = replace(train_shop(), model=fewer)
    save_bundle(bundle, tmp_path / "bundle")
    found = load_bundle(tmp_path / "bundle")
    assert_equal(found, bundle)
    np.testing.assert_array_equal(found.model.score(found.liked), fewer.score(bundle.liked))


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_a_bundle_of_an_earlier_model_is_refused(version: int, saved: Path) -> None:
    change_json(saved, lambda described: described.update(version=version, kgrec="0.1"))
    with pytest.raises(BundleError, match=rf"format version {version}, written by kgrec 0\.1; .*: train again"):
        load_bundle(saved)


def test_an_unknown_component_is_refused(saved: Path) -> None:
    change_json(saved, lambda described: described["components"].append("astrology"))
    with pytest.raises(BundleError, match=r"unknown components \['astrology'\]; this kgrec knows \['backbone'"):
        load_bundle(saved)


def test_a_bundle_stores_no_redundant_numbers(saved: Path) -> None:
    """Item vectors take one or two bytes per number, and no matrix has n_items columns."""
    bundle, model = train_shop(), train_shop().model.weighed()
    n_items, sizes = model.n_items, sizes_of(saved)
    for component in model.components:
        name, width = f"{component.name}.items", component.items.shape[1]
        assert sizes.get(name, 0) <= (4 if component.name == "popularity" else 2) * n_items * width, name
    assert sizes["item_item.onto"] <= n_items * model.components[2].onto.shape[1]
    assert sizes["item_item.neighbours.data"] == 2 * model.components[2].neighbours.nnz
    assert "sentence.items" not in sizes  # these are the texts
    assert sizes["model.text"] <= n_items * model.text.shape[1]
    assert sizes["seen.indices"] == 2 * bundle.seen.nnz
    assert sizes["liked.of"] == -(-bundle.seen.nnz // 8)  # one bit per seen item
    assert tensors_of(saved).stat().st_size < sum(sizes.values())


def sizes_of(path: Path) -> dict[str, int]:
    return {name: value.numel() * value.element_size() for name, value in read_tensors(path).items()}


def test_equal_bundles_are_equal_files(saved: Path, tmp_path: Path) -> None:
    save_bundle(load_bundle(saved), tmp_path / "again")
    for name in names_in(saved):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()
    assert names_in(tmp_path / "again") == names_in(saved) != []


def test_nothing_is_pickled(saved: Path) -> None:
    files = [saved / name for name in names_in(saved)]
    assert sorted(file.suffix for file in files) == [".json", ".zst"]
    for file in files:
        with pytest.raises(ValueError, match=r"opcode|pickle|expected|unknown|not enough|codec"):
            list(pickletools.genops(file.read_bytes()))


def test_a_save_replaces_the_old_bundle(saved: Path) -> None:
    newer = replace(train_shop(), model=replace(train_shop().model, n_likes=train_shop().model.n_likes + 1))
    save_bundle(newer, saved)
    assert_equal(load_bundle(saved), saved_of(newer))
    assert len(names_in(saved)) == 2  # the old tensors are gone


@pytest.mark.parametrize("stopped_at", [0, 1], ids=["before the tensors", "between tensors and manifest"])
def test_a_write_that_stops_leaves_the_old_bundle(
    saved: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    newer = replace(train_shop(), model=replace(train_shop().model, n_likes=train_shop().model.n_likes + 1))
    rename, n_renamed = Path.replace, 0

    def rename_or_stop(self: Path, target: Path) -> Path:
        nonlocal n_renamed
        n_renamed += 1
        if n_renamed > stopped_at:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", rename_or_stop)
    with pytest.raises(BundleError, match=r"cannot write the bundle .*No space left"):
        save_bundle(newer, saved)
    assert_equal(load_bundle(saved), saved_of(train_shop()))
    monkeypatch.undo()
    save_bundle(newer, saved)
    assert_equal(load_bundle(saved), saved_of(newer))
    assert len(names_in(saved)) == 2  # the interrupted save leaves nothing behind


def test_a_missing_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle at .*none: expected a folder with bundle.json"):
        load_bundle(tmp_path / "none")


def test_truncated_tensors_are_refused(saved: Path) -> None:
    file = tensors_of(saved)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[: size // 2])
    with pytest.raises(BundleError, match=rf"truncated: .* has {size // 2} bytes, expected {size}"):
        load_bundle(saved)


def test_changed_tensors_are_refused(saved: Path) -> None:
    file = tensors_of(saved)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="another SHA-256"):
        load_bundle(saved)


def test_missing_tensors_are_refused(saved: Path) -> None:
    tensors_of(saved).unlink()
    with pytest.raises(BundleError, match=r"incomplete: no tensors-.*safetensors.zst; copy all"):
        load_bundle(saved)


@pytest.mark.parametrize("content", [b"", b'{"format": "kgrec-bundle", "ver', b"\xff\xfe\x00", b"\x80pickle"])
def test_a_damaged_manifest_is_refused(saved: Path, content: bytes) -> None:
    (saved / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"is damaged: bundle\.json"):
        load_bundle(saved)


@pytest.mark.parametrize("content", ["{}", "[]", "3", '{"format": "onnx", "version": 1}'])
def test_a_foreign_manifest_is_refused(saved: Path, content: str) -> None:
    (saved / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match="holds no kgrec bundle"):
        load_bundle(saved)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99, "1.0", None])
def test_a_newer_bundle_is_refused(saved: Path, version: object) -> None:
    change_json(saved, lambda described: described.update(version=version))
    with pytest.raises(BundleError, match=r"format version .*install a newer kgrec"):
        load_bundle(saved)


@pytest.mark.parametrize(
    "name", ["schema", "components", "config", "relations", "tensors", "encoder", "choices", "lineage"]
)
def test_an_incomplete_manifest_is_refused(saved: Path, name: str) -> None:
    change_json(saved, lambda described: described.pop(name))
    with pytest.raises(BundleError, match=rf"is damaged: .*{name}.*train again"):
        load_bundle(saved)


@pytest.mark.parametrize("name", ["ids", "names"])
def test_an_incomplete_catalogue_is_refused(saved: Path, name: str) -> None:
    change_catalogue(saved, lambda catalogue: catalogue.pop(name))
    with pytest.raises(BundleError, match=rf"is damaged: .*{name}.*train again"):
        load_bundle(saved)


def test_a_layout_that_does_not_match_the_file_is_refused(saved: Path) -> None:
    change_json(saved, lambda described: described["tensors"]["layout"]["tensors"].update(gate=["int64", [3]]))
    with pytest.raises(BundleError, match=r"is damaged: KeyError: 'gate'"):
        load_bundle(saved)


def test_ids_that_do_not_fit_the_tensors_are_refused(saved: Path) -> None:
    change_catalogue(saved, lambda catalogue: catalogue["ids"]["product"].pop())
    with pytest.raises(BundleError, match="is damaged"):
        load_bundle(saved)


def test_duplicate_ids_are_refused(saved: Path) -> None:
    change_catalogue(saved, lambda catalogue: catalogue["ids"]["product"].__setitem__(0, "sku-01"))
    with pytest.raises(BundleError, match="is damaged"):
        load_bundle(saved)


def test_tensors_named_outside_the_folder_are_not_read(saved: Path, tmp_path: Path) -> None:
    file = tensors_of(saved)
    file.rename(tmp_path / file.name)
    change_json(saved, lambda described: described["tensors"].update(file=f"../{file.name}"))
    with pytest.raises(BundleError, match="incomplete"):
        load_bundle(saved)


def test_a_bundle_of_another_schema_is_refused(saved: Path) -> None:
    other = CatalogueSchema.model_validate(SCHEMA.model_dump() | {"name": "market"})
    with pytest.raises(BundleError, match=r"schema 'shop' \(.*expected 'market' \(.*train again"):
        load_bundle(saved, other)


def test_a_save_into_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    for place in (tmp_path / "photos", tmp_path / "photos" / "cat.jpg"):
        with pytest.raises(BundleError, match="is no bundle; expected a new folder"):
            save_bundle(train_shop(), place)
    assert [file.name for file in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


def test_a_save_into_an_empty_folder_works(tmp_path: Path) -> None:
    save_bundle(train_shop(), tmp_path)
    assert_equal(load_bundle(tmp_path), saved_of(train_shop()))


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot write the bundle"):
        save_bundle(train_shop(), tmp_path / "file" / "bundle")
