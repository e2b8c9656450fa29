"""The command that encodes texts to a file: encode."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.inputs import read_settings
from kgrec.cli.options import AdapterFolder, ConfigFile, EncoderBackend
from kgrec.cli.terminal import make_total_counter, say, show_progress


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet, or CSV in UTF-8 with a header.")],
    column: Annotated[str, typer.Option("--column", metavar="NAME", help="The column of texts.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.npy", help="Float32, a row for each row of FILE.")],
    config: ConfigFile = None,
    adapter: AdapterFolder = None,
    backend: EncoderBackend = None,
) -> None:
    """Encodes a column of texts to vectors in a .npy file; the same command goes on where it was interrupted."""
    from kgrec import cache_dir
    from kgrec.text.array_file import encode_to_file
    from kgrec.text.encoder import load_config_encoder

    settings = read_settings(config, None, adapter=adapter, backend=backend)
    encoder = load_config_encoder(settings)
    with show_progress() as progress:
        counter = make_total_counter(progress, "encoding texts")
        try:
            n_blank = encode_to_file(encoder, source, column, out, cache_dir(), counter)
        except BaseException:
            if out.with_name(f"{out.name}.part").exists():
                say("texts that are encoded are kept: the same command goes on from there")
            raise
    say(f"vectors written to {out}" + (f"; {n_blank:,} rows without a text are 0" if n_blank else ""))
