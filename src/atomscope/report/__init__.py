"""The report: one HTML file that opens without a network."""

from atomscope.report.page import write_report

report = write_report

__all__ = ["report", "write_report"]
