"""From nothing to recommendations on MovieLens 100K: load, train, then ask for four kinds of users."""

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
    print("\n--- somebody with three likes: Toy Story, Aladdin, The Lion King")
    run("recommend", BUNDLE, "--like", "1", "--like", "95", "--like", "71", "-k", "5", "--explain")
    print("\n--- somebody who says what they want")
    run("recommend", BUNDLE, "--text", "an animated film for children", "-k", "5", "--explain")
    print("\n--- a film added a second ago, for somebody who likes Toy Story and Aladdin")
    add_and_recommend()
    print(f"\nDone in {time.perf_counter() - started:.0f} s. The store is {STORE}, the bundle {BUNDLE}.")


def add_and_recommend() -> None:
    from kgrec import Recommender

    recommender = Recommender.load(BUNDLE)
    genres = ("Animation", "Children's", "Comedy")
    recommender.add_item(
        "new-1",
        name="Toys in Space",
        text=f"Toys in Space. {', '.join(genres)}",
        links=[("has_genre", genre) for genre in genres],
    )
    for found in recommender.recommend(likes=["1", "95"], k=10, explain=True):
        mark = "  <- the new one" if found.item == "new-1" else ""
        print(f"{found.rank:>3}  {found.title}: {found.reason}{mark}")


if __name__ == "__main__":
    run_guarded(main)
