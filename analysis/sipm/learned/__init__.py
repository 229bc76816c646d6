"""Gain from a light-on and a light-off histogram by a small network trained on simulated pairs."""
