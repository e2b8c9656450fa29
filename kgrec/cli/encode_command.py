"""The encode command."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import read_settings
from kgrec.cli.options import AdapterFolder, ConfigFile, EncoderBackend
from kgrec.terminal import count_of, make_total_counter, say, show_progress


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Parquet, or CSV in UTF-8 with a header.")],
    column: Annotated[str, typer.Option("--column", metavar="NAME", help="The column with the texts.")],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE.npy", help="The file to write to: float32, a row for each row of FILE."),
    ],
    config: ConfigFile = None,
    adapter: AdapterFolder = None,
    backend: EncoderBackend = None,
) -> None:
    """Encodes a column of texts to a .npy file of vectors.

    Run the same command again to continue an interrupted run.
    """
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
                say("the encoded texts are kept; run the same command again to continue")
            raise
    say(f"vectors written to {out}" + (f"; {count_of(n_blank, 'row')} without a text: zeros" if n_blank else ""))
