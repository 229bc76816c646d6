"""The report of a tile module: for the screen as HTML, for paper as PDF."""

from station.report.content import collect
from station.report.files import ReportFiles, write_report
from station.report.model import ModuleReport, ReportError

__all__ = ["ModuleReport", "ReportError", "ReportFiles", "collect", "write_report"]
