"""A precomputed vector per product: read, checked, trained on, and enough to place an item without other features."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from shop import CONFIG, N_ITEMS, SCHEMA, WordEncoder, kind_of, make_tables

from graph_schema import CatalogueError, CatalogueSchema, GraphTables
from graph_schema.checks.staging import stage_tables
from kgrec.bundle import Bundle, load_bundle, save_bundle
from kgrec.errors import RequestError
from kgrec.graph.hetero import to_hetero
from kgrec.recommend import Recommender
from kgrec.store import open_store, read_tables
from kgrec.store.load import load_staged
from kgrec.sync import sync_bundle
from kgrec.training.train_bundle import train_bundle
from loaders import open_source

DESCRIBED = SCHEMA.model_dump()
DESCRIBED["nodes"]["product"]["attributes"] = {"photo": "vector"}
WITH_PHOTOS = CatalogueSchema.model_validate(DESCRIBED)
PHOTO = {"tea": [1.0, 0.0, 0.5], "bike": [0.0, 1.0, 0.5]}


def make_photos() -> list[list[float] | None]:
    rng = np.random.default_rng(2)
    photos: list[list[float] | None] = [
        (np.array(PHOTO[kind_of(f"sku-{place:02}")]) + rng.normal(0, 0.05, 3)).tolist() for place in range(N_ITEMS)
    ]
    photos[3] = None
    return photos


def with_photos(photos: list[list[float] | None]) -> GraphTables:
    """The shop with equal titles and a photo vector for each product."""
    plain = make_tables()
    products = plain.nodes["product"]
    kind = pa.list_(pa.float32())
    products = products.set_column(1, "title", pa.array(["thing"] * len(products)))
    products = products.append_column("photo", pa.array(photos, kind)).cast(WITH_PHOTOS.nodes["product"].arrow_schema)
    return GraphTables(WITH_PHOTOS, {**plain.nodes, "product": products}, plain.edges)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    trained = train_bundle(
        with_photos(make_photos()), CONFIG, WordEncoder(), tmp_path_factory.mktemp("cache"), trained_at=0
    )
    folder = tmp_path_factory.mktemp("bundle") / "shop"
    save_bundle(trained, folder)
    return load_bundle(folder)


def test_the_prior_learns_from_vectors(bundle: Bundle) -> None:
    prior, head = bundle.model.prior, bundle.model.backbone
    nothing = np.zeros(0, np.int64)
    tea, bike = (prior.place(None, nothing, np.array(PHOTO[kind], np.float32)) for kind in ("tea", "bike"))
    is_tea = np.array([kind_of(item) == "tea" for item in bundle.items.ids])
    scores = head.items.numpy() @ (tea - bike)
    assert scores[is_tea].min() > scores[~is_tea].max()
    unknown = prior.place(None, nothing, np.full(3, np.nan, np.float32))
    np.testing.assert_array_equal(unknown, prior.place(None, nothing))
    assert "vector:photo" in bundle.choices["vectors"]["prior"]["gates"]


def test_a_product_with_only_a_vector_is_placed_by_it(bundle: Bundle, tmp_path: Path) -> None:
    tables = with_photos(make_photos())
    new = pa.Table.from_pylist(
        [{"sku": f"new-{kind}", "photo": PHOTO[kind]} for kind in PHOTO], tables.nodes["product"].schema
    )
    grown = GraphTables(
        WITH_PHOTOS, {**tables.nodes, "product": pa.concat_tables([tables.nodes["product"], new])}, tables.edges
    )
    synced, report = sync_bundle(bundle, grown, WordEncoder(), tmp_path, now=1)
    assert report.n_placed == 2
    shop = Recommender(synced, WordEncoder())
    for liked, best, other in (("sku-00", "new-tea", "new-bike"), ("sku-01", "new-bike", "new-tea")):
        assert shop.recommend(likes=[liked], k=2, candidates=["new-tea", "new-bike"]).ids == (best, other)


def test_an_added_product_is_placed_by_its_vector_as_sync_would(bundle: Bundle, tmp_path: Path) -> None:
    shop = Recommender(bundle, WordEncoder())
    for kind, photo in PHOTO.items():
        assert shop.add_item(f"new-{kind}", vectors={"photo": photo}) == ()
    for liked, best, other in (("sku-00", "new-tea", "new-bike"), ("sku-01", "new-bike", "new-tea")):
        assert shop.recommend(likes=[liked], k=2, candidates=["new-tea", "new-bike"]).ids == (best, other)
    shop.save(tmp_path / "shop")
    again = Recommender.load(tmp_path / "shop", encoder=WordEncoder())
    assert again.bundle.vector_widths == {"photo": 3}
    assert again.recommend(likes=["sku-00"], k=1, candidates=["new-tea", "new-bike"]).ids == ("new-tea",)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (
            {"foto": [1.0, 2.0, 3.0]},
            r"the model was not trained on vectors 'foto' of the node type 'product'.*expected one of \['photo'\]",
        ),
        ({"photo": [1.0, 2.0]}, "have width 2; expected 3"),
        ({"photo": [1.0, float("nan"), 3.0]}, "not finite; expected 3 finite numbers"),
        ({"photo": [[1.0, 2.0, 3.0]]}, r"shape \(1, 3\)"),
        ({"photo": "abc"}, "not a list of numbers"),
        ({}, "expected a text, a name, attributes, links to nodes of the catalogue, or vectors"),
    ],
)
def test_an_added_vector_that_does_not_fit_is_an_error(bundle: Bundle, vectors: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Recommender(bundle, WordEncoder()).add_item("new", vectors=vectors)


def test_vectors_of_another_width_are_an_error_of_sync(bundle: Bundle, tmp_path: Path) -> None:
    wider = [None if photo is None else [*photo, 1.0] for photo in make_photos()]
    with pytest.raises(RequestError, match="'photo' have width 4; expected 3, as in training"):
        sync_bundle(bundle, with_photos(wider), WordEncoder(), tmp_path, now=1)


def test_a_vector_column_that_was_empty_in_training_is_ignored(tmp_path: Path) -> None:
    blank = train_bundle(with_photos([None] * N_ITEMS), CONFIG, WordEncoder(), tmp_path, trained_at=0)
    assert blank.vector_widths == {}
    synced, report = sync_bundle(blank, with_photos(make_photos()), WordEncoder(), tmp_path, now=1)
    assert report.changes
    assert synced.vector_widths == {}
    with pytest.raises(
        RequestError, match="the model was not trained on vectors 'photo' of the node type 'product'; expected a text"
    ):
        Recommender(synced, WordEncoder()).add_item("new", vectors={"photo": PHOTO["tea"]})


def test_a_changed_vector_changes_the_product(bundle: Bundle, tmp_path: Path) -> None:
    photos = make_photos()
    photos[4] = [0.0, 1.0, 0.0]
    _, report = sync_bundle(bundle, with_photos(photos), WordEncoder(), tmp_path, now=1)
    assert report.changes
    _, report = sync_bundle(bundle, with_photos(make_photos()), WordEncoder(), tmp_path, now=1)
    assert not report.changes


def test_the_heterograph_has_vectors_and_nan_where_there_is_none() -> None:
    data, _ = to_hetero(with_photos(make_photos()))
    photos = data["product"]["vector:photo"].numpy()
    assert (photos.shape, photos.dtype) == ((N_ITEMS, 3), np.float32)
    assert np.flatnonzero(np.isnan(photos).any(axis=1)).tolist() == [3]
    np.testing.assert_allclose(photos[0], make_photos()[0], rtol=1e-6)
    none, _ = to_hetero(with_photos([None] * N_ITEMS))
    assert "vector:photo" not in none["product"]


@pytest.mark.parametrize("bad", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [1.0, float("nan"), 1.0], [float("inf"), 0.0, 0.0]])
def test_vectors_that_do_not_fit_are_an_error_that_names_the_node(bad: list[float]) -> None:
    photos = make_photos()
    photos[5] = bad
    with pytest.raises(CatalogueError, match=r"'photo' of 'sku-05' .* \(1 of 30 nodes\)"):
        to_hetero(with_photos(photos))


FILES = {
    "product": 'sku,title,photo\na,Tea,"[1, 0.5]"\nb,Bike,\nc,Bell,"[1, 2, 3]"\nd,Chain,0.25 3\n',
    "maker": "maker_id,maker_name\nm,House\n",
    "customer": "customer_id\nu\n",
    "made_by": "sku,maker_id\na,m\n",
    "spare_part_of": "source,target\nd,b\n",
    "bought": "customer_id,sku,stars\nu,a,5\n",
}


def test_vectors_survive_files_and_stores(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / f"{name}.csv").write_text(content)
    source = open_source("tabular", path=tmp_path, schema=WITH_PHOTOS, cache_dir=tmp_path, encoding=None)
    staged = stage_tables(source, tmp_path / "staged", rejects=tmp_path / "rejects.csv", max_rejects=0.5)
    with open_store(f"ladybug:{tmp_path}/shop.db", mode="write", schema=WITH_PHOTOS) as store:
        load_staged(store, staged)
        found = read_tables(store).nodes["product"].sort_by("sku")
    assert found.column("photo").to_pylist() == [[1.0, 0.5], None, None, [0.25, 3.0]]
    assert found["sku"].to_pylist() == ["a", "b", "c", "d"]
    rejects = (tmp_path / "rejects.csv").read_text()
    assert "photo is a vector of another width than most, 2, left out of its row" in rejects


def test_edges_have_no_vectors() -> None:
    described = SCHEMA.model_dump()
    described["edges"]["bought"]["attributes"]["photo"] = "vector"
    with pytest.raises(ValueError, match="expected vectors of nodes only"):
        CatalogueSchema.model_validate(described)
