"""Estimates with errors from spectra, currents and hits. A library: it knows no other room."""
