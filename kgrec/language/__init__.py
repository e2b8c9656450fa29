"""Local causal language models: they rank titles by likelihood, write titles of the catalogue, or answer freely."""

from kgrec.language.local_model import LocalLanguageModel

__all__ = ["LocalLanguageModel"]
