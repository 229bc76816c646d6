"""The report of a tile module: for the screen as HTML, for paper as PDF."""

from station.report.content import ModuleReport, ReportError, collect
from station.report.files import ReportFiles, write_report

__all__ = ["ModuleReport", "ReportError", "ReportFiles", "collect", "write_report"]
