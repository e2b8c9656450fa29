"""A generator of the shop with times, and a tiny language model that knows the words of its products."""

import tempfile
from functools import cache
from pathlib import Path

import torch
from shop import KINDS, N_ITEMS, WORDS
from timed_shop import train_timed
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import kgrec
from kgrec.config import GeneratorConfig
from kgrec.generate.catalogue_generator import CatalogueGenerator
from kgrec.language import LocalLanguageModel

TINY = GeneratorConfig(
    width=16, heads=2, layers=1, head_layers=1, levels=2, codes=4, epochs=3, most_items=8, batch_positions=128, beams=10
)
SPECIAL = ("[PAD]", "[UNK]", "[END]")


@cache
def train_timed_generator() -> CatalogueGenerator:
    """A generator after three epochs; nothing changes it, so all tests may have it."""
    return kgrec.train_generator(train_timed(), TINY, device="cpu")


def save_language_model(folder: Path) -> Path:
    """A Llama, 32 wide, with random weights and a token for each word."""
    words = [*SPECIAL, *KINDS, *WORDS["tea"], *WORDS["bike"], *map(str, range(N_ITEMS)), "-"]
    plain = Tokenizer(WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="[UNK]", pad_token="[PAD]", eos_token="[END]", model_max_length=512
    ).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
            max_position_embeddings=512, initializer_range=0.3, eos_token_id=2, pad_token_id=0, bos_token_id=None,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@cache
def load_language_model() -> LocalLanguageModel:
    with tempfile.TemporaryDirectory() as folder:
        return LocalLanguageModel.load(save_language_model(Path(folder)), device="cpu", precision="fp32")
