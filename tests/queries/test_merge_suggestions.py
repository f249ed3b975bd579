"""Suggestions which members are one person, and those that were dismissed."""

import asyncio
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.database import transaction
from community_directory.errors import InvalidCursor, InvalidInput, MemberNotFound
from community_directory.queries import audit, members
from community_directory.queries.folding import fold
from community_directory.queries.merge_suggestions import MergeSuggestion, ReasonKind
from tests.tables import rows

Found = list[tuple[str, str, list[tuple[str, str | None]]]]


async def suggestions() -> list[MergeSuggestion]:
    """Return the suggestions of all pages."""
    page = await members.merge_suggestions(limit=2)
    found = page.items
    while page.next_cursor:
        page = await members.merge_suggestions(limit=2, after=page.next_cursor)
        found += page.items
    return found


async def found() -> Found:
    """Return the suggestions as numbers and reasons."""
    return [
        (
            suggestion.member.member_id,
            suggestion.other.member_id,
            [(reason.kind, reason.detail) for reason in suggestion.reasons],
        )
        for suggestion in await suggestions()
    ]


async def account(
    directory: asyncpg.Pool, member_id: str, platform: str, account_id: str, username: str | None
) -> None:
    """Link an account to a member, as a manager does."""
    await directory.execute(
        "INSERT INTO member_accounts"
        " (id, platform, account_id, username, member_id, proof, proved_at)"
        " VALUES (gen_random_uuid(), $1, $2, $3, $4, 'manager', now())",
        platform,
        account_id,
        username,
        member_id,
    )


async def merge(directory: asyncpg.Pool, member_id: str, into: str) -> None:
    """Write the columns of a member who was merged into another one."""
    await directory.execute(
        "UPDATE community_members SET merged_into = $2, deleted_at = now(),"
        " telegram_id = 'merged:' || id, github_verified = false WHERE member_id = $1",
        member_id,
        into,
    )


async def three(directory: asyncpg.Pool, **columns: object) -> None:
    """Insert the members #1, who invites, and #2 and #3 with these columns."""
    await rows.member(directory, name="Root")
    for name in ("Ana", "Bea"):
        await rows.member(directory, **{"name": name, **columns})


# Reasons


async def test_people_without_anything_in_common_are_not_suggested(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, name="Ana", telegram_username="ana", github_username="ana")
    await rows.member(directory, name="Bea", telegram_username="bea", invited_by="#1")
    await rows.member(directory, name="Chi", profile_data='{"discord_id": "7"}')
    assert await suggestions() == []


@pytest.mark.parametrize("claimed", ["ana-dev", "ANA-Dev"])
async def test_a_profile_that_names_the_verified_github_account_of_another_is_a_reason(
    directory: asyncpg.Pool, claimed: str
) -> None:
    await three(directory)
    await directory.execute(
        "UPDATE community_members SET github_username = 'Ana-Dev', github_verified = true,"
        " github_verified_at = now() WHERE member_id = '#3'"
    )
    await directory.execute(
        "UPDATE community_members SET github_username = $1 WHERE member_id = '#2'", claimed
    )
    assert await found() == [("#2", "#3", [("github", "ana-dev")])]


@pytest.mark.parametrize("key", ["id", "databaseId"])
async def test_a_github_account_under_two_names_is_a_reason(
    directory: asyncpg.Pool, key: str
) -> None:
    await three(directory)
    for number, verified in (("#2", True), ("#3", False)):
        await directory.execute(
            "UPDATE community_members SET github_username = $2, github_verified = $3,"
            " github_verified_at = now(), github_profile_data = $4 WHERE member_id = $1",
            number,
            f"name{number[1:]}",
            verified,
            f'{{"{key}": 583231}}',
        )
    assert await found() == [("#2", "#3", [("github", "name3")])]


async def test_an_unverified_github_username_of_two_members_is_a_reason(
    directory: asyncpg.Pool,
) -> None:
    await three(directory, github_username="ana")
    assert await found() == [("#2", "#3", [("github", "ana")])]


async def test_a_profile_that_states_the_account_of_another_is_a_reason(
    directory: asyncpg.Pool,
) -> None:
    await three(directory)
    await account(directory, "#2", "discord", "77", None)
    await directory.execute(
        """UPDATE community_members SET profile_data = '{"discord_id": "77"}'
        WHERE member_id IN ('#1', '#3')"""
    )
    assert await found() == [
        ("#1", "#2", [("stated", "77")]),
        ("#2", "#3", [("stated", "77")]),
    ]


async def test_an_account_that_two_profiles_state_is_a_reason(directory: asyncpg.Pool) -> None:
    await three(directory, profile_data='{"discord_id": "77"}')
    assert await found() == [("#2", "#3", [("stated", "77")])]


async def test_the_same_username_on_two_platforms_is_a_reason(directory: asyncpg.Pool) -> None:
    await three(directory)
    await directory.execute(
        "UPDATE community_members SET telegram_username = 'Ana_G' WHERE member_id = '#2'"
    )
    await account(directory, "#3", "discord", "77", "aNA_g")
    assert await found() == [("#2", "#3", [("username", "ana_g")])]
    await directory.execute(
        "UPDATE community_members SET github_username = 'Ana_G' WHERE member_id = '#1'"
    )
    assert {(first, other) for first, other, _ in await found()} == {
        ("#1", "#2"),
        ("#1", "#3"),
        ("#2", "#3"),
    }


async def test_a_discord_only_person_with_a_telegram_username_is_compared_by_it(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="discord:5", telegram_username="ana", name="Ana")
    await rows.member(directory, github_username="ana", name="Bea")
    assert await found() == [("#1", "#2", [("username", "ana")])]


async def test_the_same_username_on_one_platform_is_none(directory: asyncpg.Pool) -> None:
    await three(directory)
    # One of them had the username before the other.
    for number in ("#2", "#3"):
        await account(directory, number, "discord", f"7{number[1:]}", "ana")
        await account(directory, number, "telegram", f"8{number[1:]}", None)
    assert await suggestions() == []


@pytest.mark.parametrize("name", ["josé  o’neill", "JOSE O'NEILL", "José O'Neill"])
async def test_the_same_name_and_the_same_inviter_are_a_reason(
    directory: asyncpg.Pool, name: str
) -> None:
    await three(directory, invited_by="#1")
    await directory.execute(
        "UPDATE community_members SET name = CASE member_id WHEN '#2' THEN 'José O''Neill'"
        " ELSE $1 END WHERE member_id <> '#1'",
        name,
    )
    assert await found() == [("#2", "#3", [("name", "#1")])]


async def test_the_same_name_without_the_same_inviter_is_none(directory: asyncpg.Pool) -> None:
    await three(directory, name="Ana")
    await rows.member(directory, name="Ana", invited_by="#1")
    await rows.member(directory, name="Ana", invited_by="#2")
    # Searches compare these names as the same empty text.
    await rows.member(directory, name="\u0301\u0302", invited_by="#3")
    await rows.member(directory, name="\u0303", invited_by="#3")
    assert fold("\u0301\u0302") == fold("\u0303") == ""
    assert await suggestions() == []


async def test_accounts_of_two_members_that_one_person_proved_are_the_strongest_reason(
    directory: asyncpg.Pool,
) -> None:
    await three(directory, github_username="ana", name="Ana", invited_by="#1")
    await rows.member(directory, name="Zoe")
    await directory.execute(
        "INSERT INTO directory_proved_pairs (member_a, member_b, proved_at)"
        " VALUES ('#1', '#4', now())"
    )
    assert await found() == [
        ("#1", "#4", [("proved", None)]),
        ("#2", "#3", [("github", "ana"), ("name", "#1")]),
    ]


# Who is suggested


async def test_bots_and_removed_erased_and_merged_members_are_not_suggested(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, name="Root")
    for _ in range(5):
        await rows.member(directory, github_username="ana", name="Ana", invited_by="#1")
    assert len(await suggestions()) == 10
    await members.mark_bot("#3", actor="test")
    await members.remove("#4", actor="test")
    await members.erase("#5", actor="test")
    await merge(directory, "#6", "#2")
    assert await suggestions() == []
    await members.mark_bot("#3", False, actor="test")
    assert [pair[:2] for pair in await found()] == [("#2", "#3")]
    await members.remove("#2", actor="test")
    assert await suggestions() == []


async def test_contacts_and_banned_members_are_suggested(directory: asyncpg.Pool) -> None:
    await three(directory, github_username="ana")
    await directory.execute("UPDATE community_members SET status = 'banned' WHERE member_id = '#2'")
    assert [pair[:2] for pair in await found()] == [("#2", "#3")]


async def test_a_mere_contact_is_merged_into_the_member_who_came_later(
    directory: asyncpg.Pool,
) -> None:
    await three(directory, github_username="ana")
    await directory.execute(
        "UPDATE community_members SET status = 'pending' WHERE member_id = '#3'"
    )
    assert [pair[:2] for pair in await found()] == [("#3", "#2")]


async def test_each_pair_is_listed_once_with_all_its_reasons(directory: asyncpg.Pool) -> None:
    await three(directory, name="Ana", invited_by="#1", github_username="ana")
    await account(directory, "#2", "discord", "77", "ana")
    await account(directory, "#3", "telegram", "88", "ana")
    await directory.execute(
        """UPDATE community_members SET profile_data = '{"discord_id": "77"}'
        WHERE member_id = '#3'"""
    )
    await directory.execute("INSERT INTO directory_proved_pairs VALUES ('#2', '#3', now())")
    [(_, _, reasons)] = await found()
    assert reasons == [
        ("proved", None),
        ("github", "ana"),
        ("stated", "77"),
        ("username", "ana"),
        ("name", "#1"),
    ]
    [suggestion] = await suggestions()
    assert [reason.message for reason in suggestion.reasons] == [
        "the same person proved accounts of both",
        "the same GitHub account: ana",
        "one profile states the other's Discord account: 77",
        "the same username on two platforms: ana",
        "the same name, and the same inviter: #1",
    ]


@pytest.mark.parametrize(("merged", "other"), [("#2", "#3"), ("#3", "#2")])
async def test_a_proof_follows_a_member_who_was_merged(
    directory: asyncpg.Pool, merged: str, other: str
) -> None:
    await three(directory)
    await directory.execute("INSERT INTO directory_proved_pairs VALUES ('#2', '#3', now())")
    await merge(directory, merged, "#1")
    assert await found() == [("#1", other, [("proved", None)])]
    await merge(directory, other, "#1")
    assert await suggestions() == []


async def test_many_people_of_one_name_make_few_pairs_and_leave_nobody_out(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, name="Root")
    count = 300
    await directory.execute(
        "INSERT INTO community_members (telegram_id, name, primary_role, invited_by)"
        " SELECT (5000 + n)::text, 'Ana', 'x', '#1' FROM generate_series(1, $1) AS n",
        count,
    )
    # as autovacuum does in time
    await directory.execute("ANALYZE community_members")
    await directory.execute("ANALYZE member_accounts")
    page, pairs = await members.merge_suggestions(limit=100), []
    pairs += page.items
    while page.next_cursor:
        page = await members.merge_suggestions(limit=100, after=page.next_cursor)
        pairs += page.items
    numbers = [(pair.member.member_id, pair.other.member_id) for pair in pairs]
    assert len(numbers) == len(set(numbers)) == 10 * count - 55
    assert {number for pair in numbers for number in pair} == {f"#{n}" for n in range(2, count + 2)}


# Dismissed suggestions


@pytest.mark.parametrize("pair", [("#2", "#3"), ("#3", "#2"), (3, 2)])
async def test_a_dismissed_suggestion_never_comes_back(
    directory: asyncpg.Pool, pair: tuple[str | int, str | int]
) -> None:
    await three(directory, github_username="ana")
    await members.dismiss_suggestion(*pair, actor="ana", reason="two sisters")
    assert await suggestions() == []
    await members.dismiss_suggestion(*reversed(pair), actor="bea")
    # Another reason does not bring it back either.
    await directory.execute(
        "UPDATE community_members SET name = 'Ana', invited_by = '#1' WHERE member_id <> '#1'"
    )
    assert await suggestions() == []
    for number in ("#2", "#3"):
        entries = (await audit.history(number)).items
        [entry] = [entry for entry in entries if "dismissed" in entry.table_name]
        assert (entry.actor, entry.reason, entry.action) == ("ana", "two sisters", "INSERT")
        assert entry.changes["member_a"] == [None, "#2"]
        assert entry.changes["member_b"] == [None, "#3"]


async def test_a_dismissal_is_about_two_members_and_nobody_else(directory: asyncpg.Pool) -> None:
    await three(directory, github_username="ana")
    await rows.member(directory, github_username="ana")
    await members.dismiss_suggestion("#2", "#3", actor="ana")
    assert [pair[:2] for pair in await found()] == [("#2", "#4"), ("#3", "#4")]


@pytest.mark.parametrize("merged", ["#2", "#3"])
async def test_a_dismissal_stays_with_whoever_a_member_is_merged_into(
    directory: asyncpg.Pool, merged: str
) -> None:
    await three(directory, github_username="ana")
    await members.dismiss_suggestion("#2", "#3", actor="ana")
    await merge(directory, merged, "#1")
    await directory.execute(
        "UPDATE community_members SET github_username = 'ana' WHERE member_id = '#1'"
    )
    assert await suggestions() == []


async def test_the_number_of_a_merged_member_means_the_other_one(directory: asyncpg.Pool) -> None:
    await three(directory, github_username="ana")
    await rows.member(directory)
    await merge(directory, "#4", "#2")
    await members.dismiss_suggestion("#4", "#3", actor="ana")
    assert await suggestions() == []
    with pytest.raises(InvalidInput, match="the same member"):
        await members.dismiss_suggestion("#4", "#2", actor="ana")


async def test_what_can_not_be_dismissed_is_refused_and_changes_nothing(
    directory: asyncpg.Pool,
) -> None:
    await three(directory)
    for pair, missing in ((("#2", "#99"), "#99"), (("#98", "#2"), "#98")):
        with pytest.raises(MemberNotFound) as refused:
            await members.dismiss_suggestion(*pair, actor="ana")
        assert refused.value.member_id == missing
    with pytest.raises(InvalidInput):
        await members.dismiss_suggestion("#2", "#2", actor="ana")
    with pytest.raises(InvalidInput):
        await members.dismiss_suggestion("#2", "#3", actor=" ")
    assert await directory.fetchval("SELECT count(*) FROM directory_dismissed_merges") == 0


async def test_twenty_dismissals_at_once_are_one(directory: asyncpg.Pool) -> None:
    await three(directory)
    pairs = [("#2", "#3"), ("#3", "#2")] * 10
    await asyncio.gather(*(members.dismiss_suggestion(*pair, actor="ana") for pair in pairs))
    assert await directory.fetchval("SELECT count(*) FROM directory_dismissed_merges") == 1
    logged = "SELECT count(*) FROM directory_audit_log WHERE table_name LIKE '%dismissed%'"
    assert await directory.fetchval(logged) == 2


async def test_a_dismissal_that_is_rolled_back_leaves_nothing(directory: asyncpg.Pool) -> None:
    await three(directory, github_username="ana")

    async def dismiss_and_fail() -> None:
        async with transaction():
            await members.dismiss_suggestion("#2", "#3", actor="ana")
            await members.get("#99")

    with pytest.raises(MemberNotFound):
        await dismiss_and_fail()
    assert len(await suggestions()) == 1


# Pages


@pytest.mark.parametrize("cursor", ["", "x", "A" * 28])
async def test_a_cursor_of_another_list_is_refused(directory: asyncpg.Pool, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await members.merge_suggestions(after=cursor)


@pytest.mark.parametrize("limit", [0, 101, True, "5"])
async def test_a_page_has_1_to_100_rows(directory: asyncpg.Pool, limit: Any) -> None:
    with pytest.raises(InvalidInput):
        await members.merge_suggestions(limit=limit)


# The suggestions agree with a plain comparison of all pairs.


PEOPLE = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["Ana", "ána", "Bea"]),
            "invited_by": st.sampled_from([None, "#1", "#2"]),
            "telegram_username": st.sampled_from([None, "ana", "Ana", "bea"]),
            "github_username": st.sampled_from([None, "ana", "ANA", "bea"]),
            "discord_account": st.sampled_from([None, "ana", "bea"]),
            "is_bot": st.sampled_from([False, False, False, True]),
        }
    ),
    min_size=2,
    max_size=8,
)


def usernames(person: dict[str, Any]) -> set[tuple[str, str]]:
    names = {
        ("telegram", person["telegram_username"]),
        ("github", person["github_username"]),
        ("discord", person["discord_account"]),
    }
    return {(platform, name.lower()) for platform, name in names if name}


def expected_kinds(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    kinds: set[str] = set()
    if (
        one["github_username"]
        and one["github_username"].lower() == (other["github_username"] or "").lower()
    ):
        kinds.add(ReasonKind.GITHUB)
    if any(
        name == other_name and platform != other_platform
        for platform, name in usernames(one)
        for other_platform, other_name in usernames(other)
    ):
        kinds.add(ReasonKind.USERNAME)
    if one["invited_by"] and (one["invited_by"], fold(one["name"])) == (
        other["invited_by"],
        fold(other["name"]),
    ):
        kinds.add(ReasonKind.NAME)
    return kinds


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(people=PEOPLE)
async def test_suggestions_agree_with_a_comparison_of_all_pairs(
    directory: asyncpg.Pool, people: list[dict[str, Any]]
) -> None:
    await directory.execute("TRUNCATE community_members CASCADE")
    for inviter in ("#1", "#2"):
        await rows.member(directory, member_id=inviter, name=f"Root {inviter}")
    for number, person in enumerate(people, 3):
        columns = {
            name: person[name]
            for name in ("name", "telegram_username", "github_username", "is_bot", "invited_by")
        }
        await rows.member(directory, member_id=f"#{number}", **columns)
        if person["discord_account"]:
            await account(
                directory, f"#{number}", "discord", f"99{number}", person["discord_account"]
            )
    numbered = [(f"#{number}", person) for number, person in enumerate(people, 3)]
    expected = {
        (number, other_number): kinds
        for number, person in numbered
        for other_number, other in numbered
        if int(number[1:]) < int(other_number[1:])
        and not person["is_bot"]
        and not other["is_bot"]
        and (kinds := expected_kinds(person, other))
    }
    assert {pair[:2]: {kind for kind, _ in pair[2]} for pair in await found()} == expected
