"""`community-directory doctor`: checks of the schema, the data, the panel and the server.

Each invariant is a small `Check`. Checks never change anything. Some of them promise a repair.
"""

from community_directory.doctor.model import Check, Report, Result, Verdict
from community_directory.doctor.run import (
    CHECK_COUNT,
    CHECKS,
    format_json,
    load_last_report,
    make_report,
    run_checks,
    store_report,
)

__all__ = [
    "CHECKS",
    "CHECK_COUNT",
    "Check",
    "Report",
    "Result",
    "Verdict",
    "format_json",
    "load_last_report",
    "make_report",
    "run_checks",
    "store_report",
]
