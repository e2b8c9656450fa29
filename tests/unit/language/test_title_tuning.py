"""Tuning by peft: it learns the planted rule, is kept only where it helps, and is applied to its own model alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_language_model import N_TITLES, TITLES, WORDS, follow, save_model, save_tokenizer

from kgrec.errors import CatalogueError, TextError
from kgrec.language import LocalLanguageModel
from kgrec.language.likelihood_ranking import LikelihoodRanker
from kgrec.language.title_tuning import TitleExamples, TitleTuning, tune_titles
from kgrec.language.titles import TitlePrompt
from kgrec.sequences import Sequences
from kgrec.text.language_model import load_language_model

LIMIT_S = 60.0
SHORT = {"steps": 4, "batch_size": 4, "validate_every": 2, "rank": 2}


def plant_sequences(n_users: int = 60, length: int = 6, seed: int = 0) -> Sequences:
    """Users who follow the rule from a random title."""
    rng = np.random.default_rng(seed)
    items = np.zeros((n_users, length), np.int64)
    items[:, 0] = rng.integers(N_TITLES, size=n_users)
    for place in range(1, length):
        items[:, place] = (5 * items[:, place - 1] + 1) % N_TITLES
    starts = np.arange(n_users + 1) * length
    return Sequences(items.ravel(), starts, np.tile(np.arange(length), n_users))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "adalora", "prefix"])
def test_it_learns_the_rule_and_is_read_back(tiny_folder: Path, tmp_path: Path, method: str) -> None:
    model = LocalLanguageModel.load(tiny_folder, device="cpu", precision="fp32")
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    tuning = TitleTuning(method=method, rank=8, steps=120, batch_size=16, learning_rate=0.02, validate_every=40)
    report = tune_titles(model, TITLES, plant_sequences(), tmp_path / "out", tuning, time_limit_s=LIMIT_S)
    assert report.kept
    assert min(loss for _, loss in report.losses) < 0.8 * report.losses[0][1]
    after = model.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)  # the model is as it was

    tuned = LocalLanguageModel.load(tiny_folder, device="cpu", precision="fp32", adapter=tmp_path / "out")
    prompt = TitlePrompt()
    found = {"frozen": 0.0, "tuned": 0.0}
    for first in range(N_TITLES):
        likes = [first, follow(first), follow(follow(first))]
        for name, one in (("frozen", model), ("tuned", tuned)):
            ranker = LikelihoodRanker(one, prompt)
            measured = ranker.measure([TITLES[like] for like in likes], TITLES, time_limit_s=LIMIT_S)
            found[name] += measured.behind_likes[follow(likes[-1])] / N_TITLES
    assert found["tuned"] > found["frozen"] + 0.5
    # What was validated is what is read back.
    examples = TitleExamples.of(model, TITLES, plant_sequences(), tuning)
    rows = examples.ask()
    total = sum(
        tuned.within(
            LIMIT_S, lambda due, tokens=tokens, given=given: tuned.score(tokens[:given], [tokens[given:]], due)
        )[0]
        for tokens, given in rows
    )
    n_tokens = sum(len(tokens) - given for tokens, given in rows)
    assert -total / n_tokens == pytest.approx(min(loss for _, loss in report.losses), abs=1e-3)


def test_only_titles_behind_likes_are_predicted(tiny: LocalLanguageModel) -> None:
    sequences = plant_sequences(5, 4)
    examples = TitleExamples.of(tiny, TITLES, sequences, TitleTuning())
    read = tiny.read_titles(TITLES)
    ids, wanted = examples.pad(examples.ask())
    assert len(examples.held_out) == 1
    ((items, last),) = examples.held_out
    assert ids[0][wanted[0]].tolist() == read[last]
    drawn = examples.draw(30, np.random.default_rng(0))
    ids, wanted = examples.pad(drawn)
    for row, asked in zip(ids, wanted, strict=True):
        places = np.flatnonzero(asked)
        assert (np.diff(places) == 1).all()
        assert row[places[0] - 1] == tiny.end
        assert len(places) % 3 == 0
    # What is held out is in no drawn prompt of its user: three likes are left of four.
    assert max(asked.sum() for asked in wanted) == 9
    assert len(items) == 3
    assert any(len(history) == 3 for history in examples.histories)


def test_no_user_with_two_titles(tiny: LocalLanguageModel, tmp_path: Path) -> None:
    nothing = [None] * N_TITLES
    with pytest.raises(CatalogueError, match="nothing to tune a language model on: 0 users"):
        tune_titles(tiny, nothing, plant_sequences(), tmp_path / "out", time_limit_s=1)


def test_an_adapter_that_does_not_help_is_not_kept(tiny_folder: Path, tmp_path: Path) -> None:
    model = LocalLanguageModel.load(tiny_folder, device="cpu", precision="fp32")
    tuning = TitleTuning(**SHORT, learning_rate=1e-12)
    report = tune_titles(model, TITLES, plant_sequences(), tmp_path / "out", tuning, time_limit_s=LIMIT_S)
    if not report.kept:  # rounding may let the loss fall by nothing
        with pytest.raises(TextError, match=r"was not kept: no step improved the loss"):
            LocalLanguageModel.load(tiny_folder, adapter=tmp_path / "out")
    none = tune_titles(model, TITLES, plant_sequences(), tmp_path / "none", tuning, time_limit_s=1e-9)
    assert (none.kept, none.steps) == (False, 0)
    with pytest.raises(TextError, match=r"was not kept: no step improved the loss on held-out titles"):
        LocalLanguageModel.load(tiny_folder, adapter=tmp_path / "none")


def test_an_adapter_of_another_model(tiny_folder: Path, tmp_path: Path) -> None:
    model = LocalLanguageModel.load(tiny_folder, device="cpu", precision="fp32")
    tuning = TitleTuning(**SHORT, learning_rate=0.01)
    out = tmp_path / "out"
    assert tune_titles(model, TITLES, plant_sequences(), out, tuning, time_limit_s=LIMIT_S).kept
    other = save_model(tmp_path / "other", seed=1)
    with pytest.raises(TextError, match="was trained for a model of revision"):
        LocalLanguageModel.load(other, adapter=out)
    save_tokenizer(other, [*WORDS[:3], *reversed(WORDS[3:])])
    with pytest.raises(TextError, match="was trained with a tokenizer of revision"):
        LocalLanguageModel.load(other, adapter=out)
    with pytest.raises(TextError, match="was trained for a model of revision"):
        load_language_model(str(tiny_folder), adapter=out)
    with pytest.raises(TextError, match="no adapter in"):
        LocalLanguageModel.load(tiny_folder, adapter=tmp_path / "nothing")
    next(out.glob("*.safetensors")).write_bytes(b"")
    with pytest.raises(TextError, match="is damaged"):
        LocalLanguageModel.load(tiny_folder, adapter=out)


def test_a_folder_of_something_else_is_left_alone(tiny: LocalLanguageModel, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(TextError):
        tune_titles(tiny, TITLES, plant_sequences(), tmp_path, time_limit_s=LIMIT_S)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
