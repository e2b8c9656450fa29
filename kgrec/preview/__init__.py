"""Shows a catalogue as the model would read it, before anything is loaded or trained: `read_first`, `make_preview`."""

from kgrec.preview.first_rows import FirstRows, read_first, stage_first
from kgrec.preview.summary import Preview, make_preview

__all__ = ["FirstRows", "Preview", "make_preview", "read_first", "stage_first"]
