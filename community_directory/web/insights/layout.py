"""What all pages of Insights share: their routes, the choice of a period, links, and CSV files."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from community_directory.calendar import load_zone
from community_directory.database.pool import replanned
from community_directory.error_texts import gettext_noop
from community_directory.imports.csv_file import BYTE_ORDER_MARK, format_rows
from community_directory.web.health import health_label
from community_directory.web.insights.period import (
    PERIOD_LABELS,
    Period,
    find_yesterday,
    read_period,
)
from community_directory.web.pages import FormRefused, PageContent, Pages, Visit

INSIGHTS_PATH = "/insights/"
"""The path of the first page; those of the others begin with it."""
PAGE_LABELS = {
    "overview": gettext_noop("Overview"),
    "growth": gettext_noop("Growth"),
    "retention": gettext_noop("Retention"),
    "funnel": gettext_noop("Funnel"),
    "attention": gettext_noop("Attention"),
    "inviters": gettext_noop("Inviters"),
    "contributions": gettext_noop("Contributions"),
    "rooms": gettext_noop("Rooms"),
    "network": gettext_noop("Network"),
}
"""The pages in the order of their navigation."""

PERIOD_PARAMETERS = ("period", "from", "to")


class ChartTable(NamedTuple):
    """The data of a chart as a table, for a CSV file.

    Attributes:
        columns: The names of the columns, such as "joined_month": they are not translated, so that
            programs can rely on them.
        rows: The values, in the order of the columns; None is an empty cell.
    """

    columns: Sequence[str]
    rows: Iterable[Sequence[object]]


LoadChart = Callable[[Visit, Period], Awaitable[ChartTable]]
"""A function that loads the data of a chart for the period and the parameters of an address."""
BuildPage = Callable[[Visit, Period], Awaitable[Mapping[str, object]]]
"""A function that returns the variables of a page's template."""


@dataclass(frozen=True)
class InsightsPage:
    """A page of Insights.

    Attributes:
        name: One of the `PAGE_LABELS`. The template is `insights_<name>.html`.
        build: Makes the variables of the template.
        charts: The charts by name, each of which has a CSV file `<name>.csv` beside the page.
        default_period: The period of an address without one.
    """

    name: str
    build: BuildPage
    charts: Mapping[str, LoadChart] = field(default_factory=dict)
    default_period: str = "28"

    @property
    def path(self) -> str:
        """The path of the page."""
        return find_page_path(self.name)

    def routes(self, pages: Pages) -> list[Route]:
        """Return the routes of the page and of its CSV files."""
        return [
            Route(self.path, pages.page(self._build_page)),
            *(
                Route(f"{self.path}{name}.csv", pages.page(self._make_csv_builder(name)))
                for name in self.charts
            ),
        ]

    async def _build_page(self, visit: Visit) -> PageContent:
        shared = {
            "page_name": self.name,
            "page_labels": PAGE_LABELS,
            "page_path": find_page_path,
            "period": None,
            "period_labels": PERIOD_LABELS,
            "period_query": "",
            "yesterday": find_yesterday(),
            "kept": _list_kept_parameters(visit),
            "query": lambda **changes: make_query(visit, **changes),
            "to_people": to_people,
            "zone": load_zone(None).key,
            "health": await health_label(visit),
        }
        try:
            period = await read_period(visit, self.default_period)
        except FormRefused as error:
            visit.problem = visit.explain(error)
            return PageContent("insights_layout.html", shared, 422)
        # Each page has a default of its own, so only a period of the address is kept.
        if _asks_for_period(visit):
            shared["period_query"] = f"?{urlencode(period.query)}"
        with replanned():
            variables = await self.build(visit, period)
        status = 422 if visit.problem else 200
        variables = {**shared, "period": period, **variables}
        return PageContent(f"insights_{self.name}.html", variables, status)

    def _make_csv_builder(self, name: str) -> Callable[[Visit], Awaitable[Response]]:
        async def build(visit: Visit) -> Response:
            period = await read_period(visit, self.default_period)
            with replanned():
                table = await self.charts[name](visit, period)
            text = BYTE_ORDER_MARK + format_rows([table.columns, *table.rows])
            filename = f"{self.name}-{name}-{period.since}-{period.until}.csv"
            disposition = f'attachment; filename="{filename}"'
            return Response(
                text,
                media_type="text/csv",
                headers={"Content-Disposition": disposition, "Cache-Control": "no-store"},
            )

        return build


def find_page_path(name: str) -> str:
    """Return the path of a page of Insights."""
    return INSIGHTS_PATH if name == "overview" else f"{INSIGHTS_PATH}{name}/"


def read_parameters(visit: Visit) -> dict[str, str]:
    """Return the parameters of the address.

    A form has a parameter `inviter` for each ticked box: they become one, with commas.
    """
    inviters = ",".join(filter(None, visit.query.getlist("inviter")))
    return {**visit.query, **({"inviter": inviters} if inviters else {})}


def make_query(visit: Visit, **changes: str | None) -> str:
    """Return the query of the address with some parameters changed; None leaves one out.

    A "from" is written as `from_`, because Python has the word for itself.
    """
    asked = {name.rstrip("_"): value for name, value in changes.items()}
    parameters = {**read_parameters(visit), **asked}
    return urlencode({name: value for name, value in parameters.items() if value})


def to_people(**filters: object) -> str:
    """Return the address of the page People with these filters; None leaves one out."""
    return _make_address("/people/", filters)


def to_invitations(**filters: object) -> str:
    """Return the address of the page Invitations with these filters; None leaves one out."""
    return _make_address("/invitations/", filters)


def _make_address(path: str, filters: Mapping[str, object]) -> str:
    shown = {
        name: value.isoformat() if isinstance(value, date) else str(value)
        for name, value in filters.items()
        if value is not None
    }
    return f"{path}?{urlencode(shown)}"


def _asks_for_period(visit: Visit) -> bool:
    return any(visit.query.get(name) for name in PERIOD_PARAMETERS)


def _list_kept_parameters(visit: Visit) -> list[tuple[str, str]]:
    """Return the parameters of the address that stay when another period is chosen."""
    parameters = read_parameters(visit)
    return [(name, value) for name, value in parameters.items() if name not in PERIOD_PARAMETERS]
