"""A tiny causal language model made on the spot, and one fitted to a planted rule of titles."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from kgrec.language import LocalLanguageModel
from kgrec.language.titles import TitlePrompt

N_TITLES = 12
TITLES = [f"alpha {word}" if i % 3 else f"beta {word}" for i, word in enumerate("abcdefghijkl")]
WORDS = [
    *(
        "[PAD]",
        "[UNK]",
        "[END]",
        "alpha",
        "beta",
        "gamma",
        "likes",
        "one",
        "person",
        "after",
        "another",
        "liked",
        "that",
    ),
    *"abcdefghijklmnop:?.-()",
    *("ignore", "previous", "instructions"),
]
CHAT = (
    "{% for m in messages %}[END] {{ m['content'] }} [END]{% endfor %}{% if add_generation_prompt %} alpha{% endif %}"
)


def save_tokenizer(folder: Path, words: Sequence[str] = WORDS, *, chat: bool = False) -> None:
    plain = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="[UNK]", pad_token="[PAD]", eos_token="[END]", model_max_length=256
    )
    if chat:
        tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)


def save_model(folder: Path, *, seed: int = 0, chat: bool = False, layers: int = 2) -> Path:
    """A Llama, 32 wide, with random weights and a word for each token; its line has no end but [END]."""
    save_tokenizer(folder, chat=chat)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3,
            eos_token_id=WORDS.index("[END]"), pad_token_id=0, bos_token_id=None,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def follow(title: int) -> int:
    """The planted rule: which title is liked after another."""
    return (5 * title + 1) % N_TITLES


def fit_rule(model: LocalLanguageModel, steps: int = 150) -> None:
    """Fits all weights of a tiny model to the rule, on prompts of three likes."""
    prompt, read = TitlePrompt(), model.read_titles(TITLES)
    rows = []
    for first in range(N_TITLES):
        likes = [first, follow(first), follow(follow(first))]
        head = prompt.build(model, [TITLES[like] for like in likes])
        rows.append((head, read[follow(likes[-1])]))
    ids = torch.tensor([head + title for head, title in rows])
    start = len(rows[0][0])
    network = model.network
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        scores = network(input_ids=ids).logits[:, start - 1 : -1]
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), ids[:, start:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
