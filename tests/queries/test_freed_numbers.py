"""The number of a merged member: reading and recording follow it, and changes of it are refused."""

import inspect
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import pytest

from community_directory.errors import AlreadyMember, InvalidInput, MemberMerged
from community_directory.queries import (
    accounts,
    audit,
    highlights,
    invitations,
    members,
    participation,
)
from community_directory.queries.participation import NewEvent
from tests.queries.cases import CONDITIONS, HELPERS, arguments
from tests.tables import rows

FREED, PRESENT = "#2", "#1"
DAY = date(2026, 1, 31)
MORNING = datetime(2026, 1, 31, 9, tzinfo=UTC)

FOLLOWING: dict[str, dict[str, Any]] = {
    "accounts.of": {},
    "accounts.link": {"account_id": "0d7a4c1e-5b2f-4c3d-8e9f-a1b2c3d4e5f6"},
    "audit.history": {},
    "branches.preview": {},
    "highlights.between": {},
    "invitations.lineage": {},
    "invitations.list_page": {},
    "invitations.quota": {},
    "invitations.statistics": {},
    "invitations.tree": {},
    "invitations.tree_counts": {},
    "members.export": {"entity_ids": []},
    "members.find": {},
    "members.get": {},
    "members.rank": {},
    "members.resolve": {},
    "members.search": {**dict.fromkeys(("text", *CONDITIONS)), "is_bot": False},
    "participation.activity": {"since": DAY, "until": DAY},
    "participation.by_day": {"since": DAY, "until": DAY},
    "participation.by_room": {"since": DAY, "until": DAY},
    "participation.history": {},
    "permissions.has": {},
    "permissions.of": {},
    "relationships.entities_of": {},
    "relationships.of_member": {},
    "reputation.explain": {},
}
"""The helpers that give the same answer for both numbers, with further arguments."""

REFUSING: dict[str, dict[str, Any]] = {
    "invitations.create": {"required_permission": None},
    "members.mark_bot": {},
    "members.remove": {},
    "members.restore": {},
    "members.set_status": {},
    "members.set_username": {},
    "members.update_profile": {},
    "members.verify_github": {},
    "permissions.grant": {"granted_by": None},
    "permissions.revoke": {"revoked_by": None},
}
"""The helpers that change the member with a number, with further arguments."""

TESTED_APART = {
    "acts.apply",
    "acts.preview",
    "branches.apply",
    "branches.preview_act",
    "accounts.begin_link",
    "members.add",
    "members.dismiss_suggestion",
    "members.erase",
    "members.merge",
    "members.merge_preview",
    "members.unmerge",
    "participation.record",
    "participation.take_back",
    "notes.add",
    "notes.list_for",
    "requests.ask",
    "requests.may_erase_themselves",
    "requests.resolve",
}
"""They follow, too, except for the merges, which say what a merged member is; see their tests."""

NAMES = ("member_id", "created_by", "member", "member_id_or_merge", "duplicate", "invited_by")
"""The parameters that are the number of a member."""


@pytest.fixture
async def merged(directory: asyncpg.Pool) -> None:
    """Merge #2 into #1; both had events, invitations, highlights and permissions."""
    for number, telegram_id in ((PRESENT, "101"), (FREED, "discord:102")):
        await rows.member(directory, telegram_id=telegram_id, status="active")
        await rows.permission(directory, member_id=number, permission="manage")
        await rows.invitation(directory, created_by=number)
        await rows.event(directory, member_id=number, occurred_at=MORNING)
    await rows.member(directory, telegram_id="104", invited_by=FREED)
    await highlights.roll_up(DAY)
    await members.merge(FREED, into=PRESENT, actor="eva", reason="the same person")


def name_of_number(helper: str) -> str | None:
    """Return the name of the parameter with the number of a member, if there is one."""
    parameters = inspect.signature(HELPERS[helper]).parameters
    return next((name for name in NAMES if name in parameters), None)


async def call(helper: str, number: str, changed: Mapping[str, object]) -> Any:
    name = name_of_number(helper)
    assert name is not None
    return await HELPERS[helper](**arguments(helper, {**changed, name: number}))


def test_every_helper_with_the_number_of_a_member_follows_or_refuses() -> None:
    named = {helper for helper in HELPERS if name_of_number(helper)}
    assert named == FOLLOWING.keys() | REFUSING.keys() | TESTED_APART


@pytest.mark.usefixtures("merged")
@pytest.mark.parametrize("helper", FOLLOWING)
async def test_a_freed_number_gives_the_answer_of_the_other_one(helper: str) -> None:
    answer = await call(helper, PRESENT, FOLLOWING[helper])
    assert answer
    assert await call(helper, FREED, FOLLOWING[helper]) == answer


@pytest.mark.usefixtures("merged")
@pytest.mark.parametrize("helper", REFUSING)
async def test_a_freed_number_is_never_changed(helper: str, directory: asyncpg.Pool) -> None:
    before = await directory.fetch("SELECT * FROM community_members ORDER BY member_id")
    with pytest.raises(MemberMerged, match=r"^#2 was merged into #1\. Use #1\.$") as refused:
        await call(helper, FREED, REFUSING[helper])
    assert (refused.value.member_id, refused.value.merged_into) == (FREED, PRESENT)
    assert await directory.fetch("SELECT * FROM community_members ORDER BY member_id") == before


@pytest.mark.usefixtures("merged")
async def test_an_unchanged_profile_of_a_freed_number_is_refused_too() -> None:
    with pytest.raises(MemberMerged):
        await members.update_profile(FREED)
    assert (await members.update_profile(PRESENT)).member_id == PRESENT


@pytest.mark.usefixtures("merged")
async def test_a_freed_number_can_not_be_banned() -> None:
    with pytest.raises(MemberMerged):
        await members.set_status(FREED, "banned", actor="eva")


@pytest.mark.usefixtures("merged")
async def test_the_account_of_a_freed_number_joins_as_the_other_one() -> None:
    code = (await invitations.create(created_by=PRESENT)).invitation_code
    with pytest.raises(AlreadyMember) as refused:
        await invitations.redeem(code, telegram_id="discord:102", name="Bo", primary_role="x")
    assert refused.value.member_id == PRESENT


@pytest.mark.usefixtures("merged")
async def test_the_events_of_a_freed_number_are_those_of_the_other_one() -> None:
    event: dict[str, Any] = {"event_type": "REACTION", "platform": "telegram", "room_id": "-1"}
    stored = await participation.record(member_id=FREED, source_id="1", **event)
    assert stored is not None
    assert stored.member_id == PRESENT
    assert await participation.record(member_id=PRESENT, source_id="1", **event) is None
    many = [NewEvent(member_id=number, source_id="2", **event) for number in (PRESENT, FREED)]
    recorded = await participation.record_many(many)
    assert (len(recorded.inserted), len(recorded.duplicates)) == (1, 1)
    for source_id in ("1", "2"):
        assert await participation.take_back(member_id=FREED, source_id=source_id, **event)
    assert not await participation.take_back(member_id=PRESENT, source_id="1", **event)


@pytest.mark.usefixtures("merged")
async def test_whoever_a_freed_number_invites_is_a_child_of_the_other_one() -> None:
    child = await members.add(
        telegram_id="103", name="Cy", primary_role="designer", invited_by=FREED
    )
    assert child.invited_by == PRESENT


@pytest.mark.usefixtures("merged")
async def test_a_code_for_a_freed_number_links_an_account_to_the_other_one() -> None:
    code = (await accounts.begin_link(FREED)).code
    linked = await accounts.complete_link(code, platform="discord", account_id="9")
    assert linked.member_id == PRESENT


@pytest.mark.usefixtures("merged")
async def test_the_pair_of_a_freed_number_and_the_other_one_is_no_suggestion() -> None:
    with pytest.raises(InvalidInput, match="same member"):
        await members.dismiss_suggestion(FREED, PRESENT, actor="eva")


@pytest.mark.usefixtures("merged")
async def test_the_log_of_both_numbers_is_one_list_in_pages() -> None:
    everything = (await audit.history(PRESENT, limit=100)).items
    assert {entry.member_id for entry in everything} == {PRESENT, FREED}
    assert [entry.id for entry in everything] == sorted(
        (entry.id for entry in everything), reverse=True
    )
    found, after = [], None
    while True:
        page = await audit.history(FREED, after=after, limit=2)
        found += page.items
        after = page.next_cursor
        if after is None:
            break
    assert found == everything


@pytest.mark.usefixtures("merged")
async def test_after_the_undoing_the_numbers_are_two_members_again() -> None:
    await members.unmerge(FREED, actor="eva")
    assert (await members.get(FREED)).member_id == FREED
    assert (await members.set_status(FREED, "suspended", actor="eva")).member_id == FREED
    history = await audit.history(FREED, limit=100)
    assert {entry.member_id for entry in history.items} == {FREED}
