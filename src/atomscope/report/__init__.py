"""The report: one HTML file that opens without a network."""

from atomscope.report.page import host_of, write_report

report = write_report

__all__ = ["host_of", "report", "write_report"]
