"""Loads the README's bookshop, trains on it, recommends and encodes: does kgrec work on this system?"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
COMMANDS = (
    ("load", "tabular", "--path", "shop", "--schema", "books.toml", "--to", "ladybug:shop.db"),
    ("train", "ladybug:shop.db", "--out", "shop.kgrec"),
    ("recommend", "shop.kgrec", "--user", "reader-7", "--explain"),
    ("recommend", "shop.kgrec", "--text", "a clever detective finds a clue", "-k", "5"),
    ("encode", "shop/book.csv", "--column", "blurb", "--out", "blurbs.npy"),
)


def main() -> None:
    """Runs the commands in a temporary folder; the first that fails ends this with its exit code."""
    text = README.read_text(encoding="utf-8")
    schema, shop = (re.search(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S) for kind in ("toml", "python"))
    assert schema is not None, "README.md has no TOML block with the bookshop's schema"
    assert shop is not None, "README.md has no Python block that writes the bookshop"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder, "books.toml").write_text(schema[1], encoding="utf-8")
        for command in (("-c", shop[1]), *(("-m", "kgrec.cli", *command) for command in COMMANDS)):
            print("python", *(part if "\n" not in part else "..." for part in command), flush=True)
            done = subprocess.run([sys.executable, *command], cwd=folder, check=False)
            if done.returncode:
                sys.exit(done.returncode)
        assert Path(folder, "blurbs.npy").stat().st_size > 0


if __name__ == "__main__":
    main()
