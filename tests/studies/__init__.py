"""Slow studies of precision, coverage and limits, run by `make study`."""
