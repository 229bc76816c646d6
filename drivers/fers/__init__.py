"""CAEN FERS-5200 boards (DT5202, A5202): the configuration and list files of their software."""

from drivers.fers.config import FersConfig, Setting
from drivers.fers.list_file import FersRun, read_list
from drivers.fers.protocol import FersFileError

__all__ = ["FersConfig", "FersFileError", "FersRun", "Setting", "read_list"]
