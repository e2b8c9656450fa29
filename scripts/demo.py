"""From an empty store to recommendations on MovieLens 100K: loads, trains, and recommends to four kinds of users."""

import shlex
import time
from pathlib import Path

from kgrec.cli import app, run_guarded

RUNS = Path("runs")
STORE, BUNDLE = f"ladybug:{RUNS / 'movielens.db'}", str(RUNS / "movielens")


def run(*arguments: str) -> None:
    print(f"\n$ kgrec {shlex.join(arguments)}", flush=True)
    app(arguments, standalone_mode=False)


def main() -> None:
    started = time.perf_counter()
    run("load", "movielens-100k", "--to", STORE)
    run("train", STORE, "--out", BUNDLE)
    print("\n--- a known user")
    run("recommend", BUNDLE, "--user", "196", "-k", "5", "--explain")
    print("\n--- a new user with three likes: Toy Story, Aladdin, The Lion King")
    run("recommend", BUNDLE, "--like", "1", "--like", "95", "--like", "71", "-k", "5", "--explain")
    print("\n--- a new user with a sentence")
    run("recommend", BUNDLE, "--text", "an animated film for children", "-k", "5", "--explain")
    print("\n--- three films added just now, ranked for a user who likes Toy Story and Aladdin")
    add_and_recommend()
    print(f"\nDone in {time.perf_counter() - started:.0f} s. The store is {STORE}, the bundle {BUNDLE}.")


def add_and_recommend() -> None:
    from kgrec import Recommender

    recommender = Recommender.load(BUNDLE)
    new = {
        "Night in the Trenches": ("Drama", "War"),
        "Toys in Space": ("Animation", "Children's", "Comedy"),
        "The Cellar Door": ("Horror", "Thriller"),
    }
    for title, genres in new.items():
        links = [("has_genre", genre) for genre in genres]
        recommender.add_item(title, name=title, text=f"{title}. {', '.join(genres)}", links=links)
    for found in recommender.recommend(likes=["1", "95"], candidates=new, k=3, explain=True):
        print(f"{found.rank:>3}  {found.title}: {found.reason}")
    everywhere = recommender.recommend(text="an animated comedy for children", k=100).ids
    if "Toys in Space" in everywhere:
        place = everywhere.index("Toys in Space") + 1
        print(f'Among all films, for "an animated comedy for children", Toys in Space is number {place}.')


if __name__ == "__main__":
    run_guarded(main)
