"""Reports: one HTML page that holds its data, style and program, and asks the network for nothing."""

from relrep_cli.reports.clouds import Space, spaces_of
from relrep_cli.reports.file_facts import file_facts
from relrep_cli.reports.grids import Cell, Grid
from relrep_cli.reports.page import Report, is_report, page

__all__ = ["Cell", "Grid", "Report", "Space", "file_facts", "is_report", "page", "spaces_of"]
