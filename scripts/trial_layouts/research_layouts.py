"""Layouts of research: RecBole's atomic files, triples with a link table, id lists, MIND, UCI's restaurants."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from trial_layouts.layout import Layout, write_delimited, write_joined, write_text
from trial_layouts.planting import (
    Choice,
    Planted,
    Taste,
    count_from_one,
    grade,
    plant_taste,
    tell_planted,
    write_american_time,
)
from trial_layouts.themes import FILMS, NEWS, RESTAURANTS

WIDTH = 16  # of MIND's entity vectors, which have 100 numbers


def rate(choice: Choice) -> int:
    return int(grade(choice, (5, 4, 5), 3, (1, 2)))


def list_triples(taste: Taste, directed: str, set_in: str) -> list[tuple[str, str, str]]:
    """Who directed each film, where it is set, and a few facts about places, which link no film."""
    makers = {maker: f"m.0d{place:02}" for place, maker in enumerate(taste.makers)}
    triples = []
    for i in taste.items:
        triples.append((f"m.0f{i.place:03}", directed, makers[i.maker]))
        triples.append((f"m.0f{i.place:03}", set_in, f"m.0c{i.group}{i.place % 2}"))
    return [
        *triples,
        ("m.0c00", "location.location.containedby", "m.0e1"),
        ("m.0c10", "location.location.containedby", "m.0e1"),
    ]


def make_recbole(folder: Path) -> Planted:
    taste = plant_taste(FILMS, seed=20)
    write_delimited(folder / "films.inter", [
        ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
        *((c.user + 1, c.item + 1, rate(c), c.at) for c in taste.choices),
    ], "\t")  # fmt: skip
    write_delimited(folder / "films.item", [
        ("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"),
        *((i.place + 1, i.title, i.year, " ".join(i.genres)) for i in taste.items),
    ], "\t", quoting=3)  # fmt: skip
    write_delimited(folder / "films.user", [
        ("user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"),
        *((u + 1, 20 + u % 40, "MF"[u % 2], ("writer", "other")[u % 2], f"{10000 + u * 37}")
          for u in range(taste.n_users)),
    ], "\t")  # fmt: skip
    triples = list_triples(taste, "film.film.directed_by", "film.film.set_in")
    inverse = [
        (tail, "film.director.film", head) for head, relation, tail in triples if relation.endswith("directed_by")
    ]
    write_delimited(
        folder / "films.kg", [("head_id:token", "relation_id:token", "tail_id:token"), *triples, *inverse], "\t"
    )
    links = [(i.place + 1, f"m.0f{i.place:03}") for i in taste.items if i.place % 12 != 5]
    write_delimited(folder / "films.link", [("item_id:token", "entity_id:token"), *links], "\t")
    return tell_planted(taste, count_from_one, count_from_one, linked=("direct", "set_in", "class"), timed=True)


def make_triples(folder: Path) -> Planted:
    taste = plant_taste(FILMS, seed=21)
    write_delimited(folder / "item.csv", [("item_id", "title"), *((i.place + 1, i.title) for i in taste.items)])
    write_delimited(folder / "inter.csv", [
        ("user_id", "item_id", "rating"), *((c.user + 1, c.item + 1, rate(c)) for c in taste.choices),
    ])  # fmt: skip
    triples = list_triples(taste, "directed_by", "set_in")
    write_delimited(folder / "kg.csv", [("head_id", "relation_id", "tail_id"), *triples])
    write_delimited(
        folder / "link.csv", [("item_id", "entity_id"), *((i.place + 1, f"m.0f{i.place:03}") for i in taste.items)]
    )
    return tell_planted(taste, count_from_one, count_from_one, linked=("direct", "set_in"))


def make_id_lists(folder: Path) -> Planted:
    """LightGCN's files: each line is a user and the items of the user; names are in a file of their own."""
    taste = plant_taste(FILMS, seed=22)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for user in range(taste.n_users):
        mine = [str(c.item) for c in taste.choices if c.user == user]
        n_test = 1 if user % 3 == 1 else 0
        lines["train"].append(" ".join([str(user), *mine[n_test:]]))
        lines["test"].append(" ".join([str(user), *mine[:n_test]]))  # some lines are a user alone
    for name, rows in lines.items():
        write_text(folder / f"{name}.txt", "".join(row + "\n" for row in rows))
    write_delimited(folder / "item_names.tsv", [("item", "title"), *((i.place, i.title) for i in taste.items)], "\t")
    return tell_planted(taste, str, str, disliking=False, least_likes=0.8)


def make_mind(folder: Path) -> Planted:
    """MIND: no header; clicks are in a history and in what was shown, "N1-1" where it was clicked."""
    taste = plant_taste(NEWS, seed=23)
    rng = np.random.default_rng(9)
    entities = {word: f"Q{80976 + n}" for n, word in enumerate(taste.makers)}
    news = []
    for i in taste.items:
        found = [{
            "Label": i.maker, "Type": "O", "WikidataId": entities[i.maker], "Confidence": 1.0, "OccurrenceOffsets": [3],
            "SurfaceForms": [i.maker],
        }]  # fmt: skip
        news.append((
            f"N{55000 + i.place}", i.genres[0], f"{i.genres[0]}-{i.group}", i.title,
            "" if i.place % 8 == 0 else i.about, f"https://assets.msn.com/labs/mind/AA{i.place:05}.html",
            json.dumps(found if i.place % 3 else []), json.dumps(found),
        ))  # fmt: skip
    write_joined(folder / "news.tsv", news, "\t")
    behaviours = []
    clicked: set[tuple[str, str]] = set()
    shown: set[tuple[str, str]] = set()
    for user in range(taste.n_users):
        mine = [c for c in taste.choices if c.user == user and c.liked]
        others = [c for c in taste.choices if c.user == user and c.liked is False]
        last = mine[-1]
        history = [f"N{55000 + c.item}" for c in mine[:-1]]
        ignored = [int(place) for place in rng.choice(len(taste.items), 5, replace=False) if place % 3 != user % 3]
        ignored = [*ignored, *(c.item for c in others)]
        impressions = [f"N{55000 + last.item}-1", *(f"N{55000 + place}-0" for place in dict.fromkeys(ignored))]
        time = write_american_time(last.at, seconds=True)
        behaviours.append((2 * user + 1, f"U{13740 + user}", time, " ".join(history), " ".join(impressions)))
        clicked |= {(f"U{13740 + user}", f"N{55000 + c.item}") for c in mine}
        shown |= {(f"U{13740 + user}", f"N{55000 + place}") for place in ignored}
    behaviours.append((900, "U99999", "11/15/2019 8:55:22 AM", "", "N55001-1 N55002-0"))  # without a history
    write_joined(folder / "behaviors.tsv", behaviours, "\t")
    vectors = [(entity, *(f"{value:.6f}" for value in rng.normal(size=WIDTH))) for entity in entities.values()]
    write_joined(folder / "entity_embedding.vec", vectors, "\t")
    write_joined(folder / "relation_embedding.vec", [("P31", *vectors[0][1:]), ("P279", *vectors[1][1:])], "\t")
    planted = tell_planted(
        taste, lambda user: f"U{13740 + user}", lambda place: f"N{55000 + place}", least_likes=0.8, linked=("categor",)
    )
    return replace(planted, not_likes=frozenset(shown - clicked))


def make_restaurants(folder: Path) -> Planted:
    """UCI's restaurants: grades from 0 to 2, "?" for what is not known, and nearly every place takes cash."""
    taste = plant_taste(RESTAURANTS, seed=24)

    def place_id(place: int) -> str:
        return str(132560 + place)

    def user_id(user: int) -> str:
        return f"U{1001 + user}"

    write_delimited(folder / "rating_final.csv", [
        ("userID", "placeID", "rating", "food_rating", "service_rating"),
        *((user_id(c.user), place_id(c.item), int(grade(c, (2,), 1, (0,))), c.user % 3, c.item % 3)
          for c in taste.choices),
    ])  # fmt: skip
    write_delimited(folder / "geoplaces2.csv", [
        ("placeID", "latitude", "longitude", "name", "address", "city", "alcohol", "dress_code", "price", "url"),
        *((place_id(i.place), f"{22.1 + i.place / 500:.6f}", f"{-100.9 - i.place / 700:.6f}", i.title,
           "?" if i.place % 6 == 0 else f"Calle {i.place}", "San Luis Potosí", "No_Alcohol_Served", "informal",
           ("low", "medium", "high")[i.place % 3 - 1], "?") for i in taste.items),
    ], encoding="latin-1")  # fmt: skip
    write_delimited(folder / "chefmozaccepts.csv", [
        ("placeID", "Rpayment"), *((place_id(i.place), "cash") for i in taste.items),
        *((place_id(i.place), "VISA") for i in taste.items if i.place % 4 == 0),
    ])  # fmt: skip
    cuisines = [(place_id(i.place), genre) for i in taste.items for genre in i.genres if genre != taste.hub]
    write_delimited(folder / "chefmozcuisine.csv", [("placeID", "Rcuisine"), *cuisines])
    write_delimited(folder / "userprofile.csv", [
        ("userID", "latitude", "longitude", "smoker", "budget", "birth_year", "height"),
        *((user_id(u), f"{22.1 + u / 600:.6f}", f"{-100.9 - u / 800:.6f}", ("false", "true", "?")[u % 3],
           ("low", "medium")[u % 2], 1960 + u % 40, f"{1.5 + u % 40 / 100:.2f}") for u in range(taste.n_users)),
    ])  # fmt: skip
    write_delimited(folder / "usercuisine.csv", [
        ("userID", "Rcuisine"),
        *((user_id(u), RESTAURANTS.groups[u % 3].genres[u // 3 % 2]) for u in range(taste.n_users) if u % 2),
    ])  # fmt: skip
    write_delimited(folder / "userpayment.csv", [
        ("userID", "Upayment"), *((user_id(u), "cash") for u in range(taste.n_users)),
    ])  # fmt: skip
    return tell_planted(
        taste, user_id, place_id, hubs=("San Luis Potosí", "No_Alcohol_Served", "informal"), linked=("cuisine",)
    )


LAYOUTS = (
    Layout("recbole-atomic", make_recbole, "tsv"),
    Layout("triples", make_triples),
    Layout("id-lists", make_id_lists),
    Layout("mind", make_mind, "tsv"),
    Layout("restaurants-0-to-2", make_restaurants),
)
