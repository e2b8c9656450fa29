"""From a bundle to a trained generator and what it writes, and the same with a language model, on the command line."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import WORDS, RunCommand, Shop
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONFIG = """
[generator]
width = 16
heads = 2
layers = 1
head_layers = 1
levels = 2
epochs = 3
batch_positions = 128
"""


@pytest.fixture
def generator(run: RunCommand, shop: Shop) -> Path:
    (shop.folder / "generator.toml").write_text(CONFIG)
    folder = shop.folder / "generator"
    ran = run(
        "train-generator", shop.bundle, "--out", folder, "--config", shop.folder / "generator.toml", "--seconds", 60,
        "--seed", 1,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert re.search(r"generator +\d\.\d+ +\d\.\d+", ran.out)
    assert re.search(r"popularity +\d\.\d+ +\d\.\d+", ran.out)
    assert "transitions" in ran.out
    assert f"use it with: kgrec generate {shop.bundle} --generator {folder}" in ran.err
    return folder


@pytest.fixture
def language_model(shop: Shop) -> Path:
    """A tiny Llama with random weights and a token for each letter."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder = shop.folder / "language-model"
    known = sorted({word.title() for kind in WORDS.values() for what in kind for word in what.split()})
    words = ["[PAD]", "[UNK]", "[END]", *known]
    words += [str(place) for place in range(24)]
    plain = Tokenizer(WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="[UNK]", pad_token="[PAD]", eos_token="[END]", model_max_length=512
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=512, eos_token_id=2, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def one_line(err: str) -> str:
    assert "Traceback" not in err
    return " ".join(err.split())


def test_a_generator_from_training_to_answers(run: RunCommand, shop: Shop, generator: Path) -> None:
    ask = ["generate", shop.bundle, "--generator", generator]
    rows = json.loads(run(*ask, "--user", "c-000", "-k", 5, "--format", "json").out)
    assert [list(row) for row in rows] == [["item", "rank", "score", "title"]] * 5
    assert all(row["score"] < 0 for row in rows)
    (shop.folder / "likes.csv").write_text("item,time\nsku-02,2024-01-02\nsku-00,2024-01-01\nnope,2024-01-03\n")
    (shop.folder / "few.csv").write_text("item\nsku-04\nsku-06\nsku-08\n")
    (shop.folder / "not.csv").write_text("item\nsku-06\n")
    ran = run(
        *ask, "--sequence", shop.folder / "likes.csv", "--candidates", shop.folder / "few.csv",
        "--exclude", shop.folder / "not.csv", "--beams", 3, "--out", shop.folder / "found.jsonl",
    )  # fmt: skip
    found = [json.loads(line)["item"] for line in (shop.folder / "found.jsonl").read_text().splitlines()]
    assert sorted(found) == ["sku-04", "sku-08"]
    assert "unknown ids, ignored: 'nope'" in ran.err
    assert "asked for 10 items, only 2 may be recommended" in ran.err
    live = run(*ask, "--like", "sku-00", "--store", shop.store, "--format", "json")
    assert len(json.loads(live.out)) == 10
    assert "For likes of sku-00" in run(*ask, "--like", "sku-00").out


@pytest.mark.parametrize(
    ("popularity", "transitions", "warning"),
    [
        (1.0, 1.0, "the generator is worse than popularity, or only as good: train longer"),
        (-1.0, 1.0, "transitions, which `kgrec recommend` has, find as much or more: use `kgrec recommend`"),
        (-1.0, -1.0, None),
    ],
)
def test_a_generator_that_is_not_ahead_says_so(
    run: RunCommand,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    popularity: float,
    transitions: float,
    warning: str | None,
) -> None:
    baselines = {"popularity": (popularity, popularity), "transitions": (transitions, transitions)}
    monkeypatch.setattr("kgrec.generate.held_out_likes.HeldOut.measure_baselines", lambda *_: baselines)
    config, folder = shop.folder / "generator.toml", shop.folder / "generator"
    config.write_text(CONFIG)
    told = one_line(run("train-generator", shop.bundle, "--out", folder, "--config", config).err)
    assert told.count("warning: ") == (warning is not None)
    assert warning is None or f"warning: {warning}" in told
    ran = run("generate", shop.bundle, "--generator", folder, "--user", "c-000", "-k", 3)
    assert ("found no more than popularity when it was trained" in one_line(ran.err)) == (popularity == 1.0)


def test_bad_requests_are_one_line_each(run: RunCommand, shop: Shop, generator: Path) -> None:
    user = ["generate", shop.bundle, "--user", "c-000"]
    half, other = shop.folder / "half", shop.folder / "other"
    shutil.copytree(generator, half)
    next(half.glob("*.safetensors.zst")).unlink()
    shutil.copytree(generator, other)
    manifest = json.loads((other / "generator.json").read_text())
    (other / "generator.json").write_text(json.dumps({**manifest, "tokens": "0" * 64}))
    for args, expected in (
        (["generate", shop.bundle, "--generator", generator], "got no user; expected --user, --like or --sequence"),
        (user, "got neither of --generator and --language-model; expected one of them"),
        ([*user, "--generator", generator, "--language-model", "x"], "got both of --generator and --language-model"),
        ([*user, "--generator", generator, "--method", "ask"], "--method and --adapter are for a language model"),
        ([*user, "--language-model", "x", "--beams", "3"], "--beams is for --generator and for --method write"),
        ([*user, "--generator", shop.folder / "nowhere"], "no generator at"),
        ([*user, "--generator", half], "is incomplete: no generator-"),
        ([*user, "--generator", other], "has weights of other semantic ids"),
        ([*user, "--generator", shop.bundle], "no generator at"),
        ([*user, "--language-model", shop.folder / "none"], "no language model"),
        (["train-generator", shop.bundle, "--out", shop.bundle], "exists and is no generator"),
        (["train-generator", shop.bundle, "--out", half, "--steps", "3"], "give --language-model, too"),
        (["train-generator", shop.folder / "none", "--out", half], "no bundle at"),
    ):
        ran = run(*args)
        assert ran.code == 2, args
        assert expected in one_line(ran.err)
        assert ran.err.count("\n") == 1


def test_a_language_model_ranks_writes_and_answers(run: RunCommand, shop: Shop, language_model: Path) -> None:
    adapter = shop.folder / "adapter"
    ran = run(
        "train-generator", shop.bundle, "--out", adapter, "--language-model", language_model, "--method", "lora",
        "--steps", 20, "--seconds", 60,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert f"--language-model {language_model} --adapter {adapter}" in ran.err
    ask = ["generate", shop.bundle, "--user", "c-000", "-k", 4, "--format", "json", "--language-model", language_model]
    found = {}
    for more in (["--adapter", adapter], [], ["--method", "write"], ["--method", "ask"]):
        ran = run(*ask, *more)
        rows = json.loads(ran.out)
        assert len({row["item"] for row in rows}) == 4
        found[tuple(map(str, more))] = [row["score"] for row in rows]
    assert found[()] != found["--adapter", str(adapter)]
    assert found["--method", "ask"] == [0.0, -1.0, -2.0, -3.0]
    assert "items are generated; the others, at the end, are the recommender's own" in run(*ask, "--method", "ask").err
    slow = run(*ask, "--time-limit", 0.001)
    assert "this is the recommender's own list: the language model did not answer within 0.001 s;" in slow.err
    own = json.loads(run("recommend", shop.bundle, "--user", "c-000", "-k", 4, "--format", "json").out)
    assert json.loads(slow.out) == own
    tokenizer = language_model / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"Tea"', '"Coffee"'))
    ran = run(*ask, "--adapter", adapter)
    assert ran.code == 2
    assert "adapter" in one_line(ran.err)
