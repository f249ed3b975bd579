"""The story: every kind of change in words, one line for an act, and hostile names as text."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup, escape
from starlette.requests import Request

from community_directory.database import transaction
from community_directory.language import find_translation
from community_directory.queries import (
    accounts,
    acts,
    invitations,
    members,
    notes,
    permissions,
    requests,
)
from community_directory.queries.audit import Change, ChangeKind
from community_directory.queries.changes import CHANGE_COLUMNS
from community_directory.tables import AuditAction, RequestKind
from community_directory.web.pages import Visit
from community_directory.web.workspace.story import group_changes, tell
from community_directory.web.workspace.story_texts import CHANGED_THINGS, KIND_RANKS
from tests.tables import rows

NOW = datetime.now(UTC)


def make_visit(language: str = "en", root: str = "") -> Visit:
    return Visit(Request({"type": "http", "root_path": root}), find_translation(language))


async def read_log(directory: asyncpg.Pool) -> list[Change]:
    """Return all entries of the log, newest first."""
    return [
        Change.from_record(record)
        for record in await directory.fetch(
            f"SELECT {CHANGE_COLUMNS} FROM directory_audit_log ORDER BY changed_at DESC, id DESC"
        )
    ]


def plain(text: str) -> str:
    return re.sub("<[^>]+>", "", text)


async def tell_new(
    directory: asyncpg.Pool, about: str | None = None, language: str = "en"
) -> list[str]:
    """Return the lines of everything in the log, and forget it."""
    lines = await tell(make_visit(language), await read_log(directory), about=about)
    await directory.execute("TRUNCATE directory_audit_log")
    return [plain(line.text) for line in lines]


@pytest.fixture
async def people(directory: asyncpg.Pool) -> None:
    """Ana (#1) and Bea (#2) are active, and Carla (#3) waits; the log is empty."""
    for name, status in (("Ana", "active"), ("Bea", "active"), ("Carla", "pending")):
        await rows.member(
            directory,
            name=name,
            status=status,
            telegram_id="1001" if name == "Ana" else str(ord(name[0])),
        )
    await directory.execute("TRUNCATE directory_audit_log")


async def test_what_managers_do_to_a_member_is_told_in_words(
    directory: asyncpg.Pool, people: None
) -> None:
    until = NOW + timedelta(days=9)
    day = find_translation("en").format_short_date(until)
    told: list[tuple[str, str]] = []

    async def expect(text: str, about: str) -> None:
        entries = await read_log(directory)
        [line] = await tell(make_visit(), entries)
        [own] = await tell(make_visit(), entries, about="#3")
        told.append((plain(line.text), plain(own.text)))
        assert told[-1] == (text, about)
        await directory.execute("TRUNCATE directory_audit_log")

    await members.set_status("#3", "active", actor="Irene", reason="met in Lima")
    await expect("Irene approved Carla", "Irene approved them")
    await members.set_status("#3", "suspended", actor="Irene", until=until)
    await expect(f"Irene suspended Carla until {day}", f"Irene suspended them until {day}")
    await members.set_status("#3", "suspended", actor="Irene")
    await expect("Irene suspended Carla without an end", "Irene suspended them without an end")
    await members.set_status("#3", "active", actor="#1")
    await expect("Ana ended the suspension of Carla", "Ana ended the suspension")
    await permissions.grant("#3", "review", actor="command:grant")
    await expect(
        "Somebody at the command line gave Carla the permission “review”",
        "Somebody at the command line gave them the permission “review”",
    )
    await members.set_status("#3", "banned", actor="Irene")  # takes the permission, too
    await expect("Irene banned Carla", "Irene banned them")
    await members.set_status("#3", "active", actor="Irene")
    await expect("Irene lifted the ban of Carla", "Irene lifted the ban")
    await members.remove("#3", actor="#3")
    await expect("Carla left", "Left")
    await members.restore("#3", actor="Irene")
    await expect("Irene restored Carla", "Irene restored them")
    await members.mark_bot("#3", actor="Irene")
    await expect("Irene marked Carla as a bot", "Irene marked them as a bot")
    await notes.add("#3", "Would like to mentor.", actor="Irene")
    await expect("Irene wrote a note about Carla", "Irene wrote a note")
    await requests.ask("#3", RequestKind.ERASURE, actor="#3")
    await expect("Carla asked for the erasure of their data", "Asked for the erasure of their data")
    await requests.resolve("#3", RequestKind.ERASURE, actor="Irene")
    await expect("Irene settled the request of Carla", "Irene settled the request")
    await members.dismiss_suggestion("#2", "#3", actor="Irene")
    entries = await read_log(directory)
    [own] = await tell(make_visit(), [e for e in entries if e.member_id == "#3"], about="#3")
    assert plain(own.text) == "Irene noted that Bea is somebody else"
    await directory.execute("TRUNCATE directory_audit_log")
    await members.erase("#3", actor="Irene")
    await expect(
        "Irene erased the personal data of Erased member", "Irene erased the personal data"
    )


async def test_the_detail_is_the_reason_and_on_the_page_of_a_person_the_note(
    directory: asyncpg.Pool, people: None
) -> None:
    await members.set_status("#3", "active", actor="Irene", reason="met \u202ein Lima")
    await notes.add("#3", "Would like to mentor.", actor="Irene")
    entries = await read_log(directory)
    assert [line.detail for line in await tell(make_visit(), entries)] == [None, "“met in Lima”"]
    assert [line.detail for line in await tell(make_visit(), entries, about="#3")] == [
        "“Would like to mentor.”",
        "“met in Lima”",
    ]


async def test_changes_of_a_profile_are_told_with_their_values(
    directory: asyncpg.Pool, people: None
) -> None:
    await members.update_profile("#1", country="Chile", actor="Irene")
    await members.update_profile("#1", country="Peru", actor="telegram:1001")
    await members.update_profile("#1", country=None, actor="#2")
    await members.update_profile("#1", name="Ana María", organization="ACME", actor="Irene")
    await members.update_profile("#1", profile_data={"a": 1}, actor="Irene")
    entries = await read_log(directory)
    assert [plain(line.text) for line in await tell(make_visit(), entries)] == [
        "Irene changed the other data of Ana María",
        "Irene changed the name and the organization of Ana María",
        "Bea removed the country of Ana María, Peru",
        "Ana María changed the country from Chile to Peru",
        "Irene set the country of Ana María to Chile",
    ]
    spanish = await tell(make_visit("es"), entries, about="#1")
    assert plain(spanish[3].text) == "Ana María cambió el país de Chile a Perú"


async def test_a_member_joins_by_an_invitation_in_one_line(
    directory: asyncpg.Pool, people: None
) -> None:
    invitation = await invitations.create(created_by="#1", telegram_username="dora_d")
    await directory.execute("TRUNCATE directory_audit_log")
    await invitations.redeem(
        invitation.invitation_code,
        telegram_id="77",
        telegram_username="dora_d",
        name="Dora",
        primary_role="developer",
    )
    entries = await read_log(directory)
    [line] = await tell(make_visit(), entries)
    assert plain(line.text) == "Dora joined by an invitation of Ana"
    assert line.state_class == "s-pending"
    assert {entry.id for entry in line.entries} == {entry.id for entry in entries}
    [own] = await tell(
        make_visit(), [entry for entry in entries if entry.member_id == "#4"], about="#4"
    )
    assert plain(own.text) == "Joined by an invitation of Ana"
    await members.add(telegram_id="78", name="Emil", primary_role="developer", status="pending")
    assert (await tell_new(directory))[0] == "Emil joined"


async def test_an_inviter_s_page_tells_what_became_of_each_invitation(
    directory: asyncpg.Pool, people: None
) -> None:
    for username in ("open", "late", "gone", "dora_d"):
        await invitations.create(created_by="#1", telegram_username=f"{username}_x")
    await directory.execute(
        "UPDATE community_invitations SET created_at = now() - interval '6 hours'"
    )
    await invitations.redeem(
        (
            await directory.fetchval(
                "SELECT invitation_code FROM community_invitations"
                " WHERE invited_telegram_username = 'dora_d_x'"
            )
        ),
        telegram_id="77",
        telegram_username="dora_d_x",
        name="Dora",
        primary_role="developer",
    )
    await directory.execute(
        "UPDATE community_invitations SET created_at = now() - interval '4 days',"
        " expires_at = now() - interval '1 day' WHERE invited_telegram_username = 'late_x'"
    )
    await invitations.expire_overdue()
    gone = await invitations.find_open_for("gone_x")
    assert gone is not None
    await invitations.cancel(gone.invitation_code, actor="Irene")
    entries = [e for e in await read_log(directory) if e.kind is not ChangeKind.OTHER]
    about = await tell(
        make_visit(), [entry for entry in entries if entry.member_id == "#1"], about="#1"
    )
    assert [plain(line.text) for line in about if "xtend" not in line.text] == [
        "Irene cancelled the invitation for @gone_x",
        "Invited Dora, who accepted after 6 hours",
        "Invited @gone_x; the invitation was cancelled",
        "Invited @late_x, who didn’t answer in 3 days",
        "Invited @open_x",
    ]
    everybody = [plain(line.text) for line in await tell(make_visit(), entries)]
    assert "The invitation for @late_x expired" in everybody
    assert "Ana invited @open_x" in everybody


async def test_the_entries_of_one_transaction_are_one_line(
    directory: asyncpg.Pool, people: None
) -> None:
    async with transaction():
        for name in ("one_a", "two_b", "three_c"):
            await invitations.create(created_by="#1", telegram_username=name, actor="Irene")
        for number in ("#2", "#1"):
            await members.set_status(number, "suspended", actor="Irene")
    lines = await tell(make_visit(), await read_log(directory))
    assert [plain(line.text) for line in lines] == [
        "Irene suspended Ana and 1 more",
        "Irene sent 3 invitations",
    ]
    assert sum(len(line.entries) for line in lines) == 5


async def test_an_act_and_its_undoing_are_a_line_each_which_leads_to_all_changes(
    directory: asyncpg.Pool, people: None
) -> None:
    await rows.member(directory, name="Dora", status="pending")
    await directory.execute("TRUNCATE directory_audit_log")
    act = await acts.apply("approve", ["#3", "#4"], actor="Irene", reason="met in Lima")
    await acts.undo(act.id, actor="Bogdan")
    undone, done = await tell(make_visit(), await read_log(directory))
    assert plain(done.text) == "Irene approved Dora and 1 more"
    assert done.link == f"/log/?act={act.id}"
    assert plain(undone.text) == "Bogdan took back the approval of Dora and 1 more"


async def test_a_program_that_works_through_a_list_is_one_line_and_people_are_not(
    directory: asyncpg.Pool, people: None
) -> None:
    for place in range(3):
        await members.add(telegram_id=str(place + 50), name="New", primary_role="x", actor="import")
    for number in ("#1", "#2"):
        await members.set_status(number, "suspended", actor="Irene")
    assert await tell_new(directory) == [
        "Irene suspended Bea",
        "Irene suspended Ana",
        "The import added New and 2 more",
    ]


async def test_counts_stand_for_the_entries_that_are_left_out(
    directory: asyncpg.Pool, people: None
) -> None:
    await members.set_status("#1", "banned", actor="Irene")
    [entry] = await read_log(directory)
    counts = {(entry.changed_at, ChangeKind.MEMBER_BANNED): 1204}
    [line] = await tell(make_visit("es"), [entry], counts=counts)
    assert plain(line.text) == "Irene expulsó a Ana y 1,203 más"


async def test_merges_accounts_and_proofs_are_told(directory: asyncpg.Pool, people: None) -> None:
    await accounts.link("#1", "discord", "123456789", username="ana.d", actor="Irene")
    assert await tell_new(directory) == ["Irene linked the account Discord ana.d to Ana"]
    await accounts.unlink("discord", "123456789", actor="telegram:1001")
    assert await tell_new(directory) == ["Ana unlinked the account Discord ana.d"]
    await members.verify_github(
        "#1", github_username="ana-gh", github_profile_data={}, actor="bot:telegram"
    )
    assert await tell_new(directory) == ["Ana proved that the GitHub account ana-gh is theirs"]
    await directory.execute(
        "UPDATE community_members SET reputation_score = 700 WHERE name = 'Ana'"
    )
    assert await tell_new(directory, about="#1") == ["Became Active Developer with 700 points"]
    await members.merge("#2", into="#1", actor="Irene")
    assert await tell_new(directory) == ["Irene merged Bea into Ana"]
    await members.unmerge("#2", actor="Irene")
    assert await tell_new(directory) == ["Irene separated Bea from Ana"]


async def test_names_actors_and_reasons_are_text(directory: asyncpg.Pool) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    await rows.member(directory, name=hostile, status="pending")
    await members.update_profile("#1", organization=hostile, actor=hostile, reason=hostile)
    [line, _] = await tell(make_visit(root="/mounted"), await read_log(directory))
    assert "<img" not in line.text
    assert line.text.count(str(escape(hostile))) == 3
    assert f'<a href="/mounted/people/1/"><bdi>{escape(hostile)}</bdi></a>' in line.text
    assert line.detail == f"“{hostile}”"
    assert not isinstance(line.detail, Markup)


values = st.none() | st.booleans() | st.integers() | st.text(max_size=80)
fields = st.sampled_from(
    ["status", "permission", "platform", "username", "is_bot", "expires_at", *CHANGED_THINGS]
)
changes_of_any_kind = st.builds(
    lambda kind, member, actor, changes, table: Change(
        id=1,
        kind=kind,
        changed_at=NOW,
        actor=actor,
        reason=None,
        action=AuditAction.UPDATE,
        table_name=table,
        row_id=uuid4(),
        member_id=member,
        invitation_id=uuid4() if kind.startswith("invitation") else None,
        changes=changes,
        act_id=None,
        undone_act_id=None,
    ),
    st.sampled_from(ChangeKind),
    st.sampled_from(["#1", "#2"]),
    st.text(min_size=1, max_size=10) | st.sampled_from(["import", "clock", "db:x", "command:x"]),
    st.dictionaries(fields, st.tuples(st.none(), st.none()) | st.tuples(values, values)),
    st.sampled_from(["community_members", "member_accounts", "a_table_to_come"]),
)


@settings(max_examples=50)
@given(entries=st.lists(changes_of_any_kind, max_size=8))
def test_each_change_is_in_one_group(entries: list[Change]) -> None:
    groups = group_changes(entries, {})
    told = [entry for group in groups for entry in (*group.entries, *group.consequences)]
    assert sorted(map(id, told)) == sorted(map(id, entries))


def test_every_kind_has_a_rank() -> None:
    assert set(KIND_RANKS) == set(ChangeKind)
