"""A private training: what may be in its bundle, and what must not."""

import re
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bookshop import make_tables as make_bookshop
from scipy.sparse import csr_array
from shop import CONFIG, WordEncoder, make_tables, read_unpacked
from typer.testing import CliRunner

import kgrec
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.cli.training_commands import make_private, print_privacy
from kgrec.config import PriorConfig, PrivateConfig, TrainConfig
from kgrec.errors import BundleError, RequestError
from kgrec.private.noisy_sums import release_likes
from kgrec.recommend import Recommender
from kgrec.recommend.noisy_likes import NOISY
from kgrec.recommend.reasons import _count_likes
from kgrec.sync import sync_bundle
from kgrec.training.pipeline import choose_model, fit_model
from kgrec.training.private_model import hide_users
from kgrec.training.train_bundle import train_bundle

SHARED = ("backbone", "item_item", "item_item_few", "content", "knowledge", "popularity", "sentence")
DUMMY: Any = None


def _private(**settings: Any) -> TrainConfig:
    return CONFIG.model_copy(update={"private": PrivateConfig(epsilon=8, **settings)})


def _train(tables: Any, config: TrainConfig) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        return train_bundle(tables, config, WordEncoder(), Path(folder), trained_at=1)


@cache
def _train_shop(*, keep_users: bool = False) -> Bundle:
    return _train(make_tables(), _private(keep_users=keep_users))


def test_a_private_bundle_has_no_users(tmp_path: Path) -> None:
    bundle, tables = _train_shop(), make_tables()
    assert bundle.liked.shape == bundle.seen.shape == (0, 30)
    assert bundle.model.names == SHARED
    assert bundle.model.user_prior is None
    save_bundle(bundle, tmp_path / "bundle")
    held = read_unpacked(tmp_path / "bundle")
    for user in tables.ids("customer").to_pylist():
        assert f'"{user}"'.encode() not in held
    assert b'"sku-00"' in held


def test_a_sync_does_not_bring_the_users_back(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="--private"):
        sync_bundle(_train_shop(), make_tables(), WordEncoder(), tmp_path, now=2)
    synced, _ = sync_bundle(_train_shop(keep_users=True), make_tables(), WordEncoder(), tmp_path, now=2)
    assert len(synced.users) > 0


def test_no_note_says_who_likes_what() -> None:
    notes = Recommender(_train_shop(), WordEncoder()).recommend(likes=["sku-00"], k=3).notes
    assert not [note for note in notes if "nobody else" in note]


def test_it_answers_by_likes_alone_after_loading(tmp_path: Path) -> None:
    save_bundle(_train_shop(), tmp_path / "bundle")
    found = Recommender(load_bundle(tmp_path / "bundle"), WordEncoder())
    listed = [one.item for one in found.recommend(likes=["sku-00", "sku-02"], k=3)]
    assert all(int(item[-2:]) % 2 == 0 for item in listed)  # tea
    assert len(found.similar("sku-00", k=3)) == 3


def test_users_are_kept_where_that_is_asked_for() -> None:
    bundle, tables = _train_shop(keep_users=True), make_tables()
    assert sorted(bundle.users.ids) == sorted(tables.ids("customer").to_pylist())
    assert bundle.seen.nnz == len(tables.interactions)
    assert bundle.liked.nnz == len(tables.likes)
    own = bundle.users.rows(["c00"])[0]
    seen = {bundle.items.ids[item] for item in bundle.seen[[own]].indices}
    assert seen.isdisjoint(one.item for one in Recommender(bundle, WordEncoder()).recommend("c00", k=10))


def test_links_attributes_and_texts_of_users_are_not_kept() -> None:
    bundle = _train(make_bookshop(), _private(keep_users=True))
    user_type = bundle.schema.user_type
    assert len(bundle.user_link_node) == 0
    assert not bundle.user_text.any()
    for name, edge in bundle.schema.graph_edges.items():
        if user_type in (edge.source, edge.target):
            assert bundle.edges[name].shape == (2, 0)


def test_the_promise_is_in_the_bundle_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = _train_shop().choices["privacy"]
    assert (report["epsilon"], report["delta"], report["most_likes"]) == (8, 1e-6, 50)
    assert "one user" in report["neighbours"]
    assert report["gram_noise"] == pytest.approx(0.730, abs=1e-3)
    print_privacy(report)
    said = capsys.readouterr().err
    assert "epsilon 8, delta 1e-06" in said
    assert "noise of deviation" in said
    assert "added or removed" in said
    print_privacy(report | {"keeps_users": True})
    assert "protect its files" in capsys.readouterr().err


def test_likes_are_read_by_the_release_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same release, two catalogues of likes give the same model, to the last bit."""
    tables = make_tables()
    kept = tables.with_interactions(tables.interactions.slice(0, 40))
    fixed = release_likes(csr_array((3, 30), dtype=np.float32), PrivateConfig(epsilon=8), np.random.default_rng(0))
    monkeypatch.setattr("kgrec.training.private_model.release_likes", lambda *_: fixed)
    contents = []
    for catalogue in (tables, kept):
        bundle = _train(catalogue, _private())
        with tempfile.TemporaryDirectory() as folder:
            save_bundle(bundle, Path(folder) / "bundle")
            contents.append(read_unpacked(Path(folder) / "bundle"))
    assert contents[0] == contents[1]


def test_likes_after_training_move_no_item() -> None:
    model = _train_shop(keep_users=True).model
    cold = replace(model, n_likes=model.n_likes * 0)  # every item could be moved
    liked = csr_array(np.ones((4, 30), np.float32))
    moved = cold.with_likes(np.arange(30), csr_array(liked.T.tocsr()), liked)
    placed = cold.with_likes(np.arange(30), csr_array((30, 4), dtype=np.float32), liked)
    assert moved.backbone.items.equal(placed.backbone.items)


def test_where_noise_hides_all_tastes_popularity_ranks() -> None:
    strict = CONFIG.model_copy(update={"private": PrivateConfig(epsilon=1e-3)})
    bundle = _train(make_tables(), strict)
    assert bundle.choices["privacy"]["rank"] == 0
    gate, place = bundle.model.gate, bundle.model.names.index("popularity")
    assert (gate.warm[:, place] >= 1).all()
    scores = bundle.model.score(csr_array(np.eye(1, 30, dtype=np.float32)))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"adapter": "folder"}, "may have been tuned on likes"),
        ({"prior": PriorConfig(encoder="elsa")}, 'needs the encoder "paths"'),
    ],
)
def test_settings_that_bring_in_likes_are_refused(update: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        _train(make_tables(), _private().model_copy(update=update))


def test_choices_on_held_out_likes_are_refused() -> None:
    with pytest.raises(RequestError, match="cannot choose settings on held-out likes"):
        choose_model(DUMMY, DUMMY, DUMMY, _private())


@pytest.mark.parametrize("delta", [0.1, 1 / 50])
def test_a_large_delta_is_refused(delta: float) -> None:
    with pytest.raises(
        RequestError, match=rf"got delta {delta:g} with 50 users.*less than .*, 0\.02: choose a smaller"
    ):
        _train(make_tables(), _private(delta=delta))


def _set_counts(bundle: Bundle, counts: dict[int, int], noise: float) -> Bundle:
    """A private bundle with other noisy counts of some items, and another deviation of their noise."""
    n_likes = bundle.model.n_likes.clone()
    for row, count in counts.items():
        n_likes[row] = count
    privacy = bundle.choices["privacy"] | {"counts_noise": noise}
    return replace(bundle, model=replace(bundle.model, n_likes=n_likes), choices={**bundle.choices, "privacy": privacy})


def test_noisy_counts_are_not_told_as_facts() -> None:
    bundle = _set_counts(_train_shop(), {0: 235, 1: 300, 2: 0}, noise=66.8)
    state = Recommender(bundle, WordEncoder())._state
    # 235 is 3.5 deviations, 300 is 4.5
    assert [_count_likes(state, row) for row in range(3)] == [NOISY, "popular", "placed by its text and links"]
    found = Recommender(bundle, WordEncoder()).recommend(likes=["sku-05"], k=29, explain=True)
    assert not [one.reason for one in found.items if re.search(r"liked by \d|few people|new in", one.reason or "")]


def test_items_outside_the_selected_ones_are_not_called_unliked() -> None:
    bundle = _set_counts(_train_shop(), {0: 0, 2: 0}, noise=20)
    told = "the 30 items that this private training learned from"
    asked = Recommender(bundle, WordEncoder())
    assert asked.recommend(likes=["sku-00", "sku-02"], k=3).notes == (
        f"not among {told}: texts and links place what you like",
    )
    assert asked.similar("sku-00", k=3).notes == (f"'sku-00' is not among {told}: its text and links place it",)
    assert f"'sku-00' is not among {told}" in asked.similar("sku-00", k=3, by="likes").notes


def test_likeness_by_noisy_likes_says_so() -> None:
    found = Recommender(_train_shop(), WordEncoder()).similar("sku-00", k=3, by="likes", explain=True)
    assert [note for note in found.notes if "knows likes by noisy counts" in note]
    assert all(one.reason for one in found.items)


def test_an_item_whose_likes_are_noise_is_like_none_by_them() -> None:
    bundle = _train_shop()
    none = np.zeros_like(bundle.model.likeness.likes)
    bundle = replace(bundle, model=replace(bundle.model, likeness=replace(bundle.model.likeness, likes=none)))
    found = Recommender(bundle, WordEncoder()).similar("sku-00", k=3, by="likes")
    assert not found.items
    assert found.notes == (
        "no taste for 'sku-00' stands out of the noise of likes: no items are similar to it by them",
    )


def test_a_list_without_likes_says_that_counts_are_noisy() -> None:
    (note,) = Recommender(_train_shop(), WordEncoder()).recommend(likes=[], k=3).notes
    assert note == "no likes are given: these are the most liked items, by noisy counts of likes"


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.0, None), (-1.0, None), (np.nan, None), (np.inf, None), (1.0, 0.0), (1.0, 1.0)]
)
def test_nonsense_on_the_command_line_is_refused(epsilon: float, delta: float | None) -> None:
    with pytest.raises(RequestError, match="--private got"):
        make_private(TrainConfig(), epsilon, delta, keep_users=False)


def test_options_of_a_private_training_need_it() -> None:
    with pytest.raises(RequestError, match="got --delta and --keep-users without --private EPSILON"):
        make_private(TrainConfig(), None, 1e-6, keep_users=True)
    config = make_private(_private(), None, 1e-7, keep_users=True)
    assert config.private == PrivateConfig(epsilon=8, delta=1e-7, keep_users=True)
    assert make_private(CONFIG, None, None, keep_users=False) is CONFIG


def test_the_list_of_items_must_not_come_from_users() -> None:
    config = TrainConfig(private=PrivateConfig(epsilon=1))
    ratings = pd.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "x"]})
    with pytest.raises(RequestError, match="got no items; a private training needs items="):
        kgrec.train(ratings, config=config)
    with pytest.raises(RequestError, match="1 item of the interactions, 'y' first, not found in items="):
        kgrec.train(ratings, items=pd.DataFrame({"item": ["x", "z"]}), config=config)
    linked = pd.DataFrame({"item": ["x"], "relation": ["like"], "target": ["y"], "target_type": ["item"]})
    assert kgrec.train(ratings, items=pd.DataFrame({"item": ["x", "z"]}), links=linked, config=config)


def test_a_graph_without_users_has_the_same_items() -> None:
    from kgrec.graph.hetero import to_hetero

    tables = make_tables()
    data, _ = to_hetero(tables)
    hidden = hide_users(data, tables.schema)
    assert hidden["customer"].num_nodes == 0
    assert hidden["product"].num_nodes == 30
    bought, made_by = (tables.schema.edge_triple(name) for name in ("bought", "made_by"))
    assert hidden[bought].edge_index.shape == (2, 0)
    assert hidden[made_by].edge_index.equal(data[made_by].edge_index)
    assert data["customer"].num_nodes == 52


def test_fit_model_is_private_too() -> None:
    from kgrec.graph.hetero import to_hetero
    from kgrec.questions.splits import read_likes

    tables = make_tables()
    data, _ = to_hetero(tables)
    _, choices = fit_model(data, tables.schema, read_likes(data, tables.schema), _private())
    assert choices.privacy is not None
    assert not choices.verdicts


def test_help_tells_of_the_options() -> None:
    from kgrec.cli import app

    said = CliRunner().invoke(app, ["train", "--help"]).output
    assert "--private" in said
    assert "--keep-users" in said
