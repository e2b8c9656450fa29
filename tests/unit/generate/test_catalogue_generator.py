import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shop import SCHEMA, WordEncoder
from timed_generator import TINY, train_timed_generator
from timed_shop import train_timed

import kgrec
from kgrec.bundle import Bundle
from kgrec.errors import BundleError, RequestError
from kgrec.generate.catalogue_generator import GeneratorReport
from kgrec.generate.generator_folder import GENERATOR_FILE
from kgrec.generate.item_content import digest_content, read_content
from kgrec.ids import IdMap
from kgrec.recommend import Recommender

N = len(train_timed().items)


def with_ids(ids: list[str]) -> Bundle:
    """The bundle whose items have other ids."""
    bundle = train_timed()
    return replace(bundle, ids={**bundle.ids, bundle.schema.item_type: IdMap(tuple(ids))})


def add(n: int = 1) -> Bundle:
    shop = Recommender(train_timed(), WordEncoder())
    for place in range(n):
        shop.add_item(f"new-{place}", text="tea green fine", links=[("made_by", "m-tea-0")])
    return shop.bundle


def test_a_bundle_that_has_not_changed_gets_the_generator_itself() -> None:
    trained = train_timed_generator()
    assert trained.align(train_timed()) is trained.generator


def test_the_report_says_what_was_reached() -> None:
    report = train_timed_generator().report
    assert report.n_users == 50
    assert list(report.figures) == ["generator", "popularity", "transitions"]
    assert report.figures["transitions"][0] > report.figures["popularity"][0]


@pytest.mark.parametrize(
    ("own", "popularity", "transitions", "behind"),
    [
        ((0.1, 0.05), (0.2, 0.1), (0.3, 0.1), "popularity"),
        ((0.2, 0.1), (0.2, 0.1), (0.1, 0.1), "popularity"),
        ((0.25, 0.1), (0.2, 0.1), (0.3, 0.1), "transitions"),
        ((0.3, 0.2), (0.2, 0.3), (0.3, 0.1), None),
    ],
)
def test_the_report_says_what_finds_as_much(
    own: tuple[float, float], popularity: tuple[float, float], transitions: tuple[float, float], behind: str | None
) -> None:
    figures = {"generator": own, "popularity": popularity, "transitions": transitions}
    report = GeneratorReport(50, figures, 1.0)
    assert report.behind == behind
    generator = replace(train_timed_generator(), report=report)
    notes = Recommender(train_timed(), WordEncoder()).generate("c00", generator=generator).notes
    assert any("no more than popularity when it was trained" in note for note in notes) == (behind == "popularity")


def test_without_validation_no_ranking_is_ahead() -> None:
    assert GeneratorReport(0, {}, 1.0).behind is None


@pytest.mark.parametrize("config", [{"seconds": 5}, "generator.toml", 5])
def test_settings_that_are_none_are_one_error(config: Any) -> None:
    with pytest.raises(RequestError, match=r"expected the settings of a generator as kgrec\.config\.GeneratorConfig"):
        kgrec.train_generator(train_timed(), config)


def test_what_is_no_bundle_is_one_error() -> None:
    with pytest.raises(RequestError, match="expected a Recommender or a Bundle to train a generator for, got 'a/b'"):
        kgrec.train_generator("a/b", TINY)  # type: ignore[arg-type]


def test_ids_go_with_items_whatever_their_rows() -> None:
    trained, order = train_timed_generator(), np.random.default_rng(0).permutation(N)
    items = train_timed().items.ids
    found = trained.align(with_ids([items[row] for row in order]))
    assert (found.ids.codes == trained.generator.ids.codes[order]).all()
    np.testing.assert_array_equal(found.vectors, trained.generator.vectors[order])


def test_items_that_are_gone_are_in_no_answer_and_new_ones_have_an_id() -> None:
    trained, items = train_timed_generator(), list(train_timed().items.ids)
    grown = add(2)
    found = trained.align(grown)
    assert found.n_items == N + 2
    assert (found.ids.codes[:N] == trained.generator.ids.codes).all()
    assert found.is_new.tolist() == [False] * (N - 1) + [True] * 3  # nobody likes the last product either
    assert (found.ids.codes[N, :-1] == found.ids.codes[N + 1, :-1]).all()  # of the same text and links
    assert trained.align(grown) is found
    swapped = with_ids(["new", *items[1:]])  # as a sync: one is gone, and one is new in its row
    codes = trained.align(swapped).ids.codes
    assert (codes[1:] == trained.generator.ids.codes[1:]).all()
    assert len(np.unique(codes, axis=0)) == N


def test_another_catalogue_is_one_error() -> None:
    trained, bundle = train_timed_generator(), train_timed()
    others = [f"other-{row}" for row in range(16)]
    with pytest.raises(BundleError, match=r"another catalogue: it has 30 items, the bundle 30, and 14 are the same"):
        trained.align(with_ids([*others, *bundle.items.ids[16:]]))
    with pytest.raises(BundleError, match="another catalogue: its schema has the digest"):
        trained.align(replace(with_ids(list(bundle.items.ids)), schema=SCHEMA))  # that of the shop without times


def test_new_items_of_a_bundle_that_reads_content_otherwise_are_one_error() -> None:
    trained, grown = train_timed_generator(), add()
    likeness = replace(grown.model.likeness, seed=grown.model.likeness.seed + 1)
    with pytest.raises(BundleError, match=r"1 items? of the bundle are new.*'new-0'.*trained again"):
        trained.align(replace(grown, model=replace(grown.model, likeness=likeness)))
    bundle = train_timed()
    likeness = replace(bundle.model.likeness, seed=likeness.seed)
    assert trained.align(replace(bundle, model=replace(bundle.model, likeness=likeness))) is trained.generator


def test_content_is_of_texts_and_links_and_stays_when_items_are_added() -> None:
    bundle, grown = train_timed(), add()
    assert digest_content(bundle) == digest_content(grown)
    content = read_content(grown)
    np.testing.assert_array_equal(content[:N], read_content(bundle))
    np.testing.assert_array_equal(content[[3, N]], read_content(grown, np.array([3, N])))
    assert content[N].any()
    texts = grown.model.likeness_vectors("text")
    np.testing.assert_allclose(content[:, : texts.shape[1]], texts, atol=1e-6)


def test_a_generator_comes_back_with_its_report(tmp_path: Path) -> None:
    trained = train_timed_generator()
    trained.save(tmp_path / "g")
    loaded = kgrec.load_generator(tmp_path / "g", beams=3)
    assert (loaded.items, loaded.schema, loaded.content) == (trained.items, trained.schema, trained.content)
    assert (loaded.report, loaded.beams, trained.beams) == (trained.report, 3, TINY.beams)
    assert repr(loaded) == "CatalogueGenerator(30 items)"
    with pytest.raises(RequestError, match="beams of at least 1, got 0"):
        kgrec.load_generator(tmp_path / "g", beams=0)


@pytest.mark.parametrize("about", [{}, {"report": None}, {"report": {"n_users": 1, "figures": [], "seconds": 1}}])
def test_a_damaged_description_is_one_error(tmp_path: Path, about: dict[str, object]) -> None:
    train_timed_generator().save(tmp_path / "g")
    file = tmp_path / "g" / GENERATOR_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "about": about}))
    with pytest.raises(BundleError, match=r"damaged: .*kgrec train-generator"):
        kgrec.load_generator(tmp_path / "g")


def test_likes_without_times_are_no_sequences() -> None:
    with pytest.raises(RequestError, match="have no times"):
        kgrec.train_generator(replace(train_timed(), liked_at=None))
