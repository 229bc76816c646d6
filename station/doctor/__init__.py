"""The doctor: which instruments of a line answer, which are what they should be, what is wrong.

`examine` compares a profile with what is there. `scan` asks what is connected when there is no
profile yet, and `draft` writes the beginning of one. Nothing here moves, switches or sets anything.
"""

from station.doctor.drafting import draft
from station.doctor.finding import Finding
from station.doctor.line import examine
from station.doctor.ports import Found, Places, scan

__all__ = ["Finding", "Found", "Places", "draft", "examine", "scan"]
