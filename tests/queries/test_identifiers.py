"""Identifiers have one spelling, and names a visible character, whichever way they are typed."""

import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.errors import InvalidInput, InvitationNotFound, MemberExists
from community_directory.queries import invitations, members
from community_directory.queries.identifiers import (
    INVISIBLE_PATTERN,
    normalize_discord_id,
    normalize_github_username,
    normalize_invitation_code,
    normalize_name,
    normalize_telegram_id,
    normalize_telegram_username,
    visible_name,
)
from tests.tables import rows

CODE = "ABCDEFGH23456789"
INVISIBLE = "\u200b\ufeff\u2060\u00ad\u200e\u3164\ufe0f"


# Telegram ids


@pytest.mark.parametrize(
    "typed",
    [1001, "1001", " 1001\n", "①００１", "\ufeff1001", "10\u200b01", "1001\u2060"],
    ids=ascii,
)
def test_a_telegram_id_has_one_spelling(typed: str | int) -> None:
    assert normalize_telegram_id(typed) == "1001"


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "0", "01001", "+1001", "-1001", "1001.0", "1.001E+03", "1,001", "1e3", "1 001"),
        *("user1001", "@ana", "ana", "t.me/ana", "tg://user?id=1001", "telegram:1001", "1" * 21),
        *("discord:", "discord:01", "discord:ana", "Discord:1", "discord: 1", "slack:U 1", ":1"),
        *(
            "erased:1",
            "banned:1",
            "½",
            "१००१",
            "user:1001",
            "https://t.me/ana",
            "id:1",
            "1001\0",
            -1001,
            0,
            10**20,
        ),
    ],
    ids=ascii,
)
def test_another_spelling_of_a_telegram_id_is_refused(typed: str | int) -> None:
    with pytest.raises(InvalidInput, match=r"^A Telegram id is a number without") as refused:
        normalize_telegram_id(typed)
    assert (refused.value.field, refused.value.code) == (
        "telegram_id",
        "member_telegram_id_format_check",
    )


@pytest.mark.parametrize("account", ["discord:123", "slack:U012AB", "matrix:@ana:example.org"])
def test_an_account_of_another_platform_has_the_platform_in_front(account: str) -> None:
    assert normalize_telegram_id(account) == account


async def test_every_helper_takes_the_same_spellings_of_an_account(
    directory: asyncpg.Pool,
) -> None:
    added = await members.add(telegram_id="１００１", name="Ana", primary_role="dev")
    assert added.telegram_id == "1001"
    with pytest.raises(MemberExists):
        await members.add(telegram_id="1001\u200b", name="Ana", primary_role="dev")
    with pytest.raises(MemberExists):
        await members.check_addable(" 1001")
    assert await members.find_by_telegram_id("\ufeff1001") == added
    assert await members.get_by_telegram_id(1001) == added
    for find in (members.find_by_telegram_id, members.get_by_telegram_id, members.check_addable):
        with pytest.raises(InvalidInput):
            await find("user1001")


# Discord ids


@pytest.mark.parametrize(
    "typed", [123, "123", " 123 ", "１２３", "<@123>", "<@!123>", "12\u200b3"], ids=ascii
)
async def test_a_discord_id_has_one_spelling(directory: asyncpg.Pool, typed: str | int) -> None:
    assert normalize_discord_id(typed) == "123"
    profile = {"bio": "hello", "discord_id": typed}
    added = await members.add(telegram_id=1, name="A", primary_role="dev", profile_data=profile)
    changed = await members.update_profile(added.member_id, profile_data=profile)
    assert added.profile_data == changed.profile_data == {"bio": "hello", "discord_id": "123"}


@pytest.mark.parametrize(
    "typed",
    ["", "0", "0123", "ana#1234", "ana", True, 0.5, {}, [], -1, 10**20, 10**5000, "1" * 999],
    ids=lambda value: ascii(value)[:9] if not isinstance(value, int) else type(value).__name__,
)
async def test_what_is_no_discord_id_is_refused(directory: asyncpg.Pool, typed: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^A Discord id is a number") as refused:
        await members.add(
            telegram_id=1, name="A", primary_role="dev", profile_data={"discord_id": typed}
        )
    assert refused.value.field == "profile_data"


# Usernames

TELEGRAM_SPELLINGS = (
    *("ana_dev", "@ana_dev", " @ana_dev\n", "＠ana_dev", "ａｎａ_dev", "\u200eana_dev\u200b"),
    *("'ana_dev'", "“@ana_dev”", "`ana_dev`", "<@ana_dev>", "(@ana_dev)", "@ana_dev.", "@ana_dev,"),
    *("t.me/ana_dev", "https://t.me/ana_dev", "http://t.me/ana_dev/", "HTTPS://T.ME/ana_dev"),
    *("https://t.me/ana_dev?text=hi", "https://t.me/ana_dev#x", "https://t.me/@ana_dev"),
    *("telegram.me/ana_dev", "https://telegram.dog/ana_dev", "https://www.t.me/ana_dev"),
    *("<https://t.me/ana_dev>", "https://t.me/ana_dev.", "ana_dev.t.me", "https://ana_dev.t.me/"),
    *("tg://resolve?domain=ana_dev", "tg:resolve?domain=ana_dev&text=a", "t\u00ad.me/ana_dev"),
    *("https://web.telegram.org/k/#@ana_dev", "https://web.telegram.org/#@ana_dev"),
)


@pytest.mark.parametrize("typed", TELEGRAM_SPELLINGS, ids=ascii)
def test_a_telegram_username_has_one_spelling(typed: str) -> None:
    assert normalize_telegram_username(typed) == "ana_dev"


@pytest.mark.parametrize(
    "typed",
    [
        *("ana dev", "ana-dev", "ana.dev", "ana@dev", "Ána", "анна", "@@ana", "@ ana", "x" * 33),
        *("''", ".", "https://t.me", "https://t.me/", "t.me", "t.me/ana/5", "t.me/s/ana"),
        *("t.me/+AbCd", "t.me/joinchat/AbCd", "t.me/c/1/2", "t.me/share?url=x", "t.me/share/url"),
        *("https://t.me/some_bot?start=ABCD", "t.me/proxy?server=x", "www.t.me", "ana\0"),
        *("https://example.org/ana", "https://xt.me/ana", "t.me.example.org/ana", "github.com/ana"),
        *("tg://resolve?phone=123", "tg://user?id=1", "https://web.telegram.org/k/#-100"),
        "ana\ud800",
    ],
    ids=ascii,
)
def test_a_text_without_a_telegram_username_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput, match=r"^A Telegram username has up to 32") as refused:
        normalize_telegram_username(typed)
    assert refused.value.field == "telegram_username"


GITHUB_SPELLINGS = (
    *(
        "ana-dev",
        "@ana-dev",
        " ana-dev\n",
        "ａｎａ-dev",
        "\u200bana-dev",
        '"ana-dev"',
    ),
    *("github.com/ana-dev", "https://github.com/ana-dev", "https://github.com/ana-dev/"),
    *("http://www.github.com/ana-dev", "https://github.com/ana-dev?tab=repositories"),
    *("HTTPS://GITHUB.COM/ana-dev", "<https://github.com/ana-dev>", "github.com/@ana-dev#readme"),
)


@pytest.mark.parametrize("typed", GITHUB_SPELLINGS, ids=ascii)
def test_a_github_username_has_one_spelling(typed: str) -> None:
    assert normalize_github_username(typed) == "ana-dev"


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "-ana",
            "ana dev",
            "ana.dev",
            "Ána",
            "x" * 40,
            "dependabot[bot]",
            "ana\u2011dev",
            "@@ana",
            "t.me/ana",
        ),
        *("https://github.com", "https://github.com/", "github.com/ana/repository", "ana@dev.org"),
        *("https://gist.github.com/ana", "https://notgithub.com/ana", "github.com/orgs/ana"),
    ],
)
def test_a_text_without_a_github_username_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput, match=r"^A GitHub username has up to 39") as refused:
        normalize_github_username(typed)
    assert refused.value.field == "github_username"


@pytest.mark.parametrize("normalize", [normalize_telegram_username, normalize_github_username])
@pytest.mark.parametrize("typed", [None, "", " ", "@", "\u200b", "\u3164\n"], ids=ascii)
def test_a_blank_username_is_none(
    normalize: Callable[[str | None], str | None], typed: str | None
) -> None:
    assert normalize(typed) is None


async def test_an_account_that_was_verified_by_a_link_is_found_again(
    directory: asyncpg.Pool,
) -> None:
    for number in (1, 2):
        await members.add(telegram_id=number, name="Ana", primary_role="dev")
    data = {"followers": 1}
    verified = await members.verify_github(
        "#1", github_username="https://github.com/ana/", github_profile_data=data
    )
    assert verified.github_username == "ana"
    with pytest.raises(MemberExists):
        await members.verify_github("#2", github_username="@ANA", github_profile_data=data)


# Invitation codes

CODE_SPELLINGS = (
    *(CODE, CODE.lower(), f" {CODE}\r\n", "ABCD EFGH 2345 6789", "ABCD-EFGH–2345—6789"),
    *("ABCD‑EFGH−2345－6789", "ABCD\u00a0EFGH\u20032345\u30006789", "ABCDEFGHー23456789"),
    *(f"{CODE}\u200b", f"\ufeff{CODE}", f"ABCD\u2060EFGH\u00ad{CODE[8:]}", f"\u200e{CODE}\ufe0f"),
    *(
        f'"{CODE}"',
        f"'{CODE}'",
        f"`{CODE}`",
        f"```{CODE}```",
        f"“{CODE}”",
        f"«{CODE}»",
        f"´{CODE}´",
    ),
    *(f"{CODE}.", f"{CODE},", f"{CODE}!", f"({CODE})", f"[{CODE}]", f"<{CODE}>", f"**{CODE}**"),
    *(f"_{CODE}_", f"||{CODE}||", f"👉 {CODE} 👈", f"…{CODE}…", "ＡＢＣＤＥＦＧＨ２３４５６７８９"),
    *(f"https://t.me/some_bot?start={CODE}", f"t.me/some_bot?start={CODE}&text=a"),
    *(f"tg://resolve?domain=some_bot&start={CODE}", f"<https://t.me/some_bot?start={CODE}>."),
    *(f"Join us: https://t.me/some_bot?start={CODE} See you!", f"/start {CODE}"),
    *(
        f"/start@some_bot {CODE}",
        f"https://t.me/some_bot/app?startapp={CODE}",
        f"https://t.me/some_bot?a=b&amp;start={CODE}#x",
    ),
    f"https://t.me/some_bot?start=%EF%BB%BF{CODE}",
    f"https://t.me/share/url?url=https%3A%2F%2Ft.me%2Fsome_bot%3Fstart%3D{CODE}%26a%3Db",
    *(f"start={CODE}", f"?start={CODE}"),
)


@pytest.mark.parametrize("typed", CODE_SPELLINGS, ids=ascii)
async def test_a_code_is_found_however_it_was_typed_or_pasted(
    directory: asyncpg.Pool, typed: str
) -> None:
    stored = await rows.invitation(directory, invitation_code=CODE)
    assert normalize_invitation_code(typed) in (CODE, CODE.lower())
    assert (await invitations.get(typed)).invitation_id == stored["invitation_id"]


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", ".", "ABCDEFG", f"{CODE}2", "ABCD.EFGH", "ÁBCDEFGH", "АBCDEFGH", "ABCD\0EFGH"),
        *("ABCDEFG\ud800", "https://t.me/some_bot?start=", "https://t.me/some_bot", "/start"),
        f"{CODE} {CODE}",
    ],
    ids=ascii,
)
async def test_a_text_without_a_code_finds_no_invitation(
    directory: asyncpg.Pool, typed: str
) -> None:
    assert normalize_invitation_code(typed) is None
    assert await invitations.find(typed) is None
    with pytest.raises(InvitationNotFound):
        await invitations.cancel(typed)


async def test_a_code_of_another_program_is_found_in_any_case(directory: asyncpg.Pool) -> None:
    lower = await rows.invitation(directory, invitation_code="0123456789abcdef")
    for typed in ("0123456789abcdef", "0123456789ABCDEF", "0123456789-Abcdef"):
        assert (await invitations.get(typed)).invitation_id == lower["invitation_id"]
    upper = await rows.invitation(directory, invitation_code="0123456789ABCDEF")
    assert (await invitations.get("0123456789abcdef")).invitation_id == lower["invitation_id"]
    for typed in ("0123456789ABCDEF", "0123456789Abcdef"):
        assert (await invitations.get(typed)).invitation_id == upper["invitation_id"]


# Names

FILLERS = (
    "\u3164\u2800\u00ad\u2062\u180e\u200b\ufeff\u115f\uffa0\u034f\u2063"
    "\ufffa\ufffc\U0001d159\U000e0041"
)


@pytest.mark.parametrize(
    "name", [*FILLERS, FILLERS, "", " ", "\n", "\t\r\n", "\u202e", "\x01"], ids=ascii
)
async def test_a_name_that_nobody_can_see_is_refused(directory: asyncpg.Pool, name: str) -> None:
    assert visible_name(name) is None
    for column, message in (("name", "The name"), ("primary_role", "The role")):
        with pytest.raises(InvalidInput, match=rf"^{message} can't be blank\.$") as refused:
            await members.add(
                telegram_id=1,
                name=name * 2 if column == "name" else "Ana",
                primary_role=name * 2 if column == "primary_role" else "dev",
            )
        assert refused.value.field == column


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" Ana  García ", "Ana  García"),
        ("Ana\nGarcía\r\n", "Ana García"),
        ("Ana\x07\x1b\u2028García\u0085", "Ana García"),
        ("\u202egp.exe\u202c", "gp.exe"),
        ("\u2067Ana\u2069\u200f\u061c", "Ana"),
        ("نیم\u200cفاصله", "نیم\u200cفاصله"),
        ("👩\u200d💻 ❤\ufe0f", "👩\u200d💻 ❤\ufe0f"),
        ("\u3164Ana", "\u3164Ana"),
    ],
    ids=ascii,
)
async def test_a_name_is_stored_on_one_line_without_controls_of_its_direction(
    directory: asyncpg.Pool, typed: str, stored: str
) -> None:
    added = await members.add(telegram_id=1, name=typed, primary_role=typed)
    assert (added.name, added.primary_role) == (stored, stored)
    changed = await members.update_profile(added.member_id, name=typed, primary_role=typed)
    assert (changed.name, changed.primary_role) == (stored, stored)


@pytest.mark.parametrize("name", ["A\0na", "A\ud800"], ids=ascii)
def test_a_name_that_postgresql_cannot_store_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="contains a character that can't be stored") as refused:
        normalize_name(name)
    assert refused.value.field == "name"
    # An import stores the name all the same.
    assert visible_name(name) in ("A na", "A")


# Any text

TEXTS = st.text(max_size=40)
IDENTIFIERS = {
    normalize_telegram_id: "member_telegram_id_format_check",
    normalize_telegram_username: "member_telegram_username_format_check",
    normalize_github_username: "member_github_username_format_check",
}


@given(text=TEXTS | st.from_regex(r"(https://t\.me/)?@?[A-Za-z0-9_:.]{0,40}", fullmatch=True))
@pytest.mark.parametrize(
    "normalize", [*IDENTIFIERS, normalize_discord_id], ids=lambda f: f.__name__
)
def test_an_identifier_in_its_one_spelling_stays_as_it_is(
    normalize: Callable[[str], str | None], text: str
) -> None:
    try:
        spelling = normalize(text)
    except InvalidInput:
        return
    assert spelling is None or normalize(spelling) == spelling
    assert spelling is None or (spelling.isascii() and spelling.isprintable())


@given(
    username=st.from_regex("[A-Za-z0-9_]{4,32}", fullmatch=True),
    before=st.sampled_from(["", "@", "t.me/", "https://t.me/", "https://telegram.me/@"]),
    marks=st.sampled_from(["", " ", '"', "`", "\n"]),
    invisible=st.text(st.sampled_from(INVISIBLE), max_size=3),
)
def test_any_username_has_one_spelling(
    username: str, before: str, marks: str, invisible: str
) -> None:
    typed = f"{marks}{before}{username[:2]}{invisible}{username[2:]}{marks}"
    if username in {"contact", "login", "proxy", "share", "socks"}:
        return
    assert normalize_telegram_username(typed) == username
    assert normalize_telegram_username(username) == username


@given(
    code=st.from_regex("[A-Za-z0-9]{8,16}", fullmatch=True),
    separators=st.text(st.sampled_from(f" -–—\u00a0\u2212\t\n{INVISIBLE}"), max_size=5),
    around=st.sampled_from(["", '"', "`", "…", "«", "*", "👍", "_"]),
)
def test_any_code_has_one_spelling(code: str, separators: str, around: str) -> None:
    typed = f"{around}{code[:3]}{separators}{code[3:]}{around}"
    assert normalize_invitation_code(typed) == code
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in code)
    assert normalize_invitation_code(wide) == code
    assert normalize_invitation_code(f"https://t.me/some_bot?start={code}.") == code


@given(name=st.text(max_size=60))
def test_any_visible_name_stays_as_it_is(name: str) -> None:
    stored = visible_name(name)
    if stored is not None:
        assert visible_name(stored) == stored
        assert not set(map(unicodedata.category, stored)) & {"Cc", "Zl", "Zp", "Cs"}


async def test_python_and_the_database_agree_on_every_character_of_a_name(
    directory: asyncpg.Pool,
) -> None:
    characters = [chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    conditions = await directory.fetch(
        """
        SELECT conname, pg_get_expr(conbin, conrelid) AS condition FROM pg_constraint
        WHERE conname IN ('member_name_visible_check', 'member_name_one_line_check')
        ORDER BY conname
        """
    )
    one_line, visible = (row["condition"] for row in conditions)
    stored = await directory.fetchval(
        f"SELECT string_agg(name, '') FROM unnest($1::text[]) AS name"
        f" WHERE ({one_line}) AND ({visible})",
        characters,
    )
    assert stored == "".join(
        character for character in characters if visible_name(character) == character
    )


def test_every_format_character_of_unicode_is_invisible_or_known_to_be_seen() -> None:
    shown = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) == "Cf" and not shown.match(character):
            assert INVISIBLE_PATTERN.fullmatch(character), hex(code)
