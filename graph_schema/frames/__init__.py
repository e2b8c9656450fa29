"""Catalogues from pandas DataFrames."""
