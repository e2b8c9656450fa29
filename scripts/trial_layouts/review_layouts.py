"""Layouts of JSON: Amazon's reviews of 2014, 2018 and 2023 with metadata, and a shop with nested values."""

import json
from pathlib import Path
from typing import Any

from trial_layouts.layout import Layout, write_json_lines
from trial_layouts.planting import Choice, Planted, Taste, grade, plant_taste, tell_planted, write_time
from trial_layouts.themes import GOODS

ROOT = "Home & Kitchen"  # the first category of every item
IMAGE = "https://images-na.ssl-images-amazon.com/images/I/{}.jpg"


def name_asin(place: int) -> str:
    return f"B00{place * 7919 % 9999999:07}"


def name_reviewer(user: int) -> str:
    return f"A{user * 104729 % 10**9:09}XQ2Z"


def write_review(taste: Taste, choice: Choice) -> tuple[str, str, float]:
    """Returns the text, the summary and the stars of a review."""
    words = "so so" if choice.liked is None else "great, would buy again" if choice.liked else "disappointing"
    kind = taste.items[choice.item].genres[0].lower()
    return f"I use this for {kind}. It is {words}.", words.title(), grade(choice, (5.0, 4.0, 5.0), 3.0, (1.0, 2.0))


def _write_reviews(file: Path, taste: Taste, more: dict[str, Any]) -> None:
    """Reviews as of 2014 and 2018, with further fields."""
    rows = []
    for c in taste.choices:
        text, summary, stars = write_review(taste, c)
        rows.append({
            "reviewerID": name_reviewer(c.user), "asin": name_asin(c.item), "reviewerName": f"Customer {c.user}",
            "reviewText": text, "overall": stars, "summary": summary, "unixReviewTime": c.at // 86400 * 86400,
            "reviewTime": f"{write_time(c.at, '%m')} {int(write_time(c.at, '%d'))}, {write_time(c.at, '%Y')}", **more,
        })  # fmt: skip
    write_json_lines(file, rows)


def _list_also(taste: Taste, place: int) -> list[str]:
    """The items that the shop says are bought with an item: two of its group, and one that is not in the metadata."""
    return [*(name_asin((place + step) % len(taste.items)) for step in (3, 9)), f"B01ZZ{place:05}"]


def make_amazon_2014(folder: Path) -> Planted:
    """Metadata is Python, not JSON: single quotes, and categories as a list of paths."""
    taste = plant_taste(GOODS, seed=10)
    _write_reviews(folder / "reviews_Home_and_Kitchen_5.json.gz", taste, {"helpful": [1, 2]})
    items = [
        {
            "asin": name_asin(i.place), "title": i.title, "price": 9.99 + i.place, "imUrl": IMAGE.format(i.place),
            "related": {"also_bought": _list_also(taste, i.place), "buy_after_viewing": []},
            "salesRank": {ROOT: 1000 + i.place * 37}, "brand": i.maker,
            "categories": [[ROOT, f"{i.genres[0]} & More", genre] for genre in i.genres],
        }
        for i in taste.items
    ]  # fmt: skip
    write_json_lines(folder / "meta_Home_and_Kitchen.json.gz", items, repr)
    return tell_planted(taste, name_reviewer, name_asin, hubs=(ROOT,), linked=("categor", "brand"), timed=True)


def make_amazon_2018(folder: Path) -> Planted:
    taste = plant_taste(GOODS, seed=11)
    more = {"verified": True, "style": {"Color:": " Black"}, "vote": "3"}
    _write_reviews(folder / "Home_and_Kitchen_5.json.gz", taste, more)
    items = [
        {
            "category": [ROOT, *i.genres], "tech1": "", "description": [i.about], "fit": "",
            "title": i.title.replace("&", "&amp;"), "also_buy": _list_also(taste, i.place), "tech2": "",
            "brand": i.maker.replace("&", "&amp;"), "feature": ["Easy to use", f"For {i.genres[0].lower()} & more"],
            "rank": [f">#{1000 + i.place * 37:,} in {ROOT} (See Top 100)"], "also_view": [], "details": {},
            "main_cat": ROOT, "similar_item": "", "date": "", "price": f"${9.99 + i.place:.2f}",
            "asin": name_asin(i.place), "imageURL": [], "imageURLHighRes": [IMAGE.format(i.place)],
        }
        for i in taste.items
    ]  # fmt: skip
    write_json_lines(folder / "meta_Home_and_Kitchen.json.gz", items)
    return tell_planted(taste, name_reviewer, name_asin, hubs=(ROOT,), linked=("categor", "brand"), timed=True)


def make_amazon_2023(folder: Path) -> Planted:
    """Reviews name the variant by asin and the product by parent_asin; metadata has parent_asin only."""
    taste = plant_taste(GOODS, seed=12)
    reviews = []
    for c in taste.choices:
        text, summary, stars = write_review(taste, c)
        reviews.append({
            "rating": stars, "title": summary, "text": text, "images": [],
            "asin": f"B07V{c.item:04}{c.user % 2:02}", "parent_asin": name_asin(c.item), "user_id": f"AE{c.user:026}",
            "timestamp": c.at * 1000 + 123, "helpful_vote": c.user % 3, "verified_purchase": True,
        })  # fmt: skip
    items = [
        {
            "main_category": "Amazon Home", "title": i.title, "average_rating": 4.1 + i.place % 9 / 10,
            "rating_number": 50 + i.place, "features": [f"For {i.genres[0].lower()}"], "description": [i.about],
            "price": None if i.place % 4 == 0 else 9.99 + i.place,
            "images": [{"thumb": IMAGE.format(i.place), "variant": "MAIN"}], "videos": [], "store": i.maker,
            "categories": [ROOT, *i.genres], "details": {"Brand": i.maker, "Item Weight": "1 pounds"},
            "parent_asin": name_asin(i.place), "bought_together": None,
        }
        for i in taste.items
    ]  # fmt: skip
    write_json_lines(folder / "Home_and_Kitchen.jsonl.gz", reviews)
    write_json_lines(folder / "meta_Home_and_Kitchen.jsonl.gz", items)
    return tell_planted(
        taste,
        lambda user: f"AE{user:026}",
        name_asin,
        hubs=(ROOT, "Amazon Home"),
        linked=("categor", "store"),
        timed=True,
    )


def make_nested_json(folder: Path) -> Planted:
    """Products as one JSON list with category paths and a nested brand; purchases as JSON lines."""
    taste = plant_taste(GOODS, seed=13)
    products = [
        {
            "sku": f"P-{i.place:04}", "name": i.title,
            "brand": {"id": f"brand-{taste.makers.index(i.maker)}", "name": i.maker},
            "categories": [[ROOT, genre] for genre in i.genres], "price": {"amount": 4.5 + i.place, "currency": "EUR"},
        }
        for i in taste.items
    ]  # fmt: skip
    purchases = [
        {"customer": f"c{c.user:03}", "sku": f"P-{c.item:04}", "at": write_time(c.at, "%Y-%m-%dT%H:%M:%SZ")}
        for c in taste.choices
    ]
    (folder / "products.json").write_text(json.dumps(products, indent=2), encoding="utf-8")
    write_json_lines(folder / "purchases.jsonl", purchases)
    return tell_planted(
        taste, lambda user: f"c{user:03}", lambda place: f"P-{place:04}", disliking=False, hubs=(ROOT, "EUR"),
        linked=("categor", "brand"), timed=True,
    )  # fmt: skip


LAYOUTS = (
    Layout("amazon-2014", make_amazon_2014, "jsonl"),
    Layout("amazon-2018", make_amazon_2018, "jsonl"),
    Layout("amazon-2023", make_amazon_2023, "jsonl"),
    Layout("nested-json", make_nested_json, "jsonl"),
)
