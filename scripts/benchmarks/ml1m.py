"""Reads MovieLens 1M with plots and a knowledge graph from a folder of Parquet files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graph_schema import SOURCE, TARGET, CatalogueSchema, GraphTables
from graph_schema.checks.staging import build_tables
from kgrec import cache_dir
from kgrec.text.encoder import load_encoder
from kgrec.training.dataset import CatalogueGraph, build_graph

DEFAULT_DIR = Path(__file__).parents[3] / "shared" / "data" / "ml-1m"
SCHEMA_PATH = Path(__file__).with_name("ml1m.toml")
RELATIONS = {
    "genre": "has_genre",
    "decade": "from_decade",
    "rated": "has_age_rating",
    "actor": "has_actor",
    "director": "directed_by",
    "writer": "written_by",
    "producer": "produced_by",
    "musicComposer": "composed_by",
    "cinematography": "shot_by",
    "editing": "edited_by",
    "distributor": "distributed_by",
}  # relation in kg.parquet -> edge type


def read_ml1m(directory: Path = DEFAULT_DIR) -> GraphTables:
    """Reads ratings, movies, users and the knowledge graph."""
    schema = CatalogueSchema.from_toml(SCHEMA_PATH)
    movies, users = (pq.read_table(directory / f"{name}.parquet") for name in ("movies", "users"))
    ratings, links = (pq.read_table(directory / f"{name}.parquet") for name in ("ratings", "kg"))
    nodes = {
        "movie": pa.table(
            {
                "movie_id": movies["item"].cast(pa.string()),
                "title": movies["title"].cast(pa.string()),
                "genres": pc.replace_substring(movies["genres"].cast(pa.string()), "|", ", "),
                "plot": movies["plot"].cast(pa.string()),
            }
        ),
        "user": pa.table({"user_id": users["user"].cast(pa.string())}),
    }
    edges = {
        "rated": pa.table(
            {
                SOURCE: ratings["user"].cast(pa.string()),
                TARGET: ratings["item"].cast(pa.string()),
                "rating": ratings["rating"].cast(pa.float64()),
            }
        )
    }
    for relation, edge_type in RELATIONS.items():
        found = links.filter(pc.field("relation") == relation)
        edges[edge_type] = pa.table(
            {SOURCE: found["item"].cast(pa.string()), TARGET: found["entity"].cast(pa.string())}
        )
    for node_type, node in schema.nodes.items():
        if node_type not in nodes:
            ends = [edges[name][TARGET] for name, edge in schema.graph_edges.items() if edge.target == node_type]
            names = pc.unique(pa.chunked_array([chunk for end in ends for chunk in end.chunks], pa.string()))
            nodes[node_type] = pa.table({node.key: names})
    return build_tables(schema, nodes, edges)


def build_ml1m(directory: Path = DEFAULT_DIR, adapter: Path | None = None) -> CatalogueGraph:
    """Builds the heterograph; text vectors come from the user's cache if it has them."""
    return build_graph(read_ml1m(directory), load_encoder(adapter=adapter), cache_dir())
