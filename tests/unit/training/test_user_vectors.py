"""Users placed by message passing: planted knowledge is found, noise loses nothing, and answers survive a bundle."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_users import Knowledge, PlantedUsers, plant_users
from shop import WordEncoder

from kgrec import metrics
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.config import (
    BackboneConfig,
    HeadConfig,
    ItemItemConfig,
    NetworkConfig,
    PriorConfig,
    SplitConfig,
    TrainConfig,
)
from kgrec.graph.node_links import build_item_links, build_user_links
from kgrec.model.gnn import GnnEncoder
from kgrec.model.prior import Prior, PriorSettings
from kgrec.questions.splits import read_likes
from kgrec.recommend import Recommender
from kgrec.training.dataset import build_graph
from kgrec.training.train_bundle import train_bundle
from kgrec.training.user_vectors import draft_users, fit_user_prior
from kgrec.training.vectors import Catalogue, default_settings, draft_vectors


def make_config(encoder: str) -> TrainConfig:
    return TrainConfig(
        device="cpu", embedding_dim=12,
        validation=SplitConfig(least_likes=5, support_sizes=(0, 1, 3)),
        backbone=BackboneConfig(alphas=(), regularisations=(), epochs=4),
        item_item=ItemItemConfig(regularisation=1.0, few_regularisation=1.0),
        prior=PriorConfig.model_validate(
            {
                "encoder": encoder, "path_dim": 4, "links_dim": 24, "regularisations": (), "gates": (0.0,),
                "network": NetworkConfig(hidden=16, steps=40, learning_rate=0.01),
            }
        ),
        head=HeadConfig(epochs=2, batch_size=64),
    )  # fmt: skip


@cache
def train(knowledge: Knowledge, encoder: str, *, noise: bool = False) -> tuple[PlantedUsers, Bundle]:
    planted = plant_users(knowledge, noise=noise)
    with tempfile.TemporaryDirectory() as folder:
        bundle = train_bundle(
            planted.tables, make_config(encoder), WordEncoder(), Path(folder), trained_at=1_700_000_000
        )
    return planted, bundle


def new_users_recall(planted: PlantedUsers, bundle: Bundle) -> float:
    """The mean Recall@20 of the answers for new users, who have no likes."""
    recommender, relevant = Recommender(bundle, WordEncoder()), planted.ask(0).relevant[planted.new]
    users = [bundle.users.ids[row] for row in np.flatnonzero(planted.new).tolist()]
    items = np.stack([bundle.items.rows(recommender.recommend(user, k=20).ids) for user in users])
    hits = metrics.find_hits(items, relevant)
    return float(metrics.recall(hits, np.diff(relevant.indptr))[:, -1].mean())


@pytest.mark.parametrize("encoder", ["sage", "hgt"])
@pytest.mark.parametrize("knowledge", ["friends", "age"])
def test_new_users_are_answered_by_their_links(knowledge: Knowledge, encoder: str) -> None:
    planted, bundle = train(knowledge, encoder)
    assert isinstance(bundle.model.user_prior, GnnEncoder)
    assert new_users_recall(planted, bundle) > 0.8 * planted.rule_recall(0) > 2 * planted.popularity_recall(0)


@pytest.mark.parametrize(("knowledge", "encoder"), [("friends", "sage"), ("age", "hgt")])
def test_noise_loses_nothing_against_popularity(knowledge: Knowledge, encoder: str) -> None:
    planted, bundle = train(knowledge, encoder, noise=True)
    assert new_users_recall(planted, bundle) >= planted.popularity_recall(0) - 0.01


@pytest.mark.parametrize("encoder", ["sage", "hgt"])
def test_somebody_new_is_answered_as_a_new_user_with_the_same_attributes(encoder: str) -> None:
    planted, bundle = train("age", encoder)
    recommender, row = Recommender(bundle, WordEncoder()), int(np.flatnonzero(planted.new)[0])
    age = planted.tables.nodes["user"]["age"][row].as_py()
    expected = recommender.recommend(bundle.users.ids[row], k=30)
    recommender.add_user("somebody", attributes={"age": age})
    for found in (recommender.recommend(attributes={"age": age}, k=30), recommender.recommend("somebody", k=30)):
        assert found.ids == expected.ids
        np.testing.assert_allclose([one.score for one in found], [one.score for one in expected], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ["sage", "hgt"])
def test_a_saved_bundle_answers_users_as_before(encoder: str, tmp_path: Path) -> None:
    planted, bundle = train("friends", encoder)
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    new, friend = (bundle.users.ids[int(np.flatnonzero(rows)[0])] for rows in (planted.new, ~planted.new))
    links = [("friend_of", friend)]
    before, after = (Recommender(one, WordEncoder()) for one in (bundle, loaded))
    asked: list[dict[str, Any]] = [{"user": new}, {"links": links}, {"user": new, "links": links}]
    for ask in asked:
        assert before.recommend(**ask, k=30) == after.recommend(**ask, k=30)


def test_the_encoder_places_users_relative_to_the_mean_user(tmp_path: Path) -> None:
    planted = plant_users("group")
    graph = build_graph(planted.tables, WordEncoder(), tmp_path)
    links = build_item_links(graph.data, graph.schema), build_user_links(graph.data, graph.schema)
    likes, settings = read_likes(graph.data, graph.schema), PriorSettings(10.0, {})
    kinds = {}
    for encoder in ("paths", "elsa", "sage"):
        config = make_config(encoder)
        catalogue = Catalogue(graph.data, graph.schema, *links, config, "cpu")
        drafted = draft_vectors(catalogue, likes, default_settings(config))
        users = draft_users(catalogue, likes, drafted)
        assert users is not None
        fitted = fit_user_prior(catalogue, users, settings)
        kinds[encoder] = type(fitted)
        found = fitted.place_all(None, links[1].incidence)
        expected = users.problem.predict(settings) - users.problem.mean
        np.testing.assert_allclose(found[planted.new], expected[planted.new], rtol=1e-3, atol=1e-4)
    assert kinds == {"paths": Prior, "elsa": Prior, "sage": GnnEncoder}


@pytest.mark.parametrize("encoder", ["paths", "sage"])
def test_without_links_and_texts_of_users_nothing_is_learned_of_them(encoder: str, tmp_path: Path) -> None:
    planted, config = plant_users("age"), make_config(encoder)
    graph = build_graph(planted.tables, WordEncoder(), tmp_path)
    triple = graph.schema.edge_triple("user.age")
    graph.data[triple].edge_index = graph.data[triple].edge_index[:, :0]
    links = build_item_links(graph.data, graph.schema), build_user_links(graph.data, graph.schema)
    catalogue = Catalogue(graph.data, graph.schema, *links, config, "cpu")
    likes = read_likes(graph.data, graph.schema)
    assert draft_users(catalogue, likes, draft_vectors(catalogue, likes, default_settings(config))) is None
