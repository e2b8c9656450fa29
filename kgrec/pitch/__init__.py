"""Pitches: one or two sentences per recommended item, from facts that are true for its user and from nothing else."""

from kgrec.pitch.composition import Pitches, compose_pitches, read_pitches
from kgrec.pitch.facts import Fact, Facts
from kgrec.pitch.language_files import load_language
from kgrec.pitch.rewrite_check import find_fault
from kgrec.pitch.rewriting import LanguageModelWriter, Writer

__all__ = [
    "Fact",
    "Facts",
    "LanguageModelWriter",
    "Pitches",
    "Writer",
    "compose_pitches",
    "find_fault",
    "load_language",
    "read_pitches",
]
