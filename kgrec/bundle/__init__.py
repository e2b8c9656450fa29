"""A bundle: a trained model with everything that it needs to answer, in memory and on disk."""

from kgrec.bundle.bundle import Bundle, Lineage, load_bundle_encoder
from kgrec.bundle.disk import load_bundle, save_bundle
from kgrec.bundle.folder import check_folder
from kgrec.bundle.serialisation import round_model

__all__ = [
    "Bundle",
    "Lineage",
    "check_folder",
    "load_bundle",
    "load_bundle_encoder",
    "round_model",
    "save_bundle",
]
