"""Layouts of books and music: goodbooks-10k, Book-Crossing, ISBN as a key, HetRec's Last.fm."""

from dataclasses import replace
from pathlib import Path

from trial_layouts.layout import Layout, Rows, write_delimited, write_joined, write_text
from trial_layouts.planting import (
    DAY_S,
    Planted,
    count_from_one,
    grade,
    plant_taste,
    tell_planted,
    write_time,
)
from trial_layouts.themes import BOOKS, MUSIC

GOODBOOKS_HEADER = (
    "book_id", "goodreads_book_id", "best_book_id", "work_id", "books_count", "isbn", "isbn13", "authors",
    "original_publication_year", "original_title", "title", "language_code", "average_rating", "ratings_count",
    "work_ratings_count", "work_text_reviews_count", "ratings_1", "ratings_2", "ratings_3", "ratings_4", "ratings_5",
    "image_url", "small_image_url",
)  # fmt: skip
COVER = "https://images.gr-assets.com/books/1447303603m/{}.jpg"
AMAZON_COVER = "http://images.amazon.com/images/P/{}.01.{}ZZZZZZZ.jpg"


def name_isbn(place: int) -> str:
    """Ten characters, of which the first may be 0 and the last X."""
    digits = [int(digit) for digit in f"{195153440 + place * 1013:010}"[1:]]
    if place % 3 == 0:
        digits[0] = 0
    check = -sum((10 - n) * digit for n, digit in enumerate(digits)) % 11
    return "".join(map(str, digits)) + ("X" if check == 10 else str(check))


def make_goodbooks(folder: Path) -> Planted:
    taste = plant_taste(BOOKS, seed=6)
    books = []
    for i in taste.items:
        authors = i.maker + (", Illustrator Nan" if i.place % 6 == 0 else "")
        isbn13 = f"{9.78043902e12 + i.place * 1e7:.11e}"
        title = f"{i.title} (The Saga, #{1 + i.place % 3})" if i.place % 4 == 0 else i.title
        numbers = (3.2 + i.place % 15 / 10, 5000 + i.place, 5100 + i.place, 300, 10, 20, 300, 2000, 2670 + i.place)
        books.append((
            i.place + 1, 27000 + i.place, 27000 + i.place, 460000 + i.place, 9, name_isbn(i.place), isbn13, authors,
            f"{i.year}.0", i.title, title, "en-US" if i.place % 2 else "eng", *numbers, COVER.format(i.place),
            COVER.format(f"s{i.place}"),
        ))  # fmt: skip
    tags = {name: place for place, name in enumerate(["to-read", "favorites", *taste.genres, "maren-oakes"])}
    book_tags = [
        (27000 + i.place, tags[tag], count)
        for i in taste.items
        for tag, count in {"to-read": 60000, "favorites": 9000, **dict.fromkeys(i.genres, 800)}.items()
    ]
    write_delimited(folder / "books.csv", [GOODBOOKS_HEADER, *books])
    ratings = [(c.user + 1, c.item + 1, int(grade(c, (5, 4), 3, (1, 2)))) for c in taste.choices]
    write_delimited(folder / "ratings.csv", [("user_id", "book_id", "rating"), *ratings])
    wanted = [
        (user + 1, 1 + (user + 3 * step * (1 + user % 4)) % len(books)) for user in range(1, 60) for step in (1, 2)
    ]
    write_delimited(folder / "to_read.csv", [("user_id", "book_id"), *dict.fromkeys(wanted)])
    write_delimited(folder / "tags.csv", [("tag_id", "tag_name"), *((n, name) for name, n in tags.items())])
    write_delimited(folder / "book_tags.csv", [("goodreads_book_id", "tag_id", "count"), *book_tags])
    return tell_planted(taste, count_from_one, count_from_one, hubs=("to-read",), linked=("author", "tag"))


def make_book_crossing(folder: Path) -> Planted:
    """Book-Crossing: quotes escaped by backslashes, latin-1, 0 for "read, not rated", one rating in ten of no book."""
    taste = plant_taste(BOOKS, seed=7)

    def write_rows(name: str, rows: list[tuple[object, ...]]) -> None:
        lines = [";".join("NULL" if value is None else '"' + str(value).replace('"', '\\"') + '"' for value in row)
                 for row in rows]  # fmt: skip
        (folder / name).write_bytes("".join(line + "\r\n" for line in lines).encode("latin-1"))

    books: list[tuple[object, ...]] = [
        ("ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher", "Image-URL-S", "Image-URL-M",
         "Image-URL-L"),
    ]  # fmt: skip
    titles = {name_isbn(i.place): f'{i.title}: "A Novel" & More' if i.place % 5 == 0 else i.title for i in taste.items}
    for i in taste.items:
        title = titles[name_isbn(i.place)].replace("&", "&amp;")
        isbn, publisher = name_isbn(i.place), "Simon &amp; Schuster" if i.group else "Ballantine Books"
        year = 0 if i.place % 11 == 0 else i.year
        books.append((isbn, title, i.maker, year, publisher, *(AMAZON_COVER.format(isbn, size) for size in "TML")))
    ratings: list[tuple[object, ...]] = [
        (276700 + c.user, name_isbn(c.item), int(grade(c, (10, 9, 8), 0, (1, 3)))) for c in taste.choices
    ]
    met = {(c.user, c.item) for c in taste.choices}
    unrated = [
        (276700 + user, name_isbn(place), 0)
        for user in range(1, taste.n_users)
        for place in ((user * 11 + step * 5) % len(taste.items) for step in range(4))
        if (user, place) not in met
    ]
    ratings += unrated
    ratings += [(276700 + n % taste.n_users, f"B0000{n:05}", n % 11) for n in range(len(ratings) * 103 // 897)]
    users: list[tuple[object, ...]] = [
        (276700 + user, ("nyc, new york, usa", "münchen, bayern, germany", "stockton, california, usa")[user % 3],
         None if user % 2 else 18 + user % 50)
        for user in range(taste.n_users)
    ]  # fmt: skip
    write_rows("BX-Books.csv", books)
    write_rows("BX-Book-Ratings.csv", [("User-ID", "ISBN", "Book-Rating"), *ratings])
    write_rows("BX-Users.csv", [("User-ID", "Location", "Age"), *users])
    planted = tell_planted(taste, lambda user: str(276700 + user), name_isbn, linked=("author", "publisher"))
    zeros = {(str(user), str(isbn)) for user, isbn, rating in ratings if rating == 0}
    return replace(planted, titles=titles, not_likes=planted.not_likes | zeros)


def make_isbn_keys(folder: Path) -> Planted:
    """Tables that share a column `isbn`, of which one row in twenty names no book."""
    taste = plant_taste(BOOKS, seed=8)
    books = [(name_isbn(i.place), i.title, i.maker, i.about) for i in taste.items]
    reviews = [
        (f"reader{c.user:03}", name_isbn(c.item), int(grade(c, (5, 4), 3, (1, 2))), write_time(c.at, "%Y-%m-%d"))
        for c in taste.choices
    ]
    reviews += [(f"reader{n:03}", f"978{n:010}", 4, "2024-02-03") for n in range(len(reviews) // 20)]
    write_delimited(folder / "catalogue.csv", [("isbn", "title", "author", "blurb"), *books])
    write_delimited(folder / "reviews.csv", [("reader", "isbn", "stars", "date"), *reviews])
    return tell_planted(taste, lambda user: f"reader{user:03}", name_isbn, linked=("author",), timed=True)


def make_lastfm(folder: Path) -> Planted:
    """HetRec's Last.fm: tabs, a header, counts of plays, friends in both directions, tags with dates."""
    taste = plant_taste(MUSIC, seed=9)

    def write_rows(name: str, header: tuple[str, ...], rows: Rows) -> None:
        write_joined(folder / name, [header, *rows], "\t", encoding="latin-1")

    url = "http://www.last.fm/music/{}"
    write_rows("artists.dat", ("id", "name", "url", "pictureURL"), [
        (i.place + 1, i.title, url.format(i.title.replace(" ", "+")), f"http://userserve-ak.last.fm/serve/252/{i.place}.jpg")
        for i in taste.items
    ])  # fmt: skip
    write_rows("user_artists.dat", ("userID", "artistID", "weight"), [
        (c.user + 2, c.item + 1, int(grade(c, (13883, 1300, 640, 352), 9, (1, 4)))) for c in taste.choices
    ])  # fmt: skip
    tags = {name: place + 1 for place, name in enumerate([*taste.genres, "chill"])}
    write_rows("tags.dat", ("tagID", "tagValue"), [(n, name) for name, n in tags.items()])
    tagged = [
        (c.user + 2, c.item + 1, tags[genre], c.at)
        for c in taste.choices
        if c.liked and c.user % 2
        for genre in taste.items[c.item].genres
    ]
    dated = [(*ids, *(int(write_time(at, part)) for part in ("%d", "%m", "%Y"))) for *ids, at in tagged]
    write_rows("user_taggedartists.dat", ("userID", "artistID", "tagID", "day", "month", "year"), dated)
    write_rows("user_taggedartists-timestamps.dat", ("userID", "artistID", "tagID", "timestamp"), [
        (*ids, at // DAY_S * DAY_S * 1000) for *ids, at in tagged
    ])  # fmt: skip
    friends = [(user, (user + step) % taste.n_users) for user in range(taste.n_users) for step in (3, 6)]
    both = sorted({pair for one, other in friends for pair in ((one + 2, other + 2), (other + 2, one + 2))})
    write_rows("user_friends.dat", ("userID", "friendID"), both)
    write_text(
        folder / "readme.txt", "Last.FM\n-------\n\n* artists.dat\n\n  This file contains information about music.\n"
    )
    return tell_planted(
        taste, lambda user: str(user + 2), count_from_one, disliking=False, least_likes=0.4, linked=("tag",)
    )


LAYOUTS = (
    Layout("goodbooks-10k", make_goodbooks, "csv.gz"),
    Layout("book-crossing", make_book_crossing),
    Layout("isbn-keys", make_isbn_keys),
    Layout("hetrec-lastfm", make_lastfm, "tsv"),
)
