"""Layouts of films: MovieLens as GroupLens publishes it, anime, films with columns that link."""

import json
from dataclasses import replace
from pathlib import Path

from trial_layouts.layout import Layout, write_delimited, write_joined, write_text
from trial_layouts.planting import Choice, Item, Planted, count_from_one, grade, plant_taste, tell_planted
from trial_layouts.themes import FILMS

# The order of the flags in u.item.
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
OCCUPATIONS = ("student", "engineer", "writer", "other")
READ_ME = "SUMMARY\n=======\n\nThese files contain ratings of films.\nSee the licence, please; and cite us.\n"
AGES_1M = (1, 18, 25, 35, 45, 50, 56)


def rate(choice: Choice) -> int:
    return int(grade(choice, (5, 4, 5), 3, (1, 2)))


def with_year(item: Item) -> str:
    return f"{item.title} ({item.year})"


def with_comma(item: Item) -> str:
    """As MovieLens writes an article: it needs quotes in CSV."""
    return f"{item.title}, The ({item.year})" if item.place % 4 == 0 else with_year(item)


def make_movielens_100k(folder: Path) -> Planted:
    taste = plant_taste(FILMS)
    ratings = [(count_from_one(c.user), count_from_one(c.item), rate(c), c.at) for c in taste.choices]
    split = len(ratings) * 4 // 5
    for name, rows in (("u.data", ratings), ("u1.base", ratings[:split]), ("u1.test", ratings[split:])):
        write_joined(folder / name, rows, "\t")
    items = []
    for item in taste.items:
        url = f"http://us.imdb.com/M/title-exact?{item.title.replace(' ', '%20')}%20({item.year})"
        flags = [int(genre in item.genres) for genre in GENRES_100K]
        items.append((item.place + 1, with_year(item), f"01-Jan-{item.year}", "", url, *flags))
    write_joined(folder / "u.item", items, "|", encoding="latin-1")
    users = [(u + 1, 20 + u % 40, "MF"[u % 2], OCCUPATIONS[u % 4], f"{10000 + u * 37}") for u in range(taste.n_users)]
    write_joined(folder / "u.user", users, "|")
    write_text(folder / "u.genre", "".join(f"{name}|{n}\n" for n, name in enumerate(GENRES_100K)) + "\n")
    write_text(folder / "u.occupation", "\n".join(OCCUPATIONS) + "\n")
    write_text(folder / "u.info", f"{taste.n_users} users\n{len(items)} items\n{len(ratings)} ratings\n")
    write_text(folder / "README", READ_ME)
    write_text(folder / "mku.sh", "#!/bin/sh\ntrap `rm -f tmp.$$; exit 1` 1 2 15\n")
    return tell_planted(taste, count_from_one, count_from_one, linked=("genre",), timed=True)


def make_movielens_1m(folder: Path) -> Planted:
    taste = plant_taste(FILMS, seed=2)
    ratings = [(c.user + 1, c.item + 1, rate(c), c.at) for c in taste.choices]
    movies = [(item.place + 1, with_year(item), "|".join(item.genres)) for item in taste.items]
    users = [(u + 1, "FM"[u % 2], AGES_1M[u % 7], u % 21, f"{10000 + u * 37:05}") for u in range(taste.n_users)]
    write_joined(folder / "ratings.dat", ratings, "::")
    write_joined(folder / "movies.dat", movies, "::", encoding="latin-1")
    write_joined(folder / "users.dat", users, "::")
    write_text(folder / "README", READ_ME)
    return tell_planted(taste, count_from_one, count_from_one, linked=("genre",), timed=True)


def make_movielens_small(folder: Path) -> Planted:
    taste = plant_taste(FILMS, seed=3)
    movies = [(i.place + 1, with_comma(i), "|".join(i.genres)) for i in taste.items]
    movies.append((9001, "Unseen Reel (1999)", "(no genres listed)"))
    ratings = [(c.user + 1, c.item + 1, grade(c, (5.0, 4.5, 4.0), 3.0, (0.5, 2.0)), c.at) for c in taste.choices]
    tags = [
        (c.user + 1, c.item + 1, taste.items[c.item].genres[0].lower() + " fun", c.at + 60)
        for c in taste.choices
        if c.liked and c.user % 5 == 1
    ]
    links = [(i.place + 1, f"{113000 + i.place * 91:07}", "" if i.place == 5 else 860 + i.place) for i in taste.items]
    write_delimited(folder / "movies.csv", [("movieId", "title", "genres"), *movies])
    write_delimited(folder / "ratings.csv", [("userId", "movieId", "rating", "timestamp"), *ratings])
    write_delimited(folder / "tags.csv", [("userId", "movieId", "tag", "timestamp"), *tags])
    write_delimited(folder / "links.csv", [("movieId", "imdbId", "tmdbId"), *links])
    write_text(folder / "README.txt", READ_ME)
    return tell_planted(taste, count_from_one, count_from_one, linked=("genre",), timed=True)


def make_anime(folder: Path) -> Planted:
    """Kaggle's anime recommendations: -1 is "watched, not rated", and genres are listed with commas."""
    taste = plant_taste(FILMS, seed=4)
    rows: list[tuple[object, ...]] = [("anime_id", "name", "genre", "type", "episodes", "rating", "members")]
    titles = {str(i.place + 101): i.title + "°" * (i.place % 5 == 0) for i in taste.items}
    for i in taste.items:
        name = titles[str(i.place + 101)].replace("'", "&#039;").replace("°", "&deg;")
        episodes = "Unknown" if i.place % 9 == 0 else 1 + i.place % 26
        rows.append(
            (i.place + 101, name, ", ".join(i.genres), "TV", episodes, 6 + (i.place * 7 % 30) / 10, 900 + i.place)
        )
    ratings: list[tuple[object, ...]] = [
        (c.user + 1, c.item + 101, int(grade(c, (10, 9, 8), -1, (2, 4)))) for c in taste.choices
    ]
    # half of what people watch they do not rate, whatever it is
    seen = {(c.user, c.item) for c in taste.choices}
    ratings += [
        (user + 1, place + 101, -1)
        for user in range(1, taste.n_users)
        for place in ((user * 5 + step * 7) % len(taste.items) for step in range(5))
        if (user, place) not in seen
    ]
    write_delimited(folder / "anime.csv", rows)
    write_delimited(folder / "rating.csv", [("user_id", "anime_id", "rating"), *ratings])
    planted = tell_planted(taste, count_from_one, lambda place: str(place + 101), hubs=("TV",), linked=("genre",))
    unrated = {(str(user), str(item)) for user, item, rating in ratings if rating == -1}
    return replace(planted, titles=titles, not_likes=planted.not_likes | unrated)


def make_links_in_columns(folder: Path) -> Planted:
    """Genres as "a|b", a cast as a JSON list, a studio as a foreign key."""
    taste = plant_taste(FILMS, seed=5)
    studios = {maker: 7 + place for place, maker in enumerate(taste.makers)}
    rows: list[tuple[object, ...]] = [("movieId", "title", "genres", "cast", "studioId")]
    for i in taste.items:
        cast = json.dumps([f"Player {i.group}{i.place % 7}", f"Player {i.group}{i.place % 5}"])
        rows.append((i.place + 1, i.title, "|".join(i.genres), cast, studios[i.maker]))
    write_delimited(folder / "movies.csv", rows)
    write_delimited(folder / "studios.csv", [("studioId", "studio"), *((n, name) for name, n in studios.items())])
    ratings = [(c.user + 1, c.item + 1, rate(c)) for c in taste.choices]
    write_delimited(folder / "ratings.csv", [("userId", "movieId", "rating"), *ratings])
    return tell_planted(taste, count_from_one, count_from_one, linked=("genre", "cast", "studio"))


LAYOUTS = (
    Layout("movielens-100k", make_movielens_100k, "tsv"),
    Layout("movielens-1m", make_movielens_1m),
    Layout("movielens-latest-small", make_movielens_small),
    Layout("anime", make_anime),
    Layout("links-in-columns", make_links_in_columns),
)
