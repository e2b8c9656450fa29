"""Compares kgrec with and without attributes of films on ml-latest-small.

    python scripts/benchmarks/item_attributes.py --seeds 1 2 3
    python scripts/benchmarks/item_attributes.py --parts temporal

The attributes are the year (from the title), the number of genres, and the tags as a list; genres are links in both
cases, as they are in the other benchmarks. New films have no tags, because their users' tags are held out with their
ratings. The splits are fixed; the seed is that of the training.
"""

import argparse
from functools import partial

from catalogues import read_small
from with_and_without import WITH, WITHOUT, Run, compare, parse_options, print_runs, run_seeds, sum_up, write_runs

PARTS = ("cold_items", "temporal")


def measure(seed: int, part: str) -> Run:
    """Trains with and without the attributes, and evaluates both."""
    splits = {name: read_small(part, attributes=name == WITH) for name in (WITH, WITHOUT)}
    graphs = {name: split.graph for name, split in splits.items()}
    asked = splits[WITHOUT]
    return {"part": part, "seed": seed, **sum_up(*compare(graphs, asked.train, asked.slices, seed))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parse_options(parser)
    runs = []
    for part in options.parts:
        found = run_seeds(partial(measure, part=part), options.seeds)
        print_runs(f"ml-latest-small/{part} with year, number of genres and tags, seeds {options.seeds}", found)
        runs += found
        write_runs(runs, options.out)


if __name__ == "__main__":
    main()
