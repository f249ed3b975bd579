"""The page Health, and the link to it that says how many faults there are."""

import asyncpg
import httpx
import pytest

from community_directory import doctor
from community_directory.doctor import Result, Verdict


def make_result(verdict: Verdict, **values: object) -> Result:
    fields: dict[str, object] = {
        "id": f"check_{verdict}",
        "group": "Data",
        "count": 0,
        "message": f"A check that is {verdict}.",
        "next_step": None,
        "examples": [],
        "milliseconds": 1,
    }
    return Result(verdict=verdict, **{**fields, **values})  # type: ignore[arg-type]


FAILED = make_result(
    Verdict.FAILED,
    message="Faults: 7.",
    count=7,
    examples=["#1 <b>", "#2"],
    next_step="Do something.",
)


async def store(*results: Result) -> None:
    await doctor.store_report(await doctor.make_report(results, checked_by="eva"))


async def label(client: httpx.AsyncClient) -> str:
    """Return the label of the link to the page that Insights has."""
    html = (await client.get("/insights/")).text
    return html.partition('<a href="/health/">')[2].partition("</a>")[0]


async def test_before_the_first_run_the_page_says_how_to_run_it(client: httpx.AsyncClient) -> None:
    response = await client.get("/health/")
    assert response.status_code == 200
    assert "Nothing was checked so far." in response.text
    assert await label(client) == "Health"


async def test_the_page_shows_the_last_report_with_the_worst_first(
    client: httpx.AsyncClient,
) -> None:
    others = [make_result(verdict) for verdict in Verdict if verdict is not Verdict.FAILED]
    await store(*others, FAILED)
    html = (await client.get("/health/")).text
    assert "by eva" in html
    for shown in ("Faults: 7.", "<code>#1 &lt;b&gt;</code>", "And 5 more.", "Do something."):
        assert shown in html
    places = [html.index(f"A check that is {verdict}.") for verdict in reversed(others_of(others))]
    assert [html.index("Faults: 7."), *places] == sorted([html.index("Faults: 7."), *places])


def others_of(results: list[Result]) -> list[Verdict]:
    """Return the verdicts in the order of the page, the worst last."""
    order = [Verdict.OK, Verdict.FIXED, Verdict.NOT_CHECKED, Verdict.WARNING]
    assert {result.verdict for result in results} == set(order)
    return order


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([make_result(Verdict.OK), make_result(Verdict.NOT_CHECKED)], "Health"),
        ([make_result(Verdict.WARNING)] * 2, "Health: 2 to look at"),
        ([make_result(Verdict.WARNING), FAILED], "Health: 1 failed"),
    ],
)
async def test_the_link_says_how_many_faults_there_are(
    client: httpx.AsyncClient, results: list[Result], expected: str
) -> None:
    await store(*results)
    assert await label(client) == expected


async def test_the_other_pages_are_shown_if_the_report_cannot_be_read(
    database: str, client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await directory.execute("DROP TABLE directory_doctor_reports")
    assert await label(client) == "Health"
    assert (await client.get("/health/")).status_code == 503
