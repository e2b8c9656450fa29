"""Language models behind one protocol: what they are asked, and what is made of their answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from shop import SCHEMA
from timed_generator import load_language_model
from timed_shop import train_timed

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.generate.next_items import NextItemRequest
from kgrec.generate.title_generators import TitleRanker, TitleWriter, ZeroShot, name_items
from kgrec.language import LocalLanguageModel
from kgrec.language.time_limit import Deadline, LanguageModelTooSlow
from kgrec.language.titles import TitlePrompt

TITLES = train_timed().names["product"]
N = len(TITLES)


def ask(likes: Sequence[int] = (0, 2), k: int = 3, *, bundle: Bundle | None = None, limit_s: float = 60) -> Any:
    allowed = np.ones(N, np.bool_)
    allowed[list(likes)] = False
    return NextItemRequest(
        train_timed() if bundle is None else bundle,
        np.array(likes, np.int64),
        allowed,
        k,
        lambda n: np.flatnonzero(allowed)[:n],
        Deadline.after(limit_s),
    )


def rename(**titles: str | None) -> Bundle:
    """The bundle with other names of some items, by their rows."""
    bundle = train_timed()
    names = [titles.get(f"row{row}", title) for row, title in enumerate(TITLES)]
    return replace(bundle, names={**bundle.names, "product": names})


@dataclass
class Ranker:
    """Gives the likelihoods it was made with, and remembers the requests."""

    scores: Sequence[float]
    asked: list[Any] = field(default_factory=list)

    def rank(self, liked: list[str], titles: list[str], *, scoring: object, time_limit_s: float) -> np.ndarray:
        self.asked.append((liked, titles, time_limit_s))
        return np.array(self.scores[: len(titles)])


def test_the_ranker_sorts_what_the_recommender_proposes(monkeypatch: pytest.MonkeyPatch) -> None:
    ranker = Ranker([0.5, 2.0, 0.5, 1.0])
    monkeypatch.setattr("kgrec.generate.title_generators.LikelihoodRanker", lambda model, prompt: ranker)
    found = TitleRanker(load_language_model(), n_proposed=4).continue_likes(ask([5, 1], k=3))
    assert (found.rows.tolist(), found.scores.tolist()) == ([2, 4, 0], [2.0, 1.0, 0.5])  # type: ignore[union-attr]
    liked, titles, left_s = ranker.asked[0]
    assert liked == [TITLES[5], TITLES[1]]
    assert titles == [TITLES[row] for row in (0, 2, 3, 4)]
    assert 0 < left_s <= 60
    TitleRanker(load_language_model(), n_proposed=2).continue_likes(ask(k=4))
    assert len(ranker.asked[1][1]) == 4  # at least as many as are asked for


def test_items_without_a_name_are_ranked_by_nobody() -> None:
    ranker = TitleRanker(load_language_model(), n_proposed=N)
    found = ranker.continue_likes(ask(k=N, bundle=rename(row7=None, row9="  ")))
    assert sorted(found.rows.tolist()) == [row for row in range(N) if row not in (0, 2, 7, 9)]
    assert found.scores is not None
    assert (np.diff(found.scores) <= 0).all()


def test_the_writer_writes_allowed_names_and_reads_the_names_once(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TitleWriter(load_language_model(), beams=4)
    bundle = rename(row7=None, row9="tea herbal 8")  # as row 8
    found = writer.continue_likes(ask(k=N, bundle=bundle))
    assert sorted(found.rows.tolist()) == [row for row in range(N) if row not in (0, 2, 7)]
    assert found.scores is not None
    assert (np.diff(found.scores) <= 0).all() and (found.scores < 0).all()
    monkeypatch.setattr("kgrec.generate.title_generators.TitleTrie", None)
    assert len(writer.continue_likes(ask(bundle=bundle)).rows) == 3


@dataclass(frozen=True)
class Says:
    """A language model with one answer."""

    text: str

    def generate(self, prompt: str, **asked: object) -> str:
        return self.text


def test_zero_shot_takes_what_is_in_the_catalogue_and_tells_of_the_rest() -> None:
    text = f"1. {TITLES[4]}\n2. An unheard-of thing\n3. {TITLES[0]}\n4. {TITLES[6]}\n5. {TITLES[4]}"
    found = ZeroShot(Says(text)).continue_likes(ask())  # type: ignore[arg-type]
    assert (found.rows.tolist(), found.scores) == ([4, 6], None)
    assert found.notes == (
        "left out of the language model's answer, since they are not in the catalogue: 'An unheard-of thing'",
        "left out of the language model's answer, since they are known to the user, named twice or not to be "
        f"recommended: {TITLES[0]!r}",
    )


@pytest.mark.parametrize("kind", [TitleRanker, TitleWriter, ZeroShot])
def test_no_time_left_is_too_slow(kind: type) -> None:
    generator = kind(load_language_model())
    with pytest.raises(LanguageModelTooSlow, match="within 1e-09 s"):
        generator.continue_likes(ask(limit_s=1e-9))


@pytest.mark.parametrize("kind", [TitleRanker, TitleWriter, ZeroShot])
@pytest.mark.parametrize("model", [None, "smollm2", 3, LocalLanguageModel])
def test_what_is_no_language_model_is_one_error(kind: type, model: object) -> None:
    with pytest.raises(RequestError, match=r"expected a language model for .* as `kgrec\.language\.LocalLanguageModel"):
        kind(model)


def test_likes_without_names_cannot_be_continued_by_them() -> None:
    nameless = rename(row0=None, row2=None)
    for kind in (TitleRanker, TitleWriter, ZeroShot):
        generator = kind(load_language_model())
        with pytest.raises(RequestError, match="none of the 2 likes has a name"):
            generator.continue_likes(ask(bundle=nameless))


def test_prompts_call_items_what_they_are() -> None:
    assert name_items(SCHEMA) == "products"
    heard: list[str] = []

    class Hears(Says):
        def generate(self, prompt: str, **asked: object) -> str:
            heard.append(prompt)
            return ""

    for prompt in (None, TitlePrompt("gadgets", n_likes=1)):
        ZeroShot(Hears(""), prompt).continue_likes(ask([5, 1]))  # type: ignore[arg-type]
    assert f"likes these products:\n- {TITLES[5]}\n- {TITLES[1]}\n" in heard[0]
    assert f"likes these gadgets:\n- {TITLES[1]}\n" in heard[1]
