"""A tiny language model, and a catalogue where one word of each text predicts its users."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedModel, PreTrainedTokenizerFast

from kgrec.adapt.text_graph import TextGraph
from kgrec.questions.splits import Likes

N_TOPICS, N_NOISE, NOISE_WORDS = 12, 120, 6
WORDS = [*(f"topic{i}" for i in range(N_TOPICS)), *(f"word{i}" for i in range(N_NOISE))]


def make_tiny_model(folder: Path, *, seed: int = 0, width: int = 32, decoder: bool = False) -> str:
    """A BERT of two layers, or a decoder-only Llama of four, with random weights and a word for each token."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", model_max_length=32
    )
    size = {"vocab_size": len(vocabulary), "hidden_size": width, "intermediate_size": 64, "num_attention_heads": 2}
    size |= {"max_position_embeddings": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: PreTrainedModel = (
            LlamaModel(LlamaConfig(num_hidden_layers=4, initializer_range=0.2, **size))
            if decoder
            else BertModel(BertConfig(num_hidden_layers=2, initializer_range=0.2, **size), add_pooling_layer=False)
        )
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def plant_words(
    seed: int = 0, *, n_items: int = 480, n_users: int = 180, likes_each: int = 12, links_each: int = 1
) -> tuple[TextGraph, Likes]:
    """Texts with their topic's word among random words; each user likes items of one topic.

    Every item is linked to the next `links_each` items of its topic.
    """
    rng = np.random.default_rng(seed)
    topics = np.arange(n_items) % N_TOPICS
    texts = []
    for item, topic in enumerate(topics):
        noise = rng.choice(N_NOISE, NOISE_WORDS, replace=False)
        words = [f"topic{topic}", *(f"word{i}" for i in noise)]
        texts.append(" ".join(rng.permutation(words)) + f" {item}")  # the number is an unknown word
    users, items = [], []
    for user in range(n_users):
        liked = rng.choice(np.flatnonzero(topics == user % N_TOPICS), likes_each, replace=False)
        users += [user] * likes_each
        items += liked.tolist()
    order = np.argsort(texts)
    place = np.argsort(order)
    steps = N_TOPICS * np.arange(1, links_each + 1)
    links = np.concatenate([np.stack([place[: n_items - step], place[step:]]) for step in steps], axis=1)
    graph = TextGraph([texts[i] for i in order], place, links, np.zeros(links.shape[1], np.int64), ("next",))
    return graph, Likes(np.array(users), np.array(items), None, (n_users, n_items))
