"""The page Health: the last report of `community-directory doctor`, and a link that sums it up."""

from starlette.routing import Route

from community_directory.database import CONNECTION_ERRORS
from community_directory.doctor import Report, Verdict, load_last_report
from community_directory.errors import DirectoryError
from community_directory.web.pages import PageContent, Pages, Visit


def routes(pages: Pages) -> list[Route]:
    """Return the route of the page."""
    return [Route("/health/", pages.page(_build_page))]


async def health_label(visit: Visit) -> str:
    """Return the label of a link to the page, with the number of faults if there are any."""
    try:
        report = await load_last_report()
    except (DirectoryError, *CONNECTION_ERRORS):
        report = None  # the link must not keep its page from being shown
    return _summarize(visit, report)


async def _build_page(visit: Visit) -> PageContent:
    """Build the page with what the last run found, the worst first."""
    report = await load_last_report()
    variables = {
        "report": report,
        "health": _summarize(visit, report),
        "labels": _label_verdicts(visit),
        "results": report.results if report else [],
    }
    return PageContent("health.html", variables)


def _label_verdicts(visit: Visit) -> dict[Verdict, str]:
    """Return the words of the verdicts, the worst first."""
    return {
        Verdict.FAILED: visit.gettext("Failed"),
        Verdict.WARNING: visit.gettext("Warnings"),
        Verdict.NOT_CHECKED: visit.gettext("Not checked"),
        Verdict.FIXED: visit.gettext("Fixed"),
        Verdict.OK: visit.gettext("In order"),
    }


def _summarize(visit: Visit, report: Report | None) -> str:
    if report and (failed := report.count(Verdict.FAILED)):
        return visit.gettext("Health: {number} failed", number=failed)
    if report and (warnings := report.count(Verdict.WARNING)):
        return visit.gettext("Health: {number} to look at", number=warnings)
    return visit.gettext("Health")
