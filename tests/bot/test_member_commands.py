"""What members do in their private chat: invite, search, edit, see themselves, link accounts."""

from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import asyncpg
import pytest
from babel import Locale
from PIL import Image

from community_directory.bot.answers import join_lines, shorten
from community_directory.bot.fields import forget_suggestions
from community_directory.bot.leaderboard import forget_standings
from community_directory.bot.pictures import BACKGROUND, EMPTY, LEVELS, draw_activity, first_day
from community_directory.queries import accounts, invitations, members, permissions
from community_directory.settings import load_settings
from tests.bot.stand_in import Group, Person, Sent, Telegram
from tests.tables import rows

pytestmark = pytest.mark.usefixtures("no_background_tasks")

COMMANDS = ("invite", "directory", "profile", "me", "leaderboard", "link", "language")


@pytest.fixture(autouse=True)
def fresh_lists() -> None:
    forget_suggestions()
    forget_standings()


async def person(
    telegram: Telegram, directory: asyncpg.Pool, status: str = "active", **columns: object
) -> Person:
    """Return Ana, a member with the number #1 unless there are others."""
    columns = {"name": "Ana", "telegram_id": "1001", **columns}
    await rows.member(directory, status=status, **columns)
    return telegram.person(1001, "Ana", username="ana")


def texts(sent: list[Sent]) -> list[str]:
    return [each.text for each in sent]


# Who may do what


async def test_who_may_not_use_a_command_is_told_what_to_do(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    expected = {
        "pending": "waits for the approval",
        "suspended": "is suspended. Ask",
        "banned": "can't take part",
        "not_member": "open the link that you got",
        None: "open the link that you got",
    }
    for number, (status, sentence) in enumerate(expected.items(), start=1001):
        if status is not None:
            await rows.member(directory, status=status, telegram_id=str(number))
        somebody = telegram.person(number, "Ana")
        allowed = ("profile", "me", "link", "language") if status == "pending" else ()
        for command in COMMANDS:
            if command not in allowed:
                [told] = await somebody.says(f"/{command}")
                assert sentence in told.text, (command, status)
    assert await directory.fetchval("SELECT count(*) FROM community_invitations") == 0


async def test_help_names_the_commands_that_a_person_can_use(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    stranger = telegram.person(1002, "Eva")
    [told] = await stranger.says("/help")
    assert "/start — Join with an invitation" in told.text
    assert "/invite" not in told.text
    ana = await person(telegram, directory, "pending")
    [told] = await ana.says("/help")
    assert "/profile" in told.text
    assert "/directory" not in told.text
    await members.set_status("#1", "active", actor="Luis")
    [told] = await ana.says("/help")
    assert all(f"/{command} — " in told.text for command in (*COMMANDS, "help", "cancel"))
    assert "/pending" not in told.text
    await permissions.grant("#1", "review", actor="Luis")
    [told] = await ana.says("/help")
    assert "/pending — " in told.text
    spanish = telegram.person(1003, "Bea", language_code="es-MX")
    [told] = await spanish.says("/help")
    assert "/start — Unirte con una invitación" in told.text


async def test_the_commands_are_shown_in_both_languages(telegram: Telegram) -> None:
    await telegram.person(1001, "Ana").says("/help")
    shown = {
        call.get("language_code"): {
            each["command"]: each["description"] for each in call["commands"]
        }
        for call in telegram.calls_of("setMyCommands")
    }
    assert shown[None]["invite"] == "Invite somebody"
    assert shown["es"]["invite"] == "Invitar a alguien"
    assert shown[None].keys() == shown["es"].keys() >= {*COMMANDS, "start", "help", "cancel"}


async def test_a_command_in_a_group_leads_to_the_private_chat(
    telegram: Telegram, directory: asyncpg.Pool, group: Group
) -> None:
    ana = await person(telegram, directory)
    for text in ("/directory bees", "/me@frutero_bot", "/help@frutero_bot"):
        [told] = await ana.says(text, group)
        assert told.text.endswith("https://t.me/frutero_bot")
    for text in ("/help", "/me@other_bot", "hello"):
        assert await ana.says(text, group) == []
    stored = await directory.fetchval("SELECT count(*) FROM member_participation")
    assert stored == 6, "commands are messages, too"


# /invite


async def test_a_member_invites_and_cancels(telegram: Telegram, directory: asyncpg.Pool) -> None:
    ana = await person(telegram, directory)
    about, link, listed = await ana.says("/invite")
    [invitation] = (await invitations.list_page(created_by="#1")).items
    assert about.text.startswith("Your invitation to Community Directory for one person, until ")
    assert link.text.endswith(f"https://t.me/frutero_bot?start={invitation.invitation_code}")
    assert "You can create 9 more now." in listed.text
    _, _, listed = await ana.says("/invite @Bea")
    assert "· @Bea, until " in listed.text
    await ana.presses("Cancel @Bea")
    assert "@Bea" not in listed.text
    open_ones = await invitations.list_page(created_by="#1", status="pending")
    assert [each.invited_telegram_username for each in open_ones.items] == [None]
    await ana.presses(f"Cancel {invitation.invitation_code}")
    assert listed.text.startswith("No open invitations.")
    assert not listed.buttons


async def test_an_invitation_that_is_not_possible_is_explained(
    telegram: Telegram, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = await person(telegram, directory)
    [told] = await ana.says("/invite somebody else")
    assert "username has up to 32" in told.text
    monkeypatch.setenv("DIRECTORY_MAX_OPEN_INVITATIONS", "1")
    load_settings.cache_clear()
    await ana.says("/invite @Bea")
    [told] = await ana.says("/invite")
    assert told.text.startswith("You have 1 open invitation, and can't have more.")
    assert "Cancel @Bea" in told.buttons
    monkeypatch.setenv("DIRECTORY_MAX_OPEN_INVITATIONS", "0")
    load_settings.cache_clear()
    [told] = await ana.says("/invite")
    assert told.text.startswith("You can't invite anybody. Ask a community manager.")
    ana.user["language_code"] = "es"
    [told] = await ana.says("/invite")
    assert told.text.startswith("No puedes invitar a nadie.")


async def test_only_ones_own_invitation_is_cancelled(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    ana = await person(telegram, directory)
    *_, listed = await ana.says("/invite")
    await rows.member(directory, status="active")
    other = await invitations.create(created_by="#2")
    data = f"uninvite:{other.invitation_id.hex}"
    assert await ana.presses_data(data, listed) == []
    assert telegram.calls_of("answerCallbackQuery")[-1]["text"] == "This button is out of date."
    assert (await invitations.get(other.invitation_code)).status == "pending"


# /directory


async def test_a_search_has_pages_in_both_directions(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    ana = await person(telegram, directory)
    for number in range(20):
        await rows.member(
            directory, status="active", name=f"Bee {number}", reputation_score=100 - number
        )
    await rows.member(directory, status="pending", name="Bee Pending")
    [page] = await ana.says("/directory   bee ")
    assert page.text.startswith("🔎 bee\n20 members\n")
    assert [*page.buttons] == ["Next →"]
    seen = [page.text]
    while "Next →" in page.buttons:
        await ana.presses("Next →", page)
        seen.append(page.text)
    assert len(seen) == 3
    assert all(text.startswith("🔎 bee\n") for text in seen)
    assert all(any(f"Bee {number}\n" in text for text in seen) for number in range(20))
    assert not any("Pending" in text for text in seen)
    await ana.presses("← Previous", page)
    assert page.text == seen[1]
    await ana.presses("← Previous", page)
    assert "Bee 0\n" in page.text
    [everybody] = await ana.says("/directory")
    assert everybody.text.startswith("21 members\n")
    [nobody] = await ana.says("/directory xyz")
    assert "Nobody found." in nobody.text
    assert not nobody.buttons


async def test_a_list_shows_what_is_public(telegram: Telegram, directory: asyncpg.Pool) -> None:
    ana = await person(
        telegram,
        directory,
        primary_role="beekeeper",
        organization="Hive",
        country="Mexico",
        github_username="ana-g",
        telegram_username="ana",
    )
    [page] = await ana.says("/directory")
    assert "#1 Ana @ana\n   beekeeper · Hive · Mexico" in page.text
    assert "ana-g" not in page.text
    await members.verify_github("#1", github_username="ana-g", github_profile_data={})
    ana.user["language_code"] = "es"
    [page] = await ana.says("/directory ana")
    assert "beekeeper · Hive · México · github.com/ana-g" in page.text


async def test_a_page_of_the_longest_members_fits_into_a_message(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    ana = await person(telegram, directory)
    for number in range(8):
        await rows.member(
            directory,
            status="active",
            name="👩‍👩‍👧‍👦" * 36,
            primary_role="🇲🇽" * 25,
            organization="<b>&" * 60,
            country="😀" * 100,
            telegram_username=f"{'x' * 30}{number}",
            reputation_score=number + 1,
        )
    [page] = await ana.says("/directory")
    await ana.presses("Next →", page)
    assert "#1 Ana" in page.text
    [top] = await ana.says("/leaderboard")
    await ana.presses("Reputation", top)
    assert "You are number 9 of 9." in top.text


async def test_a_page_button_without_its_list_is_out_of_date(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    ana = await person(telegram, directory)
    [page] = await ana.says("/directory")
    for data in ("dir:AAAA", "dir:" + "x" * 60, "dir:"):
        assert await ana.presses_data(data, page) == []
    answered = telegram.calls_of("answerCallbackQuery")
    assert len(answered) == 3
    assert "Start again with the first page" in answered[0]["text"]


# /profile


async def test_a_member_edits_each_field(telegram: Telegram, directory: asyncpg.Pool) -> None:
    ana = await person(telegram, directory, "pending", organization="Hive", country="Mexico")
    [profile] = await ana.says("/profile")
    assert profile.text.startswith("#1 · pending")
    await ana.presses("✏️ Organization", profile)
    assert profile.text.startswith("Which organization")
    await ana.presses("Leave empty", profile)
    assert "Organization: —" in profile.text
    await ana.presses("✏️ Name", profile)
    [told] = await ana.says("\u200b")
    assert told.text == "The name can't be blank."
    [profile] = await ana.says("Ana María")
    assert "Name: Ana María" in profile.text
    await ana.presses("✏️ Role", profile)
    await ana.presses("founder", profile)
    await ana.presses("✏️ Country", profile)
    await ana.presses("Cancel", profile)
    member = await members.get("#1")
    assert (member.name, member.primary_role, member.organization, member.country) == (
        *("Ana María", "founder", None, "Mexico"),
    )
    assert not any(label.endswith("GitHub") for label in profile.buttons)
    log = await directory.fetchval("SELECT actor FROM directory_audit_log ORDER BY id DESC LIMIT 1")
    assert log == "telegram:1001"


async def test_an_old_button_of_a_profile_changes_nothing(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    ana = await person(telegram, directory)
    [profile] = await ana.says("/profile")
    await ana.presses("✏️ Role", profile)
    founder = profile.buttons["founder"]
    await ana.presses("Cancel", profile)
    for data in (
        founder,
        "profile:edit:github_username:0",
        "profile:empty:name:0",
        "profile:x:y:0",
    ):
        assert await ana.presses_data(data, profile) == []
        assert telegram.calls_of("answerCallbackQuery")[-1]["text"] == "This button is out of date."
    assert (await members.get("#1")).primary_role != "founder"
    await ana.presses("✏️ Role", profile)
    [told] = await ana.says("/cancel")
    assert told.text == "Cancelled."
    await ana.says("beekeeper")
    assert (await members.get("#1")).primary_role != "beekeeper"


# /me


async def test_a_member_sees_activity_reputation_and_people(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, status="active", name="Luis")
    ana = await person(telegram, directory, invited_by="#1", reputation_score=120)
    for number in range(7):
        await rows.member(directory, status="active", name=f"Bee {number}", invited_by="#2")
    for days in (0, 0, 3):
        await rows.event(
            directory, member_id="#2", occurred_at=datetime.now(UTC) - timedelta(days=days)
        )
    [told] = await ana.says("/me")
    assert told.method == "sendPhoto"
    assert "Your last 16 weeks: 3 events on 2 days." in told.text
    assert "Reputation: 120 points, Contributor." in told.text
    assert "GitHub 0, activity 0, other 120." in told.text
    assert "381 more to Active Developer." in told.text
    assert "You are number 1 of 9." in told.text
    assert "You brought in: #3 Bee 0, #4 Bee 1, #5 Bee 2, #6 Bee 3, #7 Bee 4 …" in told.text
    assert "Luis invited you." in told.text
    assert told.file is not None
    with Image.open(BytesIO(told.file)) as picture:
        assert picture.format == "PNG"
    ana.user["language_code"] = "es"
    [told] = await ana.says("/me")
    assert "Tus últimas 16 semanas: 3 eventos en 2 días." in told.text


def test_the_picture_has_a_square_for_each_day_in_its_colour() -> None:
    last, locale = date(2026, 11, 29), Locale.parse("es_419")
    for code, weekday in (("en_US", 6), ("en_GB", 0)):
        assert first_day(last, Locale.parse(code)).weekday() == weekday
    counts = {last: 10, last - timedelta(days=1): 1, first_day(last, locale): 5}
    drawn = draw_activity(counts, last, locale)
    assert len(drawn) < 20_000
    with Image.open(BytesIO(drawn)) as picture:
        pixels = picture.tobytes().hex()
        colours = {f"#{pixels[start : start + 6]}" for start in range(0, len(pixels), 6)}
        assert {BACKGROUND, EMPTY, LEVELS[0], LEVELS[1], LEVELS[3]} <= colours
        assert LEVELS[2] not in colours
    with Image.open(BytesIO(draw_activity({}, last, Locale.parse("en")))) as picture:
        assert picture.size == (618, 324)


# /leaderboard


async def test_the_leaderboard_has_three_periods(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    ana = await person(telegram, directory, reputation_score=5)
    await rows.member(directory, status="active", name="Bea", reputation_score=900)
    for days in (1, 20):
        for _ in range(3 if days == 20 else 1):
            await rows.event(
                directory, member_id="#2", occurred_at=datetime.now(UTC) - timedelta(days=days)
            )
    for _ in range(2):
        await rows.event(directory, member_id="#1", occurred_at=datetime.now(UTC))
    [top] = await ana.says("/leaderboard")
    assert "1. 👉 #1 Ana — 2\n2. #2 Bea — 1" in top.text
    await ana.presses("Month", top)
    assert "1. #2 Bea — 4\n2. 👉 #1 Ana — 2" in top.text
    await ana.presses("Reputation", top)
    assert "1. #2 Bea — 900" in top.text
    assert top.text.endswith("You are number 2 of 2.")
    # A second press changes nothing, and Telegram says so.
    await ana.presses("• Reputation", top)
    assert len(telegram.calls_of("answerCallbackQuery")) == 3
    assert telegram.sent_to(ana) == [top]


# /link


async def test_an_account_is_linked_in_both_directions(
    telegram: Telegram, directory: asyncpg.Pool
) -> None:
    ana = await person(telegram, directory)
    [told] = await ana.says("/link")
    code = told.text.partition("/link ")[2].partition("\n")[0]
    linked = await accounts.complete_link(code, platform="discord", account_id=5)
    assert linked.member_id == "#1"
    assert any(entity["type"] == "code" for entity in told.parameters["entities"])

    await members.add(telegram_id="discord:7", name="Bea", primary_role="x", status="active")
    code = (await accounts.begin_link("#2")).code
    bea = telegram.person(1002, "Bea", username="bea")
    [told] = await bea.says(f"/link {code.lower()}")
    assert told.text == "Done: this Telegram account belongs to member #2 now."
    [told] = await bea.says("/profile")
    assert told.text.startswith("#2 · active")
    [told] = await bea.says("/link ABCDEFGH")
    assert told.text.startswith("This code is wrong or has expired.")


# Texts


def test_texts_are_cut_to_the_units_that_telegram_counts() -> None:
    assert shorten("a\nb \t c") == "a b c"
    assert shorten("x" * 61) == "x" * 59 + "…"
    assert shorten("😀" * 30) == "😀" * 30
    for text in ("😀" * 40, "😀" * 300, "\ud800" * 300, "👩‍👩‍👧‍👦" * 300, "x" * 300):
        cut = shorten(text)
        assert len(cut.encode("utf-16-le")) // 2 <= 60
        assert len(join_lines([text] * 100).encode("utf-16-le", "replace")) // 2 <= 4096


STRANGE_TEXTS = (
    *("/directory " + "x" * 5000, "/directory %_\\'\"", "/directory \u202e\u200b", "/invite @" * 9),
    *("/invite " + "😀" * 50, "/link " + "9" * 4000, "/start " + "😀" * 60, "/start  "),
    *("/me {0} %s", "/leaderboard <b>", "/profile *_`[", "😀" * 2000, "/", "//", "/start_x", " "),
)


async def test_any_text_gets_an_answer(telegram: Telegram, directory: asyncpg.Pool) -> None:
    ana = await person(telegram, directory)
    stranger = telegram.person(1002, "Eva", language_code="es")
    for text in STRANGE_TEXTS:
        assert 1 <= len(await ana.says(text)) <= 3, text
        assert len(await stranger.says(text)) == 1, text
    assert telegram.unconfirmed == []


# /language


async def test_a_member_chooses_a_language(telegram: Telegram, directory: asyncpg.Pool) -> None:
    ana = await person(telegram, directory, profile_data='{"bio": "bees"}')
    [told] = await ana.says("/language")
    assert [*told.buttons] == ["English", "Español", "As in Telegram"]
    await ana.presses("Español", told)
    assert told.text == "A partir de ahora te escribo en español."
    [told] = await ana.says("/directory xyz")
    assert told.text.startswith("🔎 xyz\nNo hay resultados.")
    assert (await members.get("#1")).profile_data == {"bio": "bees", "language": "es"}
    [told] = await ana.says("/language")
    await ana.presses("Como en Telegram", told)
    assert told.text == "I write to you in English from now on."
    assert await ana.presses_data("language:xx", told) == []
    assert (await members.get("#1")).profile_data == {"bio": "bees"}
