"""The lists of the panel: filters, order, pages, counts, and the search for a member."""

import uuid
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from piccolo.conf.apps import Finder

from community_directory.queries import members
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    MemberDailyHighlight,
    MemberParticipation,
)
from community_directory.web.admin import listing
from tests.tables import rows as table_rows
from tests.web.admin.panel_requests import (
    CODE,
    HOSTILE_VALUES,
    TABLE_COLUMNS,
    add,
    numbers,
    rows,
    search,
)

# Foreign keys


async def test_a_row_shows_the_members_primary_key_and_name(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    (listed,) = await rows(client, "community_invitations")
    single = (
        await client.get(f"/api/tables/community_invitations/{listed['invitation_id']}/")
    ).json()
    for row in (listed, single):
        assert row["created_by"] == str(ana.id)
        assert row["created_by_readable"] == "#1 Ana García"
        assert (row["accepted_by"], row["accepted_by_readable"]) == (None, None)


async def test_every_key_to_a_member_is_shown_as_a_primary_key(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    await CommunityMember.update({CommunityMember.invited_by: "#1"}).where(
        CommunityMember.member_id == "#2"
    )
    await CommunityInvitation(
        invitation_code=CODE,
        created_by="#1",
        accepted_by="#2",
        accepted_at=bea.created_at,
        status="accepted",
    ).save()
    await MemberParticipation(
        member_id="#2", event_type="MESSAGE", platform="telegram", room_id="1"
    ).save()
    await MemberDailyHighlight(member_id="#1", highlight_date=ana.created_at.date()).save()

    (invited,) = await rows(
        client, "community_members", member_id="#2", __visible_fields="member_id,invited_by"
    )
    assert invited["invited_by"] == str(ana.id)
    (accepted,) = await rows(client, "community_invitations")
    assert (accepted["created_by"], accepted["accepted_by"]) == (str(ana.id), str(bea.id))
    assert [row["member_id"] for row in await rows(client, "member_participation")] == [str(bea.id)]
    assert [row["member_id"] for row in await rows(client, "member_daily_highlights")] == [
        str(ana.id)
    ]


@pytest.mark.parametrize("key", ["id", "member_id", "digits"])
async def test_rows_are_filtered_by_a_members_primary_key_or_number(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember, key: str
) -> None:
    for code, creator in (("AAAAAAAA", "#1"), ("BBBBBBBB", "#2"), ("CCCCCCCC", "#2")):
        await CommunityInvitation(invitation_code=code, created_by=creator).save()
    sent = "2" if key == "digits" else str(getattr(bea, key))
    found = await rows(client, "community_invitations", created_by=sent)
    assert {row["invitation_code"] for row in found} == {"BBBBBBBB", "CCCCCCCC"}
    others = await rows(client, "community_invitations", created_by=sent, created_by__operator="ne")
    assert [row["invitation_code"] for row in others] == ["AAAAAAAA"]


async def test_a_filter_by_several_members_finds_the_rows_of_each(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    for code, creator in (("AAAAAAAA", "#1"), ("BBBBBBBB", "#2")):
        await CommunityInvitation(invitation_code=code, created_by=creator).save()
    for name in ("created_by", "created_by[]"):
        assert len(await rows(client, "community_invitations", **{name: [str(ana.id), "#2"]})) == 2


@pytest.mark.parametrize(
    "value", ["01a204fc-d2ae-7ffe-a0cc-4bc897e7b263", "#999", "nobody", "'; --", "{}"]
)
async def test_a_filter_by_an_unknown_member_finds_nothing(
    client: httpx.AsyncClient, ana: CommunityMember, value: str
) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    assert await rows(client, "community_invitations", created_by=value) == []


@pytest.mark.parametrize("operator", ["lt", "lte", "gt", "gte"])
@pytest.mark.parametrize("name", ["invited_by", "member_id", "name", "status"])
async def test_members_and_texts_have_no_range_filters(
    client: httpx.AsyncClient, ana: CommunityMember, name: str, operator: str
) -> None:
    query = {name: "#1", f"{name}__operator": operator}
    for path in ("", "count/"):
        response = await client.get(f"/api/tables/community_members/{path}", params=query)
        sentence = "Only numbers and times can be less or greater. Choose Equals or Not Equal."
        assert (response.status_code, response.json()) == (400, {"detail": sentence})


async def test_rows_without_a_member_are_found(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    await CommunityMember.update({CommunityMember.invited_by: "#1"}).where(
        CommunityMember.member_id == "#2"
    )
    assert await numbers(client, invited_by__operator="is_null") == ["#1"]
    assert await numbers(client, invited_by__operator="not_null") == ["#2"]


# Finding a member


@pytest.fixture
async def crowd(ana: CommunityMember, bea: CommunityMember) -> None:
    """Members #1 to #30, and #5 removed."""
    people = [
        CommunityMember(
            name=f"Đorđe {number}",
            telegram_id=str(number),
            telegram_username=f"djole_{number}",
            primary_role="x",
        )
        for number in range(3, 31)
    ]
    await CommunityMember.insert(*people)
    await members.remove("#5", actor="test")


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("garc", ["#1 Ana García"]),
        ("GARCIA", ["#1 Ana García"]),
        ("o'neill", ["#2 Bea O'Neill"]),
        ("O’Neill", ["#2 Bea O'Neill"]),
        ("@djole_17", ["#17 Đorđe 17"]),
        ("\u200b", []),
        ("\u0301", []),
        ("djole_17", ["#17 Đorđe 17"]),
        ("dorde 17", ["#17 Đorđe 17"]),
        ("an", ["#1 Ana García"]),
        ("#24", ["#24 Đorđe 24"]),
        ("24", ["#24 Đorđe 24"]),
        ("  #24 ", ["#24 Đorđe 24"]),
        ("zz", []),
        ("%", []),
        ("#5", []),
        ("dorde 5", []),
    ],
)
async def test_a_member_is_found_by_number_name_or_username_and_never_when_removed(
    client: httpx.AsyncClient, crowd: None, term: str, expected: list[str]
) -> None:
    assert await search(client, search=term, limit=6) == expected


async def test_an_exact_number_comes_before_names_with_its_digits(
    client: httpx.AsyncClient, crowd: None
) -> None:
    await CommunityMember.update({CommunityMember.name: "Agent 10"}).where(
        CommunityMember.member_id == "#3"
    )
    assert (await search(client, search="10"))[:2] == ["#10 Đorđe 10", "#3 Agent 10"]


async def test_a_search_answers_with_keys_and_a_limit(
    client: httpx.AsyncClient, crowd: None
) -> None:
    assert await search(client, search="dorde", limit=3) == [
        "#3 Đorđe 3",
        "#4 Đorđe 4",
        "#6 Đorđe 6",
    ]
    assert await search(client, search="dorde", limit=3, offset=3) == [
        "#7 Đorđe 7",
        "#8 Đorđe 8",
        "#9 Đorđe 9",
    ]
    assert len(await search(client)) == 29
    assert len(await search(client, limit=4)) == 4
    keys = (await client.get("/api/tables/community_members/ids/?search=garc")).json()
    assert [uuid.UUID(key) for key in keys]


# Invalid queries


@pytest.mark.parametrize(
    "query",
    [
        "__order=nothing",
        "__order=-",
        "__page=0",
        "__page=-1",
        "__page=99999999999",
        "__page=1&__page=2",
        "__page_size=0",
        "__page_size=5000",
        "__page_size=%D9%A3",
        "__visible_fields=name,secret",
        "__nothing=1",
        "nothing=1",
        "nothing__operator=is_null",
        "reputation_score=99999999999",
        "reputation_score=1e3",
        "name=%00",
        "name=a&name__operator=like",
        "name__operator=like",
        "name__operator=e&name__operator=e",
        "name__match=like",
        "nothing__match=exact",
        "created_at=yesterday",
        "created_at=2026",
        "last_active_at=1767225600",
        "reputation_score=2147483648",
        "deleted_at=0001-01-01T00:00:00%2B14:00",
        "github_verified=perhaps",
        "id=1",
    ],
)
async def test_an_invalid_query_is_refused_with_a_message(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"/api/tables/community_members/?{query}")
    assert response.status_code == 400, response.text
    assert response.json()["detail"].endswith(".")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_no_query_causes_a_server_error(
    client: httpx.AsyncClient, ana: CommunityMember, data: st.DataObject
) -> None:
    table, columns = data.draw(st.sampled_from(TABLE_COLUMNS))
    names = [column._meta.name for column in columns]
    names += [
        "__order",
        "__page",
        "__page_size",
        "__visible_fields",
        "search",
        "limit",
        "offset",
        "x",
    ]
    name = st.builds(
        str.__add__,
        st.sampled_from(names),
        st.sampled_from(["", "", "__operator", "__match", "[]"]),
    )
    asked = data.draw(st.lists(st.tuples(name, HOSTILE_VALUES), max_size=4))
    kind = data.draw(st.sampled_from(["", "count/", "ids/", "csv/"]))
    query = httpx.QueryParams(
        [(key, value.encode("utf-8", "replace").decode()) for key, value in asked]
    )
    response = await client.get(f"/api/tables/{table}/{kind}?{query}")
    assert response.status_code in (200, 400), (response.text, asked)
    if response.status_code == 400:
        assert response.json()["detail"].endswith(".")


# Lists


async def test_a_list_comes_newest_first_unless_asked_otherwise(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    assert await numbers(client) == ["#2", "#1"]
    assert await numbers(client, __order="name") == ["#1", "#2"]
    assert await numbers(client, __order="-country,name") == ["#1", "#2"]
    ana.country = "Perú"
    await ana.save()
    assert [row["action"] for row in await rows(client, "directory_audit_log")] == [
        "UPDATE",
        "INSERT",
        "INSERT",
    ]


async def test_pages_neither_lose_nor_repeat_rows_with_equal_times(
    client: httpx.AsyncClient, crowd: None, directory: asyncpg.Pool
) -> None:
    await directory.execute("UPDATE community_members SET created_at = now()")
    for order in ("-created_at", "country", "-organization"):
        found = [
            row["member_id"]
            for page in range(1, 7)
            for row in (
                await client.get(
                    f"/api/tables/community_members/?__page_size=5&__page={page}&__order={order}"
                )
            ).json()["rows"]
        ]
        assert len(found) == len(set(found)) == 29


async def test_numbers_are_sorted_as_numbers(client: httpx.AsyncClient, crowd: None) -> None:
    found = await numbers(
        client, __order="member_id", name="orde", __visible_fields="member_id", __page_size=50
    )
    assert found == [f"#{number}" for number in range(3, 31) if number != 5]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"status": "active"}, ["#2", "#1"]),
        ({"status": "active", "status__match": "contains"}, ["#2", "#1"]),
        ({"status": "act"}, []),
        ({"status": "active", "status__operator": "ne"}, ["#3"]),
        ({"name": "garcia"}, ["#1"]),
        ({"name": "GARC", "name__match": "starts"}, []),
        ({"name": "ana", "name__match": "starts"}, ["#1"]),
        ({"name": "a", "name__match": "ends"}, ["#3", "#1"]),
        ({"name": "Ana García", "name__match": "exact"}, ["#1"]),
        ({"name": "Ana", "name__match": "exact"}, []),
        ({"name": "%"}, []),
        ({"name": "_"}, []),
        ({"organization": "Frutero", "organization__operator": "ne"}, ["#3", "#2"]),
        ({"country": "per"}, ["#1"]),
        ({"country": "PERU"}, ["#1"]),
        ({"name": "ÍA"}, ["#1"]),
        ({"name": "garci\u0301a\u200b"}, ["#1"]),
        ({"organization": "é"}, ["#1"]),
        ({"organization": "@frutero"}, ["#1"]),
        ({"name": "\u0301"}, []),
        ({"country": "\u200b"}, []),
        ({"name": ["\u2800", "garcía"]}, ["#1"]),
        ({"name": "\u3164", "name__match": "starts"}, []),
        ({"country": ["Perú", "Chile"]}, ["#2", "#1"]),
        ({"reputation_score": "10", "reputation_score__operator": "gte"}, ["#1"]),
        ({"reputation_score": "10"}, ["#1"]),
        ({"member_id": "2", "member_id__match": "exact"}, ["#2"]),
        ({"member_id": "2"}, ["#2"]),
        ({"country__match": "contains", "reputation_score__operator": "e"}, ["#3", "#2", "#1"]),
        ({"country": ""}, ["#3", "#2", "#1"]),
        ({"country__operator": "is_null"}, ["#3"]),
        ({"telegram_username": "t.me/bea_dev"}, ["#2"]),
        ({"telegram_username": "@bea_dev", "telegram_username__match": "exact"}, ["#2"]),
        ({"telegram_username": "a_d"}, ["#2"]),
        ({"telegram_username": "a-d"}, []),
        ({"telegram_id": "７７\u200b", "telegram_id__match": "exact"}, ["#2"]),
    ],
)
async def test_a_filter_finds_the_matching_rows(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    bea: CommunityMember,
    filters: dict[str, Any],
    expected: list[str],
) -> None:
    await CommunityMember.update(
        {"country": "Perú", "organization": "Frutero", "reputation_score": 10}, force=True
    ).where(CommunityMember.member_id == "#1")
    await CommunityMember.update(
        {"country": "Chile", "telegram_username": "bea_dev", "telegram_id": "77"}
    ).where(CommunityMember.member_id == "#2")
    await add(client, status="pending", name="Eva")
    assert await numbers(client, **filters) == expected


async def test_an_overdue_invitation_shows_as_expired_before_it_is_marked(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    for code in ("OPEN2345", "PAST2345", "NEXT2345"):
        await CommunityInvitation(invitation_code=code, created_by="#1").save()
    await directory.execute(
        """UPDATE community_invitations SET expires_at = now() - interval '1 s'
        WHERE invitation_code = 'PAST2345'"""
    )
    await directory.execute(
        """UPDATE community_invitations SET expires_at = now() + interval '2 days'
        WHERE invitation_code = 'NEXT2345'"""
    )

    async def codes(**filters: str) -> set[str]:
        return {
            row["invitation_code"] for row in await rows(client, "community_invitations", **filters)
        }

    shown = {row["invitation_code"]: row for row in await rows(client, "community_invitations")}
    assert shown["PAST2345"]["status"] == "expired"
    single = await client.get(
        f"/api/tables/community_invitations/{shown['PAST2345']['invitation_id']}/"
    )
    assert single.json()["status"] == "expired"
    assert await codes(status="expired") == {"PAST2345"}
    assert await codes(status="pending") == {"OPEN2345", "NEXT2345"}
    assert await codes(status="expired", status__operator="ne") == {"OPEN2345", "NEXT2345"}


async def test_bots_and_their_events_are_listed_and_counted_only_when_asked_for(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    for number in ("#1", "#2"):
        await MemberParticipation(
            member_id=number, event_type="MESSAGE", platform="telegram", room_id="1"
        ).save()
    await members.mark_bot("#2", actor="Luis")

    async def count(table: str, query: str = "") -> int:
        response = await client.get(f"/api/tables/{table}/count/{query}")
        return int(response.json()["count"])

    assert await numbers(client) == ["#1"]
    assert await numbers(client, name="o'neill") == []
    assert await numbers(client, is_bot="false") == ["#1"]
    assert await numbers(client, is_bot="true") == ["#2"]
    assert await numbers(client, is_bot="true", name="o'neill") == ["#2"]
    assert await count("community_members") == 1
    assert await count("community_members", "?is_bot=true") == 1
    assert await search(client, search="") == ["#1 Ana García"]
    assert await search(client, search="neill") == []

    assert len(await rows(client, "member_participation")) == 1
    assert await count("member_participation") == 1
    (event,) = await rows(client, "member_participation", member_id="#2")
    assert event["member_id_readable"] == "#2 Bea O'Neill"
    for query in (
        {"member_id": "#3", "member_id__operator": "ne"},
        {"member_id__operator": "not_null"},
    ):
        (event,) = await rows(client, "member_participation", **query)
        assert event["member_id_readable"] == "#1 Ana García"
    shown = (await client.get(f"/api/tables/community_members/{bea.id}/")).json()
    assert shown["is_bot"] is True


async def test_the_estimate_of_a_long_list_of_events_expects_few_bots(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await directory.execute(
        """INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)
        SELECT '#1', 'MESSAGE', 'telegram', '1', n::text FROM generate_series(1, 1000) AS n"""
    )
    await directory.execute("ANALYZE community_members, member_participation")
    monkeypatch.setattr(listing, "MAX_EXACT_COUNT", 100)
    response = await client.get("/api/tables/member_participation/count/")
    assert 900 <= response.json()["count"] <= 1000


async def test_known_bots_are_listed_and_can_be_deleted_only(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await members.remember_bots({"8": "Rose", "discord:9": "Carl"})
    listed = await rows(client, "directory_bots", name="rose")
    assert [(row["telegram_id"], row["name"]) for row in listed] == [("8", "Rose")]
    for method, path in (("POST", ""), ("PATCH", f"{listed[0]['id']}/")):
        refused = await client.request(method, f"/api/tables/directory_bots/{path}", json={})
        assert refused.status_code == 405
    for known in await rows(client, "directory_bots"):
        deleted = await client.delete(f"/api/tables/directory_bots/{known['id']}/")
        assert deleted.status_code == 204
    assert await members.known_bots(["8", "discord:9"]) == set()


# In a database of its own, because the statistics would change the counts of later tests.
async def test_a_filter_by_a_frequent_word_finds_the_newest_and_estimates_the_rest(
    database: str, client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    # Without triggers the rows are stored in a moment.
    await directory.execute(
        """SET session_replication_role = replica;
        INSERT INTO community_members (member_id, telegram_id, name, primary_role, created_at)
        SELECT '#' || n, n, 'García ' || n, 'x',
            timestamptz '2026-01-01 00:00Z' + n * interval '1 s'
        FROM generate_series(1, 9000) AS n;
        RESET session_replication_role;
        ANALYZE community_members"""
    )
    listed = await client.get("/api/tables/community_members/?name=GARCIA")
    assert [row["name"] for row in listed.json()["rows"]] == [
        f"García {n}" for n in range(9000, 8985, -1)
    ]
    counted = await client.get("/api/tables/community_members/count/?name=GARCIA")
    assert counted.json()["count"] == pytest.approx(9000, rel=0.1)


async def test_a_time_in_a_list_is_formatted_for_people(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await MemberParticipation(
        member_id="#1",
        event_type="MESSAGE",
        platform="telegram",
        room_id="1",
        occurred_at=ana.created_at,
    ).save()
    (row,) = await rows(client, "member_participation")
    assert row["occurred_at"] == ana.created_at.strftime("%Y-%m-%d %H:%M:%S UTC")


# In a database of its own, because the statistics would change the counts of later tests.
async def test_the_count_of_a_large_table_is_the_planners_estimate(
    database: str, client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        """INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)
        SELECT '#1', CASE WHEN n % 1000 = 0 THEN 'VOICE' ELSE 'MESSAGE' END, 'telegram', '1',
            n::text
        FROM generate_series(1, 60000) AS n"""
    )
    await directory.execute("ANALYZE member_participation")
    path = "/api/tables/member_participation/count/"
    assert (await client.get(path)).json() == {
        "count": pytest.approx(60000, rel=0.05),
        "page_size": 15,
    }
    exact = await client.get(f"{path}?event_type=VOICE&event_type__match=exact")
    assert exact.json()["count"] == 60


def test_every_foreign_key_refers_to_a_member() -> None:
    for table in Finder().get_app_config("community_directory").table_classes:
        for column in table._meta.foreign_key_columns:
            assert column._foreign_key_meta.resolved_target_column is CommunityMember.member_id


async def test_a_member_to_refer_to_is_found_by_the_username_of_another_account(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for name, account_id in (("Ana", "5"), ("Bo", "6")):
        member = await table_rows.member(directory, name=name)
        await directory.execute(
            "INSERT INTO member_accounts"
            " (id, platform, account_id, username, member_id, proof, proved_at)"
            " VALUES (gen_random_uuid(), 'discord', $1, $2, $3, 'code', now())",
            account_id,
            f"{name.lower()}.owl",
            member["member_id"],
        )
    for typed in ("ana.owl", "@Ana.Owl"):
        response = await client.get("/api/tables/community_members/ids/", params={"search": typed})
        assert [label.split()[1] for label in response.json().values()] == ["Ana"]
