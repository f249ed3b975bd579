"""Invitations: the lists of them, a form for one and one for many, extend and cancel."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlencode
from uuid import UUID, uuid4

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.routing import Route

from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput, InvitationNotFound, MemberNotFound, UserError
from community_directory.queries import invitations
from community_directory.queries.filter_values import checked_choice, parse_day, parse_times
from community_directory.queries.invitations import Invitation
from community_directory.queries.members import Member
from community_directory.queries.people_filters import parse_inviters
from community_directory.queries.values import MEMBER_NUMBER_PATTERN
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus
from community_directory.web.pages import FormRefused, PageContent, Pages, Visit, clean_name
from community_directory.web.typed_members import find_member
from community_directory.web.workspace.filtered_person import FilteredPerson, find_filtered_person
from community_directory.web.workspace.invitation_batches import (
    MAX_USERNAMES,
    Answer,
    AnswerKind,
    Terms,
    change_many,
    invite_many,
    invite_one,
    split_usernames,
)
from community_directory.web.workspace.invitation_lists import (
    MAX_COUNTED,
    OPEN_SEGMENTS,
    InvitationFilters,
    Segment,
    count_invitations,
    list_invitations,
    list_inviters,
)
from community_directory.web.workspace.people_chips import describe_days

PATH = "/invitations/"
MAX_CHANGED = 100
"""The most invitations that are extended or cancelled at once; a page lists fewer."""
INVITERS = "inviters"
"""The value of `show` with which the page lists the inviters."""
SORTS = ("ends", "-ends")
"""The values of `sort`: the open invitations that end first come first, or those that end last."""
VALIDITIES = (3, 7, 14)
"""The days for which a new invitation can be open."""
EXTENSION = timedelta(days=VALIDITIES[0])
INVITER_COOKIE = "inviter"
"""The cookie with the number of the member in whose name somebody has invited last."""
COOKIE_SECONDS = 365 * 24 * 60 * 60
CREATED_TEXTS = (
    gettext_noop("Made {days}"),
    gettext_noop("Made since {day}"),
    gettext_noop("Made until {day}"),
)
"""The texts for two days of creation, for the first one alone, and for the last one alone."""

ANSWER_STATES = {
    AnswerKind.INVITED: "o-accepted",
    AnswerKind.MEMBER: "o-expired",
    AnswerKind.PENDING: "o-pending",
    AnswerKind.SUSPENDED: "s-suspended",
    AnswerKind.BANNED: "o-cancelled",
    AnswerKind.BOT: "o-cancelled",
    AnswerKind.OPEN: "o-sent",
    AnswerKind.QUOTA: "o-cancelled",
    AnswerKind.NO_USERNAME: "o-cancelled",
}
"""The classes of the dots before the answers."""

ANSWER_TEXTS = {
    AnswerKind.INVITED: gettext_noop("Invited, the link is ready"),
    AnswerKind.MEMBER: gettext_noop("A member already: {name}"),
    AnswerKind.PENDING: gettext_noop("Waits for approval already: {name}"),
    AnswerKind.SUSPENDED: gettext_noop("A member already, suspended: {name}"),
    AnswerKind.BANNED: gettext_noop("Banned: {name}. A manager has to lift the ban first."),
    AnswerKind.BOT: gettext_noop("A bot, and bots can’t join"),
    AnswerKind.OPEN: gettext_noop("Open already, by {name}; it ends {when}"),
    AnswerKind.NO_USERNAME: gettext_noop("Not a username"),
}
"""What became of a username; the quota has the text of its error."""


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page."""
    several = partial(_invite_many, pages)
    return [
        Route(PATH, pages.page(build_invitations), methods=["GET"]),
        Route(PATH, pages.act(_invite_one, again=build_invitations), methods=["POST"]),
        Route(f"{PATH}many/", pages.act(several, again=build_invitations), methods=["POST"]),
        Route(f"{PATH}change/", pages.act(_change, again=build_invitations), methods=["POST"]),
    ]


async def build_invitations(visit: Visit, answers: list[Answer] | None = None) -> PageContent:
    """Build the page.

    Args:
        visit: The request to the page.
        answers: What became of the usernames that somebody has pasted.
    """
    state = _find_state(visit)
    show = checked_choice("show", state.get("show"), (*Segment, INVITERS)) or Segment.OPEN
    sort, after = checked_choice("sort", state.get("sort"), SORTS), state.get("after")
    shown_inviters = await _find_inviters(state["inviter"]) if "inviter" in state else []
    numbers = [inviter.member_id for inviter in shown_inviters]
    number = numbers[0] if len(numbers) == 1 else None
    days = state.get("created_from"), state.get("created_to")
    several = None if len(numbers) <= 1 else numbers
    filters = InvitationFilters(number, several, *parse_times("created", *days))
    segment = Segment.OPEN if show == INVITERS else Segment(show)
    is_descending = sort == "-ends"
    default_inviter = (
        visit.typed("inviter") or number or visit.request.cookies.get(INVITER_COOKIE, "")
    )
    counts, made, quota = await asyncio.gather(
        count_invitations(filters), _find_made(visit), _describe_quota(visit, default_inviter)
    )
    inviters = page = None
    if show == INVITERS:
        inviters = await list_inviters(filters, after=after)
    else:
        page = await list_invitations(
            segment,
            filters,
            is_descending=is_descending,
            after=after,
            total=counts[segment],
        )
    variables = {
        "counts": counts,
        "segment": INVITERS if inviters else segment,
        "is_open": segment in OPEN_SEGMENTS,
        "is_descending": is_descending,
        "page": page,
        "inviters": inviters,
        "shown_inviters": shown_inviters,
        "created_from": parse_day("created_from", days[0]),
        "created_to": parse_day("created_to", days[1]),
        "created": describe_days(visit, CREATED_TEXTS, *days) if any(days) else None,
        "is_filtered": filters != InvitationFilters(),
        "state": state,
        "default_inviter": default_inviter,
        "quota": quota,
        "made": made,
        "answers": answers,
        "form_id": uuid4(),
        "validities": VALIDITIES,
        "max_usernames": MAX_USERNAMES,
        "max_counted": MAX_COUNTED,
        "address": partial(_make_address, state),
        "back": urlencode(state),
        "link_to": _link_to,
        "explain": explain,
        "states": ANSWER_STATES,
    }
    return PageContent("invitations.html", variables)


async def _find_inviters(text: str) -> list[FilteredPerson]:
    """Return the member whom a text names, or the members of several numbers with commas."""
    parts = [part.strip() for part in text.split(",")]
    names = parse_inviters(text) if all(map(MEMBER_NUMBER_PATTERN.fullmatch, parts)) else [text]
    # A number and that of a merged member can be the same person.
    return list(dict.fromkeys([await find_filtered_person(name) for name in names or []]))


def _find_state(visit: Visit) -> dict[str, str]:
    """Return the parameters of the list; a form has them in a field, and the address otherwise."""
    query = QueryParams(visit.typed("back")) if visit.form else visit.query
    names = ("show", "inviter", "created_from", "created_to", "sort", "after")
    return {name: query[name] for name in names if query.get(name)}


def _make_address(state: dict[str, str], **changes: str | None) -> str:
    """Return the address of the page with other parameters; a page of the list is left."""
    changed = {**state, "after": None, **changes}
    kept = {name: value for name, value in changed.items() if value}
    return f"?{urlencode(kept)}" if kept else "?"


def _link_to(code: str) -> str:
    """Return the link with which somebody joins, or the code if the bot's name is not known."""
    bot = load_settings().bot_username
    return f"https://t.me/{bot}?start={code}" if bot else code


async def _find_made(visit: Visit) -> Invitation | None:
    """Return the invitation that was just made, whose link the page shows to managers."""
    with suppress(ValueError, InvitationNotFound):
        if visit.may("manager"):
            return await invitations.get(invitation_id=UUID(visit.query.get("made", "")))
    return None


async def _describe_quota(visit: Visit, text: str) -> str | None:
    """Say how many invitations the inviter whom a text means can make; None if there is no limit.

    Without such an inviter, it is the number of a member whom no setting or permission gives more.
    """
    if not visit.may("manager"):
        return None
    try:
        inviter = await find_member(text, status=MemberStatus.ACTIVE)
        quota = await invitations.quota(inviter.member_id)
    except UserError:
        settings = load_settings()
        return visit.gettext(
            "A member who can’t manage can have {open} open invitations, and {weekly} new ones in "
            "{days} days, unless a setting says otherwise. Usernames beyond that are not invited.",
            open=settings.max_open_invitations,
            weekly=settings.max_weekly_invitations,
            days=invitations.QUOTA_PERIOD.days,
        )
    if quota.left is None:
        return None
    return visit.ngettext(
        "{name} can invite {number} more now: at most {open} open ones, and {weekly} new ones in "
        "{days} days. Usernames beyond that are not invited.",
        "{name} can invite {number} more now: at most {open} open ones, and {weekly} new ones in "
        "{days} days. Usernames beyond that are not invited.",
        quota.left,
        name=clean_name(inviter.name),
        number=quota.left,
        open=quota.max_open,
        weekly=quota.max_weekly,
        days=invitations.QUOTA_PERIOD.days,
    )


async def _invite_one(visit: Visit) -> Response:
    inviter = await _find_typed_inviter(visit)
    answer = await invite_one(
        visit.typed("username"),
        Terms(inviter, _parse_validity(visit), visit.user.username),
        form_id=_parse_form_id(visit),
    )
    if answer.invitation is None:
        raise FormRefused(explain(visit, answer))
    response = visit.redirect(f"{PATH}?made={answer.invitation.invitation_id}")
    _remember_inviter(response, inviter)
    return response


async def _invite_many(pages: Pages, visit: Visit) -> Response:
    usernames = split_usernames(visit.typed("usernames"))
    if not usernames:
        raise FormRefused(visit.gettext("Paste at least one username."))
    if len(usernames) > MAX_USERNAMES:
        text = visit.gettext(
            "Up to {limit} usernames can be invited at once; these are {number}.",
            limit=MAX_USERNAMES,
            number=len(usernames),
        )
        raise FormRefused(text)
    inviter = await _find_typed_inviter(visit)
    answers = await invite_many(
        usernames,
        Terms(inviter, _parse_validity(visit), visit.user.username),
        form_id=_parse_form_id(visit),
    )
    response = await pages.build(visit, partial(build_invitations, answers=answers))
    response.headers["HX-Push-Url"] = "false"
    _remember_inviter(response, inviter)
    return response


async def _change(visit: Visit) -> Response:
    """Extend or cancel the picked invitations, or that of a row."""
    action, _, row = visit.typed("do").partition(" ")
    if action not in ("extend", "cancel"):
        raise InvalidInput("There is no such act.", field="do")
    picked = [row] if row else [str(value) for value in visit.form.getlist("pick")]
    ids = [UUID(value) for value in picked if _is_uuid(value)]
    if not ids:
        raise FormRefused(visit.gettext("Pick at least one invitation."))
    if len(ids) > MAX_CHANGED:
        text = visit.gettext("Up to {limit} invitations can be changed at once.", limit=MAX_CHANGED)
        raise FormRefused(text)
    changed, refused = await change_many(
        ids, extend_by=EXTENSION if action == "extend" else None, actor=visit.user.username
    )
    if refused and not changed:
        raise refused[0]
    back = _make_address(_find_state(visit), after=QueryParams(visit.typed("back")).get("after"))
    return visit.redirect(PATH + back, notice=_describe_change(visit, action, changed, refused))


def _describe_change(visit: Visit, action: str, changed: int, refused: list[UserError]) -> str:
    ngettext = visit.ngettext
    if action == "extend":
        done = ngettext(
            "{number} invitation was extended by {days} days.",
            "{number} invitations were extended by {days} days.",
            changed,
            number=changed,
            days=EXTENSION.days,
        )
    else:
        done = ngettext(
            "{number} invitation was cancelled.",
            "{number} invitations were cancelled.",
            changed,
            number=changed,
        )
    if not refused:
        return done
    left = ngettext(
        "{number} stayed as it was: {reason}",
        "{number} stayed as they were. The first: {reason}",
        len(refused),
        number=len(refused),
        reason=visit.translation.error(refused[0]),
    )
    return f"{done} {left}"


def explain(visit: Visit, answer: Answer) -> str:
    """Return what became of a username, as a sentence."""
    if answer.error is not None:
        return visit.translation.error(answer.error)
    values = {"name": clean_name(answer.name or "")}
    if answer.expires_at is not None:
        left = answer.expires_at - datetime.now(UTC)
        values["when"] = visit.translation.format_distance(left)
    return visit.gettext(ANSWER_TEXTS[answer.kind], **values)


async def _find_typed_inviter(visit: Visit) -> Member:
    """Return the member in whose name somebody invites."""
    with suppress(MemberNotFound):
        return await find_member(visit.typed("inviter"), status=MemberStatus.ACTIVE)
    raise FormRefused(visit.gettext("Choose the member who invites them."))


def _remember_inviter(response: Response, inviter: Member) -> None:
    response.set_cookie(
        INVITER_COOKIE, inviter.member_id, max_age=COOKIE_SECONDS, httponly=True, samesite="lax"
    )


def _parse_validity(visit: Visit) -> timedelta:
    days = visit.typed("days")
    return timedelta(days=int(days) if days in map(str, VALIDITIES) else VALIDITIES[0])


def _parse_form_id(visit: Visit) -> UUID:
    """Return the id of the form, which makes it the same form when it is sent twice."""
    typed = visit.typed("id")
    return UUID(typed) if _is_uuid(typed) else uuid4()


def _is_uuid(text: str) -> bool:
    with suppress(ValueError):
        return bool(UUID(text))
    return False
