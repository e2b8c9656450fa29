"""Layouts that are awkward in one way each: float keys, headers with spaces, entities, dates, friends, vectors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trial_layouts.layout import Layout, write_delimited
from trial_layouts.planting import (
    N_GROUPS,
    Choice,
    Planted,
    count_from_one,
    grade,
    plant_taste,
    tell_planted,
    write_time,
)
from trial_layouts.themes import BOOKS, GOODS, MUSIC

if TYPE_CHECKING:
    from kgrec.bundle import Bundle

VECTOR_WIDTH = 12


def rate(choice: Choice) -> int:
    return int(grade(choice, (5, 4, 5), 3, (1, 2)))


def make_float_keys(folder: Path) -> Planted:
    """Pandas writes ids as "12.0" once a column misses one, and what is missing as nothing or nan."""
    taste = plant_taste(GOODS, seed=25)
    rows: list[tuple[object, ...]] = [(f"{c.user + 1}.0", f"{c.item + 1}.0", f"{rate(c)}.0") for c in taste.choices]
    rows[40:40] = [("", "3.0", "5.0"), ("7.0", "", "4.0"), ("nan", "5.0", "5.0"), ("NULL", "6.0", "1.0")]
    products = [(f"{i.place + 1}.0", i.title, f"{4.5 + i.place}") for i in taste.items]
    write_delimited(
        folder / "ratings.csv", [("", "user_id", "product_id", "rating"), *((n, *r) for n, r in enumerate(rows))]
    )
    write_delimited(folder / "products.csv", [("product_id", "product_name", "price"), *products])

    return tell_planted(taste, lambda user: f"{user + 1}.0", lambda place: f"{place + 1}.0")


def make_spaced_headers(folder: Path) -> Planted:
    """An export of a form: headers with spaces, brackets and other capitals."""
    taste = plant_taste(BOOKS, seed=26)
    rows = [(write_time(c.at, "%Y-%m-%d %H:%M"), c.user + 1, c.item + 1, rate(c), "") for c in taste.choices]
    write_delimited(
        folder / "Form responses 1.csv", [("Time stamp", "User ID", "Book ID", "Rating (1-5)", "Comment"), *rows]
    )
    books = [(i.place + 1, i.title, i.maker, i.year) for i in taste.items]
    write_delimited(folder / "Book list.csv", [("book id", "Book Title", "Author(s)", "Year"), *books])
    return tell_planted(taste, count_from_one, count_from_one, linked=("author",), timed=True)


def make_entities(folder: Path) -> Planted:
    """Names from a web page: &amp; and &#39; in them, in a file with a byte order mark."""
    taste = plant_taste(GOODS, seed=27)

    def escape(i: int) -> str:
        return f"{taste.items[i].title} &amp; Caf&eacute; &quot;Set&quot; d&#39;{taste.items[i].maker[:2]}"

    products = [(f"p{i.place}", escape(i.place), i.genres[0].replace("&", "&amp;")) for i in taste.items]
    write_delimited(folder / "products.csv", [("product_id", "name", "category"), *products], encoding="utf-8-sig")
    ratings = [(f"u{c.user}", f"p{c.item}", rate(c)) for c in taste.choices]
    write_delimited(folder / "ratings.csv", [("user_id", "product_id", "rating"), *ratings], encoding="utf-8-sig")
    planted = tell_planted(taste, lambda user: f"u{user}", lambda place: f"p{place}", linked=("categor",))
    titles = {f"p{i.place}": f'{i.title} & Café "Set" d\'{i.maker[:2]}' for i in taste.items}
    return replace(planted, titles=titles)


def make_day_first(folder: Path) -> Planted:
    """A European export: semicolons, commas in numbers, the day before the month."""
    taste = plant_taste(GOODS, seed=28)
    sales = [
        (f"K{c.user:04}", f"A{c.item:04}", str(1 + (c.user + c.item) % 3), write_time(c.at, "%d/%m/%Y %H:%M"))
        for c in taste.choices
    ]
    write_delimited(folder / "sales.csv", [("customer_no", "article_no", "quantity", "sold_on"), *sales], ";")
    articles = [(f"A{i.place:04}", i.title, f"{4 + i.place},50") for i in taste.items]
    write_delimited(folder / "articles.csv", [("article_no", "description", "price"), *articles], ";")

    return tell_planted(
        taste, lambda user: f"K{user:04}", lambda place: f"A{place:04}", disliking=False, least_likes=0.3,
        timed=True,
    )  # fmt: skip


def make_trusts(folder: Path) -> Planted:
    """Ratings, and a table in which both columns are users."""
    taste = plant_taste(MUSIC, seed=29)
    ratings = [(c.user + 1, c.item + 1, rate(c)) for c in taste.choices]
    write_delimited(folder / "ratings.csv", [("user", "item", "rating"), *ratings])
    write_delimited(
        folder / "items.csv", [("item", "title", "label"), *((i.place + 1, i.title, i.maker) for i in taste.items)]
    )
    pairs = [(user + 1, (user + step) % taste.n_users + 1) for user in range(taste.n_users) for step in (3, 6, 9)]
    write_delimited(folder / "trusts.csv", [("user", "trusted"), *pairs])

    def find_faults(bundle: "Bundle") -> list[str]:
        user = bundle.schema.user_type
        social = [name for name, edge in bundle.schema.edges.items() if edge.source == edge.target == user]
        return [] if social else ["no edge type from users to users, though trusts.csv has two columns of users"]

    return tell_planted(taste, count_from_one, count_from_one, expects=find_faults)


def make_vectors_only(folder: Path) -> Planted:
    """Items that are an id and a vector, such as of a picture."""
    taste = plant_taste(GOODS, seed=30)
    rng = np.random.default_rng(10)
    centres = rng.normal(size=(N_GROUPS, VECTOR_WIDTH))
    vectors = [np.round(centres[i.group] + rng.normal(scale=0.4, size=VECTOR_WIDTH), 5).tolist() for i in taste.items]
    rows = [(f"img_{place:04}.jpg", json.dumps(vector)) for place, vector in enumerate(vectors)]
    write_delimited(folder / "images.csv", [("image", "embedding"), *rows])
    likes = [(f"u{c.user}", f"img_{c.item:04}.jpg") for c in taste.choices if c.liked is not False]
    write_delimited(folder / "likes.csv", [("user", "image"), *likes])

    def find_faults(bundle: "Bundle") -> list[str]:
        vectors = bundle.schema.nodes[bundle.schema.item_type].vectors
        return (
            [] if vectors == ("embedding",) else [f"the vectors of items are {list(vectors)}, expected ['embedding']"]
        )

    return tell_planted(
        taste, lambda user: f"u{user}", lambda place: f"img_{place:04}.jpg", titled=False, disliking=False,
        expects=find_faults,
    )  # fmt: skip


LAYOUTS = (
    Layout("float-keys", make_float_keys),
    Layout("spaced-headers", make_spaced_headers),
    Layout("html-entities", make_entities),
    Layout("day-first-dates", make_day_first),
    Layout("trusts", make_trusts),
    Layout("vectors-only", make_vectors_only),
)
