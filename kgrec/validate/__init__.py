"""What is wrong with a catalogue's data: `validate_store`, and the report of what it found."""

from kgrec.validate.checks import validate_tables
from kgrec.validate.findings import CHECKS, Example, Finding, Severity, Validation
from kgrec.validate.report import print_validation, to_json
from kgrec.validate.store import validate_store

__all__ = [
    "CHECKS",
    "Example",
    "Finding",
    "Severity",
    "Validation",
    "print_validation",
    "to_json",
    "validate_store",
    "validate_tables",
]
