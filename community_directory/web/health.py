"""The page Health: the last report of `community-directory doctor`, and a link that sums it up."""

from community_directory.calendar import load_zone
from community_directory.database import CONNECTION_ERRORS
from community_directory.doctor import Report, Verdict, load_last_report
from community_directory.errors import DirectoryError
from community_directory.web.pages import PageContent, Visit

LINK_LABEL = "Health"
VERDICT_LABELS = {
    Verdict.FAILED: "Failed",
    Verdict.WARNING: "Warnings",
    Verdict.NOT_CHECKED: "Not checked",
    Verdict.FIXED: "Fixed",
    Verdict.OK: "In order",
}
"""The words of the verdicts, the worst first."""


async def build_health_page(_: Visit) -> PageContent:
    """Build the page with what the last run found, the worst first."""
    report = await load_last_report()
    results = []
    if report is not None:
        order = list(VERDICT_LABELS)
        results = sorted(report.results, key=lambda result: order.index(result.verdict))
    zone = load_zone(None)
    variables = {
        "report": report,
        "checked_at": report and report.checked_at.astimezone(zone),
        "zone": zone.key,
        "labels": VERDICT_LABELS,
        "results": results,
    }
    return PageContent("health.html", variables)


async def health_link_label() -> str:
    """Return the label of the link to the page, with the number of faults if there are any."""
    try:
        report = await load_last_report()
    except (DirectoryError, *CONNECTION_ERRORS):
        return LINK_LABEL  # the link must not keep the other ones from being shown
    return f"{LINK_LABEL}{_summarize(report)}" if report else LINK_LABEL


def _summarize(report: Report) -> str:
    for verdict, noun in ((Verdict.FAILED, "failed"), (Verdict.WARNING, "to look at")):
        if count := report.count(verdict):
            return f": {count} {noun}"
    return ""
