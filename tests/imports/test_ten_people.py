"""Ten people with three accounts each: imports, links, merges and erasures end as a plain model."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.database import transaction
from community_directory.errors import MemberExists
from community_directory.queries import accounts, members
from community_directory.settings import load_settings
from tests.imports.exports import chat, discord_channel, discord_message, message, user
from tests.imports.test_history import from_discord, from_telegram
from tests.tables import rows

PEOPLE = range(10)
FATES = (
    "linked before",
    "merged",
    "merged the other way",
    "merged and unmerged",
    "merged and erased",
    "erased",
    "left alone",
)
COUNT_EVENTS = "SELECT count(*) FROM member_participation WHERE member_id = $1"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()


def telegram_id(person: int) -> str:
    return str(1001 + person)


def discord_id(person: int) -> str:
    return str(8001 + person)


async def run_import(platform: str, order: list[int]) -> int:
    """Import a message of each person, in this order, and return the number of new contacts."""
    if platform == "telegram":
        export = chat(
            *(
                message(10 + person, **{"from": f"P{person}"}, from_id=f"user{telegram_id(person)}")
                for person in order
            )
        )
        return (await from_telegram(export)).new_contacts
    channel = discord_channel(
        *(
            discord_message(10 + person, author=user(discord_id(person), f"p{person}"))
            for person in order
        )
    )
    return (await from_discord(channel)).new_contacts


async def number_of(platform: str, account_id: str) -> str | None:
    found = await members.find_by_account(platform, account_id)
    return None if found is None else found.member_id


async def meet_fate(person: int, fate: str) -> None:
    """Do to a person, who was imported from both platforms, what their fate says."""
    telegram = await number_of("telegram", telegram_id(person))
    discord = await number_of("discord", discord_id(person))
    assert telegram is not None
    assert discord is not None
    await members.verify_github(
        telegram, github_username=f"p-{person}", github_profile_data={"id": 1 + person}
    )
    if fate == "merged the other way":
        await members.merge(telegram, into=discord, actor="eva")
    elif fate.startswith("merged"):
        await members.merge(discord, into=telegram, actor="eva")
    if fate == "merged and unmerged":
        await members.unmerge(discord, actor="eva")
    if fate.endswith("erased"):
        await members.erase(telegram, actor="eva")


def expected_members(person: int, fate: str) -> list[tuple[set[str], int]]:
    """Return the accounts and the number of events of each member that a person is."""
    telegram = {f"telegram {telegram_id(person)}", f"github {1 + person}"}
    discord = {f"discord {discord_id(person)}"}
    if fate == "merged and erased":
        return []
    if fate == "erased":
        return [(discord, 1)]
    if fate in {"merged and unmerged", "left alone"}:
        return [(telegram, 1), (discord, 1)]
    return [(telegram | discord, 2)]


@settings(
    deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    platforms=st.permutations(["telegram", "discord"]),
    orders=st.lists(st.permutations(PEOPLE), min_size=2, max_size=2),
    fates=st.permutations([*FATES, *FATES[:3]]),
)
async def test_ten_people_with_three_accounts_each_end_as_a_model_says(
    directory: asyncpg.Pool,
    key: None,
    platforms: list[str],
    orders: list[list[int]],
    fates: list[str],
) -> None:
    await directory.execute(
        "TRUNCATE community_members, directory_bots, directory_moved_rooms CASCADE"
    )
    linked = [person for person in PEOPLE if fates[person] == "linked before"]
    for person in linked:
        member = await rows.member(directory, telegram_id=telegram_id(person), name=f"P{person}")
        await accounts.link(member["member_id"], "discord", discord_id(person), actor="eva")
    for platform, order in zip(platforms, orders, strict=True):
        assert await run_import(platform, order) == len(PEOPLE) - len(linked)
    for person in PEOPLE:
        await meet_fate(person, fates[person])

    # An import of the same exports, in the other order, brings nobody back and adds nothing.
    for platform, order in zip(reversed(platforms), orders, strict=True):
        assert await run_import(platform, order) == 0
    expected = [each for person in PEOPLE for each in expected_members(person, fates[person])]
    found = await directory.fetch(
        """
        SELECT member_id, array_agg(platform || ' ' || account_id) AS accounts
        FROM member_accounts GROUP BY member_id
        """
    )
    present = [
        (sorted(row["accounts"]), await directory.fetchval(COUNT_EVENTS, row["member_id"]))
        for row in found
    ]
    assert sorted(present) == sorted((sorted(names), events) for names, events in expected)
    assert await directory.fetchval("SELECT count(*) FROM member_participation") == 20
    living = "SELECT count(*) FROM community_members WHERE deleted_at IS NULL"
    assert await directory.fetchval(living) == len(expected)


async def test_an_erasure_leaves_no_contact_of_another_platform(
    directory: asyncpg.Pool, key: None
) -> None:
    for platform in ("telegram", "discord"):
        await run_import(platform, [0])
    await members.merge("#2", into="#1", actor="eva")
    await members.erase("#1", actor="eva")
    for platform in ("telegram", "discord"):
        assert await run_import(platform, [0]) == 0
    assert await directory.fetchval("SELECT count(*) FROM member_accounts") == 0
    names = await directory.fetch("SELECT DISTINCT name FROM community_members")
    assert [name for (name,) in names] == ["Erased member"]


async def test_a_github_account_belongs_to_one_member_also_under_another_name(
    directory: asyncpg.Pool,
) -> None:
    for _ in range(2):
        await rows.member(directory)

    async def verify(number: str, username: str) -> None:
        async with transaction():
            await members.verify_github(
                number, github_username=username, github_profile_data={"id": 7}
            )

    await verify("#1", "ana")
    for username in ("ANA", "ana-renamed"):
        with pytest.raises(MemberExists):
            await verify("#2", username)
    assert await number_of("github", "7") == "#1"
