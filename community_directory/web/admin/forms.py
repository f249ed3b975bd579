"""The panel's forms: what a manager does to people and invitations, with a reason that the audit log keeps."""

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from piccolo_admin.endpoints import FileResponse, FormConfig
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from community_directory.calendar import today
from community_directory.database import engine
from community_directory.errors import ConfigurationError, InvalidInput
from community_directory.imports import csv_file, members_csv
from community_directory.queries import highlights, invitations, members, reputation
from community_directory.queries.invitations import MAX_VALIDITY, Invitation
from community_directory.queries.member_rows import LOCK_MEMBER
from community_directory.queries.members import Member
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus
from community_directory.tables.invitations import DEFAULT_VALIDITY
from community_directory.web.admin.lookup import (
    Person,
    label,
    label_of,
    one_invitation,
    one_member,
    plain,
)
from community_directory.web.admin.router import DirectoryForm, Fields, Handler

REVIEW, INVITATIONS, PEOPLE, DATA = "Review", "Invitations", "People", "Data"

LONGEST_ROLL_UP = 366
"""The days that a form counts at the most: a browser waits for it."""
LISTED = 10
"""How many differences an answer lists at the most."""

FORMS: list[FormConfig] = []
"""All forms, in the order of the menu."""


def form(
    name: str, group: str, *, superusers_only: bool = False
) -> Callable[[Handler[Fields]], Handler[Fields]]:
    """Put a handler into the panel's menu."""

    def register(handler: Handler[Fields]) -> Handler[Fields]:
        FORMS.append(DirectoryForm(name, group, handler, superusers_only=superusers_only))
        return handler

    return register


def _filled(text: str) -> str:
    if not text:
        raise PydanticCustomError("empty", "please fill this in")
    return text


# The front end sends the word "null" as none: a person, or a reason, may be called so.
_Typed = Annotated[str, BeforeValidator(lambda value: "null" if value is None else value)]
Text = Annotated[_Typed, StringConstraints(strip_whitespace=True, max_length=255)]
Filled = Annotated[Text, AfterValidator(_filled)]
Remark = Annotated[_Typed, StringConstraints(strip_whitespace=True, max_length=1000)]
Reason = Annotated[Remark, AfterValidator(_filled)]
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2999, 12, 31))]
Days = Annotated[int, Field(ge=1, le=MAX_VALIDITY.days)]

# The front end shows a field's title and nothing else, and a form needs different ones.
MEMBER = "Member: number, @username, Telegram id, or a part of the name"
WHY = "Reason, for the audit log"
INVITATION = "Invitation: its code, or the @username it is for"


class OfMember(BaseModel):
    """A form about one member."""

    member: Filled = Field(title=MEMBER)


class WithRemark(OfMember):
    """A form about one member, with or without a reason."""

    reason: Remark = Field(default="", title=f"{WHY} (may stay empty)")


class WithReason(OfMember):
    """A form about one member that needs a reason."""

    reason: Reason = Field(title=WHY)


class Invite(BaseModel):
    """The form for a new invitation."""

    member: Filled = Field(title=f"Who invites? {MEMBER}")
    telegram_username: Text = Field(
        default="", title="Telegram username of who may use it (empty: anybody)"
    )
    days: Days = Field(
        default=DEFAULT_VALIDITY.days, title=f"Open for how many days (1 to {MAX_VALIDITY.days})"
    )


class Extend(BaseModel):
    """The form that keeps an invitation open."""

    invitation: Filled = Field(title=INVITATION)
    days: Days = Field(
        default=DEFAULT_VALIDITY.days, title=f"How many days longer (1 to {MAX_VALIDITY.days})"
    )


class Cancel(BaseModel):
    """The form that withdraws an invitation."""

    invitation: Filled = Field(title=INVITATION)
    reason: Remark = Field(default="", title=f"{WHY} (may stay empty)")


class Erase(OfMember):
    """The form that erases a person."""

    number_again: Filled = Field(title="Their number, typed again as confirmation")


class Span(BaseModel):
    """Days of the community, both included."""

    since: Day | None = Field(default=None, title="First day (empty: the day before the last)")
    until: Day | None = Field(default=None, title="Last day (empty: today)")


class Nothing(BaseModel):
    """A form that is only a button."""


@form("Approve a newcomer", REVIEW)
async def approve(data: WithRemark, actor: str) -> str:
    """A pending newcomer becomes an active member."""
    member = await _set_status(data, MemberStatus.ACTIVE, actor, of=(MemberStatus.PENDING,))
    inviter = f"; invited by {await label_of(member.invited_by)}" if member.invited_by else ""
    return f"{label(member)} is active now{inviter}."


@form("Decline a newcomer", REVIEW)
async def decline(data: WithReason, actor: str) -> str:
    """A pending newcomer becomes a contact again, and can be invited anew."""
    member = await _set_status(data, MemberStatus.NOT_MEMBER, actor)
    return f"{label(member)} was declined, and is a contact again."


@form("Invite", INVITATIONS)
async def invite(data: Invite, actor: str) -> str:
    """Make an invitation in the name of an active member, and get the code and the link to send. Whoever has an open
    invitation keeps its code: it stays open for longer."""  # noqa: D205, D209  a help text is one paragraph
    maker = await one_member(data.member)
    [(now,)] = await engine.fetch("SELECT now()")
    invitation = await invitations.create(
        created_by=maker.member_id,
        telegram_username=data.telegram_username,
        valid_for=timedelta(days=data.days),
        actor=actor,
    )
    bot = load_settings().bot_username
    code = invitation.invitation_code
    send = (
        f"Send this link: https://t.me/{bot}?start={code}"
        if bot
        else f"Send the code {code} (with the setting DIRECTORY_BOT_USERNAME there would be a link here)."
    )
    what = "There is a new" if invitation.created_at == now else "There was already an open"
    return f"{what} {await _described(invitation)}, open until {_moment(invitation.expires_at)}. {send}"


@form("Extend an invitation", INVITATIONS)
async def extend(data: Extend, actor: str) -> str:
    """Keep an invitation open for longer, also one that has expired."""
    invitation = await one_invitation(data.invitation)
    code = invitation.invitation_code
    invitation = await invitations.extend(code, valid_for=timedelta(days=data.days), actor=actor)
    return f"The {await _described(invitation)} is open until {_moment(invitation.expires_at)}."


@form("Cancel an invitation", INVITATIONS)
async def cancel(data: Cancel, actor: str) -> str:
    """Withdraw an invitation for good."""
    invitation = await one_invitation(data.invitation)
    invitation = await invitations.cancel(
        invitation.invitation_code, actor=actor, reason=data.reason
    )
    return f"The {await _described(invitation)} is cancelled."


@form("Expire overdue invitations", INVITATIONS)
async def expire_overdue(data: Nothing, actor: str) -> str:  # noqa: ARG001  the class says that there are no fields
    """Mark the invitations that are past their time as expired; each hour it happens by itself."""
    count = await invitations.expire_overdue(actor=actor)
    return f"{_count(count, 'invitation')} marked as expired."


@form("Suspend a member", PEOPLE)
async def suspend(data: WithReason, actor: str) -> str:
    """An active member may not take part for a while, and the invitations they made can't be used meanwhile."""
    return f"{label(await _set_status(data, MemberStatus.SUSPENDED, actor))} is suspended now."


@form("Ban a member", PEOPLE)
async def ban(data: WithReason, actor: str) -> str:
    """Anybody, also who was removed, is kept outside; the invitations they made can't be used."""
    return (
        f"{label(await _set_status(data, MemberStatus.BANNED, actor, removed=None))} is banned now."
    )


@form("Reinstate a member", PEOPLE)
async def reinstate(data: WithRemark, actor: str) -> str:
    """A suspended or banned member becomes active again."""
    of = (MemberStatus.SUSPENDED, MemberStatus.BANNED)
    return f"{label(await _set_status(data, MemberStatus.ACTIVE, actor, of=of))} is active again."


@form("Remove a member", PEOPLE)
async def remove(data: WithRemark, actor: str) -> str:
    """Take a member out of every list; nothing is deleted, and Restore brings them back."""
    person = await one_member(data.member)
    return f"{label(await members.remove(person.member_id, actor=actor, reason=data.reason))} was removed."


@form("Restore a member", PEOPLE)
async def restore(data: WithRemark, actor: str) -> str:
    """Bring a removed member back as they were."""
    person = await one_member(data.member, removed=True)
    member = await members.restore(person.member_id, actor=actor, reason=data.reason)
    return f"{label(member)} is back, and is {_word(member.status)}."


@form("Show who invited a member", PEOPLE)
async def lineage(data: OfMember, actor: str) -> str:  # noqa: ARG001  nothing is changed
    """The members from the first one to this one, each invited by the one before."""
    person = await one_member(data.member, removed=None)
    branches = await invitations.lineage(person.member_id)
    if len(branches) == 1:
        return f"{label(person)} was invited by nobody."
    return " → ".join(label(branch) for branch in reversed(branches))


@form("Explain a reputation", PEOPLE)
async def explain(data: OfMember, actor: str) -> str:  # noqa: ARG001  nothing is changed
    """What a score is made of, and the way to the next tier."""
    person = await one_member(data.member)
    score = await reputation.explain(person.member_id)
    parts = {f"GitHub {name.replace('_', ' ')}": points for name, points in score.github.items()}
    parts |= {"daily highlights": score.earned, "other": score.other}
    made_of = (
        ", ".join(f"{name} {points:,}" for name, points in parts.items() if points) or "nothing yet"
    )
    way = (
        f"{_count(score.missing, 'point')} to {score.next_tier}"
        if score.next_tier
        else "the highest tier"
    )
    return f"{label(person)} has {_count(score.score, 'point')} ({made_of}) and is {score.tier}: {way}."


@form("Roll up highlights", DATA)
async def roll_up(data: Span, actor: str) -> str:
    """Count the daily highlights, and the points they earn, anew from the events; each night it happens by itself."""
    since, until = _days(data)
    written = await highlights.roll_up(since, until=until, actor=actor)
    return f"{_count(written, 'highlight')} written anew, for {since} to {until}."


@form("Verify highlights", DATA)
async def verify(data: Span, actor: str) -> str:  # noqa: ARG001  nothing is changed
    """Compare the daily highlights with a recount of the events; nothing is changed."""
    since, until = _days(data)
    differences = await highlights.verify(since, until=until)
    if not differences:
        return f"From {since} to {until}, every highlight is what the events say."
    listed = ", ".join(
        f"{found.member_id} on {found.highlight_date}"
        for difference in differences[:LISTED]
        if (found := difference.stored or difference.counted)
    )
    more = f" and {len(differences) - LISTED:,} more" if len(differences) > LISTED else ""
    return f"{_count(len(differences), 'highlight')} not what the events say: {listed}{more}. Roll them up anew."


@form("Download members as CSV", DATA)
async def download_members(data: Nothing, actor: str) -> FileResponse:  # noqa: ARG001  nothing is changed
    """Everybody but the removed ones, as a file that spreadsheets open safely."""
    file = io.BytesIO()
    text = io.TextIOWrapper(file, encoding=csv_file.CSV_ENCODING, newline="")
    await members_csv.write_members(text)
    text.detach()
    return FileResponse(file, f"members-{today()}.csv", "text/csv")


@form("Export a person", DATA, superusers_only=True)
async def export(data: OfMember, actor: str) -> FileResponse:  # noqa: ARG001  nothing is changed
    """All that is stored of a person, also of a removed one, as a JSON file to hand to them. For superusers."""
    person = await one_member(data.member, removed=None)
    stored = await members.export(person.member_id)
    contents = json.dumps(stored, ensure_ascii=False, indent=2).encode()
    return FileResponse(
        io.BytesIO(contents), f"member-{person.member_id[1:]}.json", "application/json"
    )


@form("Erase a person", DATA, superusers_only=True)
async def erase(data: Erase, actor: str) -> str:
    """Take a person's data out of the directory for good, also out of the audit log; only counts stay, and a banned
    one stays outside. This can't be undone. For superusers."""  # noqa: D205, D209  a help text is one paragraph
    person = await one_member(data.member, removed=None)
    if data.number_again.removeprefix("#") != person.member_id[1:]:
        raise InvalidInput(
            f"Nothing was erased: to erase {label(person)}, type {person.member_id} again."
        )
    try:
        await members.erase(person.member_id, actor=actor)
    except ConfigurationError as error:
        # A superuser reads which setting is missing: the neutral sentence would let them try again for ever.
        raise InvalidInput(str(error)) from error
    return f"{person.member_id} was erased."


async def _set_status(
    data: WithRemark | WithReason,
    status: MemberStatus,
    actor: str,
    *,
    of: tuple[MemberStatus, ...] | None = None,
    removed: bool | None = False,
) -> Member:
    """Change a member's status; with `of` only from one of these, where the rules know other ways there, too."""
    person = await one_member(data.member, removed=removed)
    if of is not None:
        # Held, so that nobody else changes it between this look and the change.
        await engine.fetch(LOCK_MEMBER, member_id=person.member_id)
        before = (await members.get(person.member_id)).status
        if before not in of:
            raise _wrong_form(person, before, of)
    return await members.set_status(person.member_id, status, actor=actor, reason=data.reason)


def _wrong_form(person: Person, before: MemberStatus, of: tuple[MemberStatus, ...]) -> InvalidInput:
    wanted = " or ".join(map(_word, of))
    return InvalidInput(
        f"{label(person)} is {_word(before)}: this form is for who is {wanted}.", field="member"
    )


def _days(data: Span) -> tuple[date, date]:
    until = data.until or today()
    since = data.since or until - timedelta(days=1)
    if (until - since).days >= LONGEST_ROLL_UP:
        raise InvalidInput(
            f"Here {LONGEST_ROLL_UP} days at the most: the command roll_up_highlights takes more."
        )
    return since, until


async def _described(invitation: Invitation) -> str:
    username = invitation.invited_telegram_username
    whom = f"@{plain(username)}" if username else "anybody"
    return f"invitation {invitation.invitation_code} of {await label_of(invitation.created_by)} for {whom}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _word(status: MemberStatus) -> str:
    return status.replace("_", " ")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
