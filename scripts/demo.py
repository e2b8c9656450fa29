"""From nothing to recommendations on MovieLens 100K: load, train, then ask for four kinds of users."""

import subprocess
import sys
import time
from pathlib import Path

from kgrec import Recommender

RUNS = Path("runs")
STORE, BUNDLE = f"ladybug:{RUNS / 'movielens.db'}", RUNS / "movielens"
KGREC = Path(sys.executable).with_name("kgrec")


def run(*arguments: str) -> None:
    print(f"\n$ kgrec {' '.join(a if ' ' not in a else repr(a) for a in arguments)}", flush=True)
    subprocess.run([KGREC, *arguments], check=True)


def main() -> None:
    started = time.perf_counter()
    run("load", "movielens-100k", "--to", STORE)
    run("train", STORE, "--out", str(BUNDLE))
    print("\nA known user")
    run("recommend", str(BUNDLE), "--user", "196", "-k", "5", "--explain")
    print("\nSomebody with three likes: Toy Story, Aladdin, The Lion King")
    run("recommend", str(BUNDLE), "--like", "1", "--like", "95", "--like", "71", "-k", "5", "--explain")
    print("\nSomebody who says what they want")
    run("recommend", str(BUNDLE), "--text", "an animated film for children", "-k", "5", "--explain")
    print("\nA film added a second ago, for somebody who likes Toy Story and Aladdin")
    recommender = Recommender.load(BUNDLE)
    # m.024lt6 is the composer and songwriter of Toy Story in the graph.
    recommender.add_item(
        "new-1",
        name="Toys in Space",
        text="Toys in Space. Animation, Children's, Comedy",
        links=[("has_genre", "Animation"), ("has_genre", "Children's"), ("has_genre", "Comedy")],
    )
    for found in recommender.recommend(likes=["1", "95"], k=5, explain=True):
        print(f"{found.rank:>3}  {found.item:>6}  {found.title}: {found.reason}")
    print(f"\nDone in {time.perf_counter() - started:.0f} s. The bundle is {BUNDLE}, the store {STORE}.")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
