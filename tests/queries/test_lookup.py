"""A member is found by whatever names them: a number, an account, a username or a link."""

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.database import transaction
from community_directory.errors import AmbiguousMember, InvalidInput, MemberNotFound
from community_directory.queries import accounts, members
from community_directory.queries.lookup import parse_member_key
from community_directory.queries.values import member_number
from tests.tables import rows

ENTITY = "b850bc30-45f8-0041-a00a-83df46d8555d"


async def merge(directory: asyncpg.Pool, duplicate: str, into: str) -> None:
    """Make a member a tombstone as a merge does, with plain SQL."""
    await directory.execute(
        """
        UPDATE community_members SET merged_into = $2, deleted_at = now(), github_verified = false,
            telegram_id = 'merged:' || id WHERE member_id = $1
        """,
        duplicate,
        into,
    )
    await directory.execute(
        "UPDATE member_accounts SET member_id = $2 WHERE member_id = $1", duplicate, into
    )


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> str:
    """Add #1, who has an account on each platform, and #2, who has nothing in common with her."""
    await rows.member(
        directory,
        telegram_id="1001",
        telegram_username="Ana_Garcia",
        github_username="Ana-Dev",
        github_verified=True,
        github_verified_at=await directory.fetchval("SELECT now()"),
        github_profile_data={"id": 583231},
    )
    await rows.member(directory, telegram_id="1002", telegram_username="bo", name="Bo")
    await accounts.link("#1", "discord", "5", username="ana.garcia", actor="luis")
    await accounts.link("#1", "elizaos", ENTITY, actor="luis")
    return "#1"


@pytest.mark.parametrize(
    "text",
    [
        *("#1", "1", 1, " #1 ", "＃１", "\u200b#1", "1\n", "#1,", "(#1)", "“#1”.", "1."),
        *("1001", 1001, "telegram:1001", "tg://user?id=1001"),
        *("Telegram:1001", "tg://openmessage?user_id=1001", "https://web.telegram.org/a/#1001"),
        *("telegram:ana_garcia", "telegram:@Ana_Garcia", "telegram:t.me/ana_garcia"),
        *("@ana_garcia", "@Ana_Garcia", "ana_garcia", "＠ana_garcia", "“@ana_garcia”"),
        *("t.me/ana_garcia", "https://t.me/Ana_Garcia", "ana_garcia.t.me"),
        *("tg://resolve?domain=ana_garcia", "https://web.telegram.org/k/#@ana_garcia"),
        *("discord:5", "<@5>", "<@!5>", "https://discord.com/users/5", "discord.com/users/5/"),
        *("Discord:5", "<@5>,", "https://canary.discord.com/users/5", "discord://-/users/5"),
        *("https://discord.com/users/5?x=1", "discord:ana.garcia", "discord:@Ana.Garcia"),
        *("@ana.garcia", "ana.garcia"),
        *("github.com/ana-dev", "https://github.com/Ana-Dev/", "github:583231"),
        *("github:ana-dev", "GitHub:Ana-Dev", "github:@ana-dev", "github:github.com/ana-dev"),
        *(ENTITY, ENTITY.upper(), f"elizaos:{ENTITY}"),
    ],
)
async def test_a_member_is_resolved_by_every_spelling(
    directory: asyncpg.Pool, ana: str, text: str | int
) -> None:
    assert (await members.resolve(text)).member_id == ana


@pytest.mark.parametrize(
    "text",
    [
        *("#99", "99", 0, -1, "#01", "007", "", " ", "@", "@@ana_garcia", "#", "Ana García"),
        *("discord:6", "<@6>", "discord:ana", "t.me/joinchat/ana_garcia", "https://example.org"),
        *("github.com/ana_garcia", "t.me/ana-dev", "t.me/ana.garcia", "banned:1", "erased:1"),
        *("00000000-0000-0000-0000-000000000000", "x" * 255, 10**25, "a b", "tg:1001"),
    ],
)
async def test_a_text_that_names_nobody_is_refused(
    directory: asyncpg.Pool, ana: str, text: str | int
) -> None:
    with pytest.raises(MemberNotFound):
        await members.resolve(text)


@pytest.mark.parametrize(
    "value", [None, 1.0, True, b"#1", ["#1"], "x" * 256, pytest.param(10**5000, id="huge")]
)
async def test_a_value_of_another_type_or_length_is_refused(
    directory: asyncpg.Pool, value: object
) -> None:
    with pytest.raises(InvalidInput):
        await members.resolve(value)  # type: ignore[arg-type]


async def test_digits_that_are_a_number_and_an_account_are_ambiguous(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="2")
    await rows.member(directory, telegram_id="1002")
    with pytest.raises(AmbiguousMember, match="#1, #2") as refused:
        await members.resolve("2")
    assert refused.value.member_ids == ["#1", "#2"]
    assert (await members.resolve("#2")).telegram_id == "1002"
    assert (await members.resolve("telegram:2")).member_id == "#1"


async def test_digits_that_are_the_number_and_the_account_of_one_member_are_theirs(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="1")
    assert (await members.resolve("1")).member_id == "#1"


async def test_a_username_of_several_members_is_ambiguous(directory: asyncpg.Pool) -> None:
    for _ in range(3):
        await rows.member(directory, telegram_username="ana")
    await directory.execute("UPDATE community_members SET deleted_at = now() WHERE member_id='#1'")
    for look in (members.resolve("@ana"), members.find_by_username("ANA")):
        with pytest.raises(AmbiguousMember) as refused:
            await look
        assert refused.value.member_ids == ["#2", "#3"]


async def test_nobody_can_hide_a_telegram_username_behind_another_platform(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_username="ana")
    await rows.member(directory)
    await accounts.link("#2", "discord", "5", username="ana", actor="luis")
    assert (await members.resolve("@ana")).member_id == "#1"
    assert found_number(await members.find_by_username("ana", "discord")) == "#2"
    await members.set_username("#1", None)
    assert (await members.resolve("@ana")).member_id == "#2"
    assert await members.find_by_username("ana") is None


def found_number(member: members.Member | None) -> str | None:
    return member.member_id if member else None


async def test_a_username_that_passed_on_finds_its_new_holder(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_username="mona")
    await rows.member(directory)
    await members.set_username("#2", "mona")
    assert (await members.resolve("@mona")).member_id == "#2"
    assert found_number(await members.find_by_username("mona")) == "#2"


async def test_a_verified_github_account_comes_before_one_that_is_only_stated(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, github_username="ana-dev")
    assert (await members.resolve("github.com/ana-dev")).member_id == "#1"
    await rows.member(directory)
    await members.verify_github("#2", github_username="Ana-Dev", github_profile_data={})
    assert (await members.resolve("github.com/ana-dev")).member_id == "#2"
    assert found_number(await members.find_by_username("ana-dev", "github")) == "#2"


async def test_digits_in_a_link_to_github_are_a_username_and_no_number(
    directory: asyncpg.Pool, ana: str
) -> None:
    with pytest.raises(MemberNotFound):
        await members.resolve("github.com/583231")
    await members.verify_github("#2", github_username="583231", github_profile_data={"id": 9})
    assert (await members.resolve("github.com/583231")).member_id == "#2"
    assert (await members.resolve("github:583231")).member_id == ana


async def test_a_merged_number_leads_to_the_other_member(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1001")
    await rows.member(directory, telegram_id="discord:5", telegram_username="bo")
    await merge(directory, "#2", into="#1")
    for look in (members.get("#2"), members.find(2), members.resolve("#2"), members.resolve("2")):
        assert found_number(await look) == "#1"
    for other in (
        members.resolve("<@5>"),
        members.find_by_account("discord", 5),
        members.get_by_telegram_id("discord:5"),
        members.find_by_telegram_id("discord:5"),
    ):
        assert found_number(await other) == "#1"
    assert await members.find_by_username("bo") is None
    await members.remove("#1", actor="luis")
    assert await members.find("#2") is None
    with pytest.raises(MemberNotFound):
        await members.resolve("#2")


async def test_a_second_telegram_account_finds_its_member(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1001")
    await accounts.link("#1", "telegram", 1002, username="second", actor="luis")
    assert (await members.get_by_telegram_id(1002)).member_id == "#1"
    assert found_number(await members.find_by_telegram_id("1002")) == "#1"
    assert (await members.resolve("@second")).member_id == "#1"


async def test_an_account_that_is_only_stated_finds_its_member(directory: asyncpg.Pool) -> None:
    await rows.member(directory, profile_data={"discord_id": "5"})
    assert found_number(await members.find_by_account("discord", "<@5>")) == "#1"
    assert (await members.resolve("discord:5")).member_id == "#1"


async def test_a_removed_member_is_not_found_by_their_account(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1001", telegram_username="ana")
    await members.remove("#1", actor="luis")
    assert await members.find_by_account("telegram", "1001") is None
    assert await members.find_by_telegram_id("1001") is None
    for text in ("#1", "1001", "@ana"):
        with pytest.raises(MemberNotFound):
            await members.resolve(text)


@pytest.mark.parametrize(
    ("platform", "account_id"),
    [("Discord", "5"), ("", "5"), ("x" * 51, "5"), ("discord", "05"), ("elizaos", "ana"), (1, "5")],
)
async def test_a_malformed_account_is_refused(
    directory: asyncpg.Pool, platform: str, account_id: str
) -> None:
    with pytest.raises(InvalidInput):
        await members.find_by_account(platform, account_id)


@pytest.mark.parametrize(
    ("username", "platform"),
    [("a b", "telegram"), ("a b", "discord"), ("ana", "T"), ("a\0", "discord"), (5, "discord")],
)
async def test_a_malformed_username_is_refused(
    directory: asyncpg.Pool, username: str, platform: str
) -> None:
    with pytest.raises(InvalidInput):
        await members.find_by_username(username, platform)


async def test_a_blank_username_is_nobodys(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    for platform in ("telegram", "discord", "github"):
        assert await members.find_by_username("@", platform) is None


@pytest.mark.parametrize("typed", [247, "247", "#247", " 247", "\t#247\n"])
def test_a_number_has_one_spelling(typed: str | int) -> None:
    assert member_number(typed) == "#247"


@pytest.mark.parametrize(
    "typed", ["", "#", "0", "#0247", "# 247", "24 7", "#247a", "1" * 20, "٢٤٧"]
)
def test_another_text_is_no_number(typed: str) -> None:
    assert member_number(typed) == typed


@given(st.integers(1, 10**19 - 1), st.sampled_from(["", "#", " ", " #", "\u200b#"]))
def test_any_number_is_parsed(number: int, prefix: str) -> None:
    key = parse_member_key(f"{prefix}{number}")
    assert key is not None
    assert key.number == f"#{number}"


@given(st.text() | st.from_regex(r"[@#<:/.\w]*", fullmatch=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_text_is_resolved_or_refused(directory: asyncpg.Pool, text: str) -> None:
    async with transaction():  # one connection for all
        with pytest.raises((MemberNotFound, InvalidInput)):
            async with transaction():
                await members.resolve(text)
