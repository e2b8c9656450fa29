"""Recommendations over HTTP: `kgrec serve`."""
