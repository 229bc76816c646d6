"""Basler cameras through the vendor's pylon, which is the extra ``cameras``."""

from drivers.basler.driver import BaslerCamera

__all__ = ["BaslerCamera"]
