"""Commissioning: what a new or changed line is measured with, and how its profile learns of it."""
