"""Language models of several architectures, made on the spot: pooling, padding, and refused models."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kgrec.errors import TextError
from kgrec.text.adapter import ADAPTER_FILE, ADAPTER_VERSION, CONFIG_FILE, WEIGHTS_FILE, name_files
from kgrec.text.encoder import load_encoder
from kgrec.text.language_model import LanguageModel, load_language_model

SPECIAL = ["[PAD]", "[UNK]", "[EOS]"]
WORDS = [*SPECIAL, "a", "heist", "goes", "wrong", "in", "space", "two", "friends", "talk", "about", "cake", "find", ":"]
TEXTS = ["a heist", "two friends talk about cake in space", "cake", "a b c d e f g h", "space space space"]
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save_model(folder: Path, kind: str, padding_side: str = "right") -> Path:
    """Saves a real model of two layers, 16 wide, with a tokenizer of a few words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import (
        BertConfig,
        BertModel,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    plain = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    plain.post_processor = TemplateProcessing(single="$A [EOS]", special_tokens=[("[EOS]", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="[UNK]", pad_token="[PAD]", eos_token="[EOS]", padding_side=padding_side
    ).save_pretrained(folder)
    made: dict[str, Any] = {
        "bert": lambda: BertModel(BertConfig(vocab_size=len(WORDS), **SIZE)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(vocab_size=len(WORDS), **SIZE)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=2, n_head=2)),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        ),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made[kind]().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: save_model(folder / kind, kind) for kind in ("bert", "llama", "gpt2", "t5")}


def embed_alone(folder: Path, text: str) -> torch.Tensor:
    """The hidden states of one text, (n_tokens, 16), straight from transformers: nothing is padded."""
    from transformers import AutoModel, AutoTokenizer, T5EncoderModel

    kind = T5EncoderModel if "t5" in folder.name else AutoModel
    with torch.inference_mode():
        ids = AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt").input_ids
        hidden: torch.Tensor = kind.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state[0]
    return hidden


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "mean"), ("llama", "last"), ("gpt2", "last"), ("t5", "mean")])
def test_a_plain_folder_is_pooled_by_its_architecture(models: dict[str, Path], kind: str, pooling: str) -> None:
    model = load_language_model(str(models[kind]))
    assert (model.pooling, model.dim) == (pooling, 16)
    with torch.inference_mode():
        vectors = model.embed(model.tokenize(TEXTS)).numpy()
    for text, vector in zip(TEXTS, vectors, strict=True):
        hidden = embed_alone(models[kind], text)
        expected = (hidden.mean(dim=0) if pooling == "mean" else hidden[-1]).numpy()
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last", "cls"])
@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_padding_changes_no_vector(models: dict[str, Path], tmp_path: Path, kind: str, pooling: Any) -> None:
    left = Path(shutil.copytree(models[kind], tmp_path / "left"))
    described = json.loads((left / "tokenizer_config.json").read_text())
    (left / "tokenizer_config.json").write_text(json.dumps({**described, "padding_side": "left"}))
    expected = load_encoder(str(models[kind]), pooling=pooling, precision="fp32").encode(TEXTS)
    found = load_encoder(str(left), pooling=pooling, precision="fp32")
    np.testing.assert_allclose(found.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([found.encode([text]) for text in TEXTS]), expected, atol=1e-5)


def test_a_prefix_precedes_each_text_and_changes_the_revision(models: dict[str, Path]) -> None:
    plain = load_encoder(str(models["llama"]), precision="fp32")
    asked = load_encoder(str(models["llama"]), precision="fp32", prefix="find : ")
    expected = plain.encode([f"find : {text}" for text in TEXTS])
    np.testing.assert_allclose(asked.encode(TEXTS), expected, atol=1e-6)
    pooled = load_encoder(str(models["llama"]), pooling="mean")
    assert len({plain.revision, asked.revision, pooled.revision}) == 3
    assert load_encoder(str(models["llama"]), pooling="last", prefix="").revision == plain.revision


def test_gradients_reach_the_weights(models: dict[str, Path]) -> None:
    model = load_language_model(str(models["bert"]))
    model.embed(model.tokenize(TEXTS))[:, 0].sum().backward()
    queries = [weight for name, weight in model.network.named_parameters() if "query.weight" in name]
    assert queries
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in queries)


def save_sentence_model(folder: Path, kind: str, modules: list[Any]) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer

    transformer = Transformer(str(save_model(folder / "plain", kind)))
    SentenceTransformer(modules=[transformer, *modules], device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_a_sentence_transformers_folder_gives_that_librarys_vectors(tmp_path: Path, pooling: str) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    torch.manual_seed(0)
    folder = save_sentence_model(tmp_path, "bert", [Pooling(16, pooling), Dense(16, 6), Normalize()])
    encoder = load_encoder(str(folder), precision="fp32")
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    assert encoder.dim == 6
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_an_unknown_pooling_is_an_error(tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = save_sentence_model(tmp_path, "bert", [Pooling(16, "max")])
    with pytest.raises(TextError, match="pools its tokens by max; expected one of mean"):
        load_encoder(str(folder))


@pytest.mark.parametrize("text", ["\0", "x\0y", "七人の侍", "🎬", "a " * 100_000, "a" * 1_000_000, "\u200b", "\ufffd"])
def test_any_text_has_a_vector(models: dict[str, Path], text: str) -> None:
    for kind in ("bert", "llama"):
        assert np.isfinite(load_encoder(str(models[kind])).encode([text])).all()


def edit(folder: Path, **values: object) -> None:
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, **values}))


def test_a_models_own_code_runs_only_when_trusted(models: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models["bert"], tmp_path / "own"))
    edit(folder, model_type="own", auto_map={"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"})
    (folder / "own.py").write_text(
        "from transformers import BertConfig, BertModel\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own'\n"
        "class OwnModel(BertModel):\n    config_class = OwnConfig\n"
    )
    with pytest.raises(TextError, match="wants to run Python code of its own"):
        load_encoder(str(folder))
    trusted = load_encoder(str(folder), precision="fp32", trust_remote_code=True)
    expected = load_encoder(str(models["bert"]), precision="fp32").encode(TEXTS)
    np.testing.assert_allclose(trusted.encode(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("change", [{"model_type": "no-such"}, {"model_type": "vit"}, {"hidden_size": 24}])
def test_an_unsupported_architecture_is_an_error(
    models: dict[str, Path], tmp_path: Path, change: dict[str, object]
) -> None:
    folder = Path(shutil.copytree(models["bert"], tmp_path / "other"))
    edit(folder, **change)
    with pytest.raises(TextError, match="expected") as error:
        load_encoder(str(folder))
    assert str(folder) in str(error.value)


def save_adapter(base: Path, folder: Path, kind: str) -> Path:
    import peft

    settings: dict[str, Any] = {
        "lora": lambda: peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False),
        "ia3": lambda: peft.IA3Config(target_modules=["key", "value"], feedforward_modules=[], init_ia3_weights=False),
    }
    model = load_language_model(str(base))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        peft.get_peft_model(model.network, settings[kind]()).save_pretrained(folder)
    write_description(model, folder)
    return folder


def write_description(model: LanguageModel, folder: Path) -> None:
    """Renames the adapter's files by their content hash and writes the description."""
    config, weights = ((folder / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE))
    names = name_files(config, weights)
    about = {"base_revision": model.base_revision, "pooling": model.pooling, "prefix": model.prefix, "files": names}
    about |= {"version": ADAPTER_VERSION, "ensemble_weight": 0.0}
    for name, own in names.items():
        shutil.copy(folder / name, folder / own)
    (folder / ADAPTER_FILE).write_text(json.dumps(about), encoding="utf-8")


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_a_merged_adapter_gives_the_vectors_of_peft(models: dict[str, Path], tmp_path: Path, kind: str) -> None:
    from peft import PeftModel

    base = load_language_model(str(models["bert"]))
    frozen = load_encoder(str(models["bert"]), precision="fp32")
    adapter = save_adapter(models["bert"], tmp_path / "adapter", kind)
    adapted = load_encoder(str(models["bert"]), precision="fp32", adapter=adapter)
    tokens = base.tokenize(TEXTS)
    PeftModel.from_pretrained(base.network, adapter)  # wraps the layers of the network in place
    with torch.inference_mode():
        expected = base.embed(tokens).numpy()
    np.testing.assert_allclose(adapted.encode(TEXTS), expected, atol=1e-6)
    assert np.abs(adapted.encode(TEXTS) - frozen.encode(TEXTS)).max() > 1e-3
    merged = load_language_model(str(models["bert"]), adapter=adapter)
    n_weights = sum(weight.numel() for weight in merged.network.parameters())
    assert n_weights == sum(w.numel() for w in load_language_model(str(models["bert"])).network.parameters())
    assert merged.base_revision == base.base_revision
    assert len({adapted.revision, frozen.revision}) == 2


def _drop_a_weight(adapter: Path) -> None:
    weights = load_file(adapter / WEIGHTS_FILE)
    weights.pop(min(weights))
    save_file(weights, adapter / WEIGHTS_FILE)


def test_an_adapter_that_does_not_fit_is_an_error(models: dict[str, Path], tmp_path: Path) -> None:
    adapter = save_adapter(models["bert"], tmp_path / "adapter", "lora")
    with pytest.raises(TextError, match="was trained for a model of revision"):
        load_encoder(str(models["llama"]), adapter=adapter)
    with pytest.raises(TextError, match="was trained with pooling 'mean'"):
        load_encoder(str(models["bert"]), adapter=adapter, pooling="cls")
    with pytest.raises(TextError, match="no adapter in"):
        load_encoder(str(models["bert"]), adapter=tmp_path)
    _drop_a_weight(adapter)
    write_description(load_language_model(str(models["bert"])), adapter)
    with pytest.raises(TextError, match="1 places no weight"):
        load_encoder(str(models["bert"]), adapter=adapter)
    (adapter / WEIGHTS_FILE).write_bytes(b"half of it")
    write_description(load_language_model(str(models["bert"])), adapter)
    with pytest.raises(TextError, match="cannot apply the adapter"):
        load_encoder(str(models["bert"]), adapter=adapter)
