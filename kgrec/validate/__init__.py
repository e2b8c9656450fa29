"""Finds problems in a catalogue's data: `validate_store`, and the report of its findings."""

from kgrec.validate.checks import validate_tables
from kgrec.validate.findings import CHECKS, Example, Finding, Severity, Validation
from kgrec.validate.stored_catalogue import validate_store
from kgrec.validate.validation_report import print_validation, to_json

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
