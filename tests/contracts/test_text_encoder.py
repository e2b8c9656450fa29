"""The contract of text encoders, on the default encoder and on a tiny one, and the checks of a model's folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from kgrec.errors import TextError
from kgrec.text.batching import TEXTS_PER_CALL
from kgrec.text.encoder import Encoder, load_encoder

pytestmark = pytest.mark.slow

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "aeioudnrst")]


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Saves a real sentence-transformers model of a few kilobytes: a BERT of one layer, 16 wide, with mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    bert = folder / "bert"
    bert.mkdir(parents=True)
    (bert / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(str(bert / "vocab.txt")).save_pretrained(bert)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(BertConfig(vocab_size=len(WORDS), **size)).save_pretrained(bert)
    model = SentenceTransformer(modules=[Transformer(str(bert)), Pooling(16)], device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module", params=["default", "tiny"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    name = None if request.param == "default" else str(request.getfixturevalue("tiny_model"))
    return load_encoder(name, "cpu")


def test_vectors_are_unit_float32_rows(encoder: Encoder) -> None:
    vectors = encoder.encode(["a heist goes wrong", "b"])
    assert vectors.shape == (2, encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_rows_are_in_the_order_of_the_texts(encoder: Encoder) -> None:
    texts = ["a", "two old friends meet in a bar at night", "no", "space opera", "a", "cd e"]
    singly = np.concatenate([encoder.encode([text]) for text in texts])
    assert ((encoder.encode(texts) * singly).sum(axis=1) > 0.999).all()
    assert ((encoder.encode(texts[::-1]) * singly[::-1]).sum(axis=1) > 0.999).all()
    assert len(np.unique(singly.round(3), axis=0)) == 5  # different texts have different vectors


def test_equal_texts_have_equal_rows_and_are_encoded_once(encoder: Encoder) -> None:
    reported: list[tuple[int, int]] = []
    vectors = encoder.encode(["heat", "speed", "heat"], lambda done, total: reported.append((done, total)))
    assert (vectors[0] == vectors[2]).all()
    assert not (vectors[0] == vectors[1]).all()
    assert reported == [(2, 2)]


def test_no_texts_is_an_empty_array(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


@pytest.mark.parametrize("bad", ["", "  \n\t", "\ud800", None, 3])
def test_a_bad_text_is_an_error_with_its_place(encoder: Encoder, bad: object) -> None:
    with pytest.raises(TextError, match="place 1 of 2"):
        encoder.encode(["heat", bad])  # type: ignore[list-item]


def test_a_revision_is_the_same_each_time(encoder: Encoder) -> None:
    name = None if encoder.name == "all-MiniLM-L6-v2" else encoder.name
    again = load_encoder(name)
    assert (again.revision, again.computation) == (encoder.revision, encoder.computation)
    assert (again.encode(["heat"]) == encoder.encode(["heat"])).all()


def test_the_default_encoder_ranks_similar_texts_first() -> None:
    encoder = load_encoder()
    assert (encoder.name, encoder.dim) == ("all-MiniLM-L6-v2", 384)
    space, stars, cake = encoder.encode(["a war between star ships", "battles in outer space", "how to bake a cake"])
    assert space @ stars > 0.4
    assert space @ cake < 0.2
    assert load_encoder("all-MiniLM-L6-v2").revision == encoder.revision


def test_progress_is_reported_chunk_by_chunk(tiny_model: Path) -> None:
    reported: list[tuple[int, int]] = []
    n = TEXTS_PER_CALL + 5
    load_encoder(str(tiny_model)).encode([f"a {i}" for i in range(n)], lambda *done: reported.append(done))
    assert reported == [(TEXTS_PER_CALL, n), (n, n)]


def test_a_revision_depends_on_content_and_not_on_the_path(tiny_model: Path, tmp_path: Path) -> None:
    original = load_encoder(str(tiny_model))
    copied = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    (copied / "README.md").write_text("another description")
    assert load_encoder(str(copied)).revision == original.revision
    other = load_encoder(str(save_tiny_model(tmp_path / "other", seed=1)))
    assert other.revision != original.revision
    assert not np.allclose(other.encode(["heat"]), original.encode(["heat"]), atol=1e-2)


def test_loading_leaves_the_random_generator_alone(tiny_model: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_encoder(str(tiny_model))
    assert torch.equal(torch.rand(4), expected)


def _halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _edit_weights(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def edit(file: Path) -> None:
        weights = load_file(file)
        change(weights)
        save_file(weights, file)

    return edit


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("modules.json", Path.unlink, "modules.json"),
        ("modules.json", _halve, "modules.json"),
        ("modules.json", lambda file: file.write_text(json.dumps({"a": 1})), "modules.json"),
        ("config.json", Path.unlink, "no config.json"),
        ("config.json", _halve, "config.json cannot be read"),
        ("1_Pooling/config.json", Path.unlink, "1_Pooling"),
        ("model.safetensors", Path.unlink, "no weights"),
        ("model.safetensors", _halve, "cannot load"),
        ("tokenizer.json", Path.unlink, "no tokenizer"),
        ("tokenizer.json", _halve, "cannot load"),
        (
            "model.safetensors",
            _edit_weights(lambda w: w.pop("embeddings.word_embeddings.weight")),
            "lacks some of its weights",
        ),
        ("model.safetensors", _edit_weights(lambda w: w["embeddings.LayerNorm.bias"].fill(np.nan)), "no unit vector"),
    ],
)
def test_a_damaged_folder_is_an_error(
    tiny_model: Path, tmp_path: Path, file: str, damage: Callable[[Path], object], message: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    damage(folder / file)
    with pytest.raises(TextError, match=message) as error:
        load_encoder(str(folder))
    assert "expected" in str(error.value)
    assert "download it again" in str(error.value)
