"""A plain service with `implicit`, as one writes it in an afternoon; serve.py measures it beside kgrec.

    python implicit_service.py --data ../shared/data/ml-1m --port 8100

ALS with 64 factors and the defaults; a request's user is recalculated from its likes, as implicit's documents show for
users who are not in the model. There are no keys, no limits, no writes, no metrics and no log lines.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import uvicorn
from fastapi import FastAPI
from implicit.als import AlternatingLeastSquares
from pydantic import BaseModel
from scipy.sparse import csr_matrix

LEAST_RATING = 4


class Asked(BaseModel):
    """A request."""

    likes: list[str]
    k: int = 10


class Scored(BaseModel):
    """One item of the answer."""

    item: str
    score: float


class Answered(BaseModel):
    """The answer."""

    items: list[Scored]


def make_app(directory: Path) -> FastAPI:
    """Fits the model, and makes the application."""
    ratings = pq.read_table(directory / "ratings.parquet")
    likes = ratings.filter(pc.greater_equal(ratings["rating"], LEAST_RATING))
    users, user_rows = np.unique(likes["user"].to_numpy(), return_inverse=True)
    ids, item_rows = np.unique(ratings["item"].to_numpy(), return_inverse=True)
    item_rows = item_rows[np.asarray(ratings["rating"].to_numpy() >= LEAST_RATING)]
    shape = (len(users), len(ids))
    matrix = csr_matrix((np.ones(len(user_rows), np.float32), (user_rows, item_rows)), shape=shape)
    model = AlternatingLeastSquares(factors=64, random_state=0, num_threads=1)
    model.fit(matrix, show_progress=False)
    names = [str(id_) for id_ in ids]
    rows = {name: row for row, name in enumerate(names)}
    app = FastAPI()

    @app.post("/recommend")
    def recommend(asked: Asked) -> Answered:
        liked = [rows[item] for item in asked.likes if item in rows]
        user = csr_matrix((np.ones(len(liked), np.float32), ([0] * len(liked), liked)), shape=(1, len(names)))
        found, scores = model.recommend(0, user, N=asked.k, recalculate_user=True, filter_already_liked_items=True)
        items = zip(found.tolist(), scores.tolist(), strict=True)
        return Answered(items=[Scored(item=names[row], score=score) for row, score in items])

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "alive"}

    return app


def main() -> None:
    """Serves it with one process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8100)
    arguments = parser.parse_args()
    uvicorn.run(make_app(arguments.data), port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
