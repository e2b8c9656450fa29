"""Kills a service of two processes under writes, again and again, and counts what was acknowledged and what is lost.

    python scripts/benchmarks/serve_faults.py --bundle runs/ml-1m

A missing bundle is trained first. Each kill is SIGKILL for all processes of the service at a random moment.
"""

import argparse
import json
import random
import tempfile
import threading
import time
from http import HTTPStatus
from pathlib import Path

import httpx
from ml1m import DEFAULT_DIR, build_ml1m
from rich.console import Console
from serve import Running, serve

from kgrec.bundle import load_bundle, save_bundle
from kgrec.bundle.folder import MANIFEST
from kgrec.config import TrainConfig
from kgrec.training.train_bundle import fit_bundle

N_KILLS, N_WRITERS, PORT = 50, 4, 8320
LEAST_S, MOST_S = 0.2, 1.5  # of writes before a kill
BLOCK = 2_000  # users in one check


def write(running: Running, name: str, items: list[str], acknowledged: list[str]) -> None:
    """Writes until the service is gone; keeps whom an answer acknowledged."""
    with running.client() as client:
        for number in range(10**6):
            user = f"{name}-{number}"
            like = {"user": user, "item": items[number % len(items)], "weight": 5}
            try:
                answer = client.post("/interactions", json={"interactions": [like]})
            except httpx.TransportError:
                return
            if answer.status_code != HTTPStatus.OK:
                raise SystemExit(f"a write was refused: {answer.status_code} {answer.text}")
            acknowledged.append(user)


def find_lost(running: Running, users: list[str]) -> list[str]:
    """Those of some users whom the service does not know."""
    lost = []
    with running.client() as client:
        for first in range(0, len(users), BLOCK):
            block = users[first : first + BLOCK]
            lines = "\n".join(json.dumps({"user": user, "k": 1}) for user in block)
            answer = client.post("/recommend/batch", content=lines, headers={"Content-Type": "application/x-ndjson"})
            found = [json.loads(line) for line in answer.text.splitlines()]
            lost += [user for user, each in zip(block, found, strict=True) if not each.get("items")]
    return lost


def main() -> None:
    """Kills it, and prints what is lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="a bundle of MovieLens 1M; trained if it is missing")
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR, help="the folder of MovieLens 1M")
    parser.add_argument("--kills", type=int, default=N_KILLS)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    console, draw = Console(), random.Random(0)
    acknowledged: list[str] = []
    lost: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        bundle = arguments.bundle or Path(name) / "trained"
        if not (bundle / MANIFEST).exists():
            save_bundle(fit_bundle(build_ml1m(arguments.data), TrainConfig(), int(time.time()), console.print), bundle)
        items = list(load_bundle(bundle).items.ids)
        for kill in range(arguments.kills + 1):
            with serve(bundle, Path(name) / "service", PORT, arguments.workers) as running:
                new = acknowledged if kill == arguments.kills else acknowledged[-BLOCK:]
                lost |= set(find_lost(running, new))
                if kill == arguments.kills:
                    break
                writers = [
                    threading.Thread(target=write, args=(running, f"k{kill}-{number}", items, acknowledged))
                    for number in range(N_WRITERS)
                ]
                for writer in writers:
                    writer.start()
                time.sleep(draw.uniform(LEAST_S, MOST_S))
                running.kill()
                for writer in writers:
                    writer.join()
            so_far = f"{len(acknowledged):,} acknowledged, {len(lost)} lost"
            console.print(f"kill {kill + 1}: {so_far}, ready in {running.ready_s:.1f} s")
    console.print(f"{arguments.kills} kills: {len(acknowledged):,} writes acknowledged, {len(lost)} lost")
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()
