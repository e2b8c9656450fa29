"""Compares kgrec with and without the gender, age and occupation of users on MovieLens 1M.

    python scripts/benchmarks/user_attributes.py --seeds 1 2 3

Gender and age are sensitive attributes, named as features here to measure what they are worth. Age is a number: the
data set has the lower end of each band of ages. The seed draws the split, the default one: a tenth of the users is held
out whole, and 0, 1, 3, 5 or 10 of their likes are known; the known users' slices show what is lost there, if anything.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ml1m import DEFAULT_DIR, read_ml1m
from with_and_without import WITH, WITHOUT, Run, compare, parse_options, print_runs, run_seeds, sum_up, write_runs

from graph_schema import CatalogueSchema, GraphTables
from kgrec import cache_dir
from kgrec.config import SplitConfig
from kgrec.questions.splits import read_likes, split_likes
from kgrec.text.encoder import load_encoder
from kgrec.training.dataset import build_graph

ATTRIBUTES = {
    "gender": {"type": "string", "feature": True, "sensitive": True},
    "age": {"type": "int", "feature": True, "sensitive": True},
    "occupation": {"type": "string", "feature": True},
}
SLICES = ("warm", "cold_items", *(f"cold_users_k{size}" for size in SplitConfig().support_sizes))


def add_attributes(tables: GraphTables, directory: Path) -> GraphTables:
    """Adds the users' attributes to the catalogue."""
    described = tables.schema.model_dump(mode="json", exclude_unset=True)
    described["nodes"]["user"]["attributes"] = ATTRIBUTES
    schema = CatalogueSchema.model_validate(described)
    found = pq.read_table(directory / "users.parquet")
    columns = {"user_id": found["user"].cast(pa.string()), **{name: found[name] for name in ATTRIBUTES}}
    users = pa.table(columns).cast(schema.nodes["user"].arrow_schema)
    return GraphTables(schema, {**tables.nodes, "user": users}, tables.edges)


def measure(seed: int, directory: Path) -> Run:
    """Splits by a seed, trains with and without the attributes, and evaluates both."""
    tables, encoder = read_ml1m(directory), load_encoder()
    graphs = {WITH: add_attributes(tables, directory), WITHOUT: tables}
    built = {name: build_graph(one, encoder, cache_dir()) for name, one in graphs.items()}
    likes = read_likes(built[WITHOUT].data, tables.schema)
    split = split_likes(likes, SplitConfig(), np.random.default_rng(seed))
    slices = [split.slices[name] for name in SLICES]
    return {"seed": seed, **sum_up(*compare(built, split.train, slices, seed))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=DEFAULT_DIR, help="the folder of ml-1m")
    options = parse_options(parser)
    runs = run_seeds(partial(measure, directory=options.path), options.seeds)
    print_runs(f"ml-1m with gender, age and occupation, seeds {options.seeds}", runs)
    write_runs(runs, options.out)


if __name__ == "__main__":
    main()
