"""The command line: thin commands over the library; every error is one message and exit code 2."""

# `kgrec --help` lists the commands in this order
from kgrec.cli import (  # isort: skip
    load_command,  # noqa: F401
    inspect_command,  # noqa: F401
    preview_command,  # noqa: F401
    validate_command,  # noqa: F401
    adapt_command,  # noqa: F401
    training_commands,  # noqa: F401
    tune_command,  # noqa: F401
    ablate_command,  # noqa: F401
    answer_commands,  # noqa: F401
    generate_commands,  # noqa: F401
    encode_command,  # noqa: F401
    publish_command,  # noqa: F401
    export_command,  # noqa: F401
    watch_command,  # noqa: F401
    serve_command,  # noqa: F401
    keys_command,  # noqa: F401
)
from kgrec.cli.app import app, main, run_guarded

__all__ = ["app", "main", "run_guarded"]
