"""Pixels in, findings in millimetres out."""
