"""The forms of the panel: what a manager does to people and invitations.

The audit log keeps the manager's name and the reason. The docstring of a form's handler is the
help text that the panel shows.
"""

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from piccolo_admin.endpoints import FileResponse, FormConfig
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from community_directory.calendar import today
from community_directory.database import Statement, engine
from community_directory.errors import ConfigurationError, InvalidInput, MemberNotFound
from community_directory.imports import csv_file, members_csv
from community_directory.queries import accounts, highlights, invitations, members, reputation
from community_directory.queries.invitations import MAX_VALIDITY, Invitation
from community_directory.queries.members import Member
from community_directory.queries.values import member_number
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus
from community_directory.tables.invitations import DEFAULT_VALIDITY
from community_directory.web.admin.lookup import (
    find_label,
    find_one_invitation,
    find_one_member,
    label,
    shorten,
)
from community_directory.web.admin.router import DirectoryForm, Fields, Handler

# The groups of the menu, which shows them in the order of the forms.
REVIEW_GROUP, INVITATIONS_GROUP, PEOPLE_GROUP, DATA_GROUP = (
    "Review",
    "Invitations",
    "People",
    "Data",
)

MAX_ROLL_UP_DAYS = 366
"""The most days that one form rolls up or verifies, because a browser waits for the answer."""
MAX_LISTED_DIFFERENCES = 10

LOCK_STATUS = Statement("""
SELECT status FROM community_members WHERE member_id = :member_id AND deleted_at IS NULL
FOR NO KEY UPDATE
""")

FORMS: list[FormConfig] = []
"""All forms in the order of the menu."""


def form(
    name: str, group: str, *, superusers_only: bool = False
) -> Callable[[Handler[Fields]], Handler[Fields]]:
    """Add a handler to the panel's menu, as a form of this name."""

    def register(handler: Handler[Fields]) -> Handler[Fields]:
        FORMS.append(DirectoryForm(name, group, handler, superusers_only=superusers_only))
        return handler

    return register


def _check_filled(text: str) -> str:
    if not text:
        raise PydanticCustomError("empty", "please fill this in")
    return text


# The front end sends the text "null" as None, although it can be a name or a reason.
TypedText = Annotated[str, BeforeValidator(lambda value: "null" if value is None else value)]
ShortText = Annotated[TypedText, StringConstraints(strip_whitespace=True, max_length=255)]
RequiredText = Annotated[ShortText, AfterValidator(_check_filled)]
OptionalReason = Annotated[TypedText, StringConstraints(strip_whitespace=True, max_length=1000)]
RequiredReason = Annotated[OptionalReason, AfterValidator(_check_filled)]
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2999, 12, 31))]
ValidityDays = Annotated[int, Field(ge=1, le=MAX_VALIDITY.days)]

# The front end identifies a field by its title, so that two fields of a form need different ones.
MEMBER_TITLE = "Member: number, @username, account id, or a part of the name"
PLATFORM_TITLE = "Platform: telegram, discord, github, elizaos, or another name"
ACCOUNT_TITLE = "Id of the account on the platform"
REASON_TITLE = "Reason, for the audit log"
INVITATION_TITLE = "Invitation: its code, or the @username it is for"


class MemberFields(BaseModel):
    """The fields of a form about one member."""

    member: RequiredText = Field(title=MEMBER_TITLE)


class OptionalReasonFields(MemberFields):
    """The fields of a form about one member, for which a reason is optional."""

    reason: OptionalReason = Field(default="", title=f"{REASON_TITLE} (optional)")


class RequiredReasonFields(MemberFields):
    """The fields of a form about one member, for which a reason is required."""

    reason: RequiredReason = Field(title=REASON_TITLE)


class InviteFields(BaseModel):
    """The fields of the form that creates an invitation."""

    member: RequiredText = Field(title=f"Who invites? {MEMBER_TITLE}")
    telegram_username: ShortText = Field(
        default="", title="Telegram username of the invited person (leave empty for anybody)"
    )
    days: ValidityDays = Field(
        default=DEFAULT_VALIDITY.days, title=f"Days until it expires (1 to {MAX_VALIDITY.days})"
    )


class ExtendFields(BaseModel):
    """The fields of the form that extends an invitation."""

    invitation: RequiredText = Field(title=INVITATION_TITLE)
    days: ValidityDays = Field(
        default=DEFAULT_VALIDITY.days, title=f"Additional days (1 to {MAX_VALIDITY.days})"
    )


class CancelFields(BaseModel):
    """The fields of the form that cancels an invitation."""

    invitation: RequiredText = Field(title=INVITATION_TITLE)
    reason: OptionalReason = Field(default="", title=f"{REASON_TITLE} (optional)")


class EraseFields(MemberFields):
    """The fields of the form that erases a person."""

    number_again: RequiredText = Field(title="Their number, typed again as confirmation")


class LinkFields(MemberFields):
    """The fields of the form that links an account to a member."""

    platform: RequiredText = Field(title=PLATFORM_TITLE)
    account_id: RequiredText = Field(title=ACCOUNT_TITLE)
    username: ShortText = Field(default="", title="Username of the account (optional)")
    reason: RequiredReason = Field(title=REASON_TITLE)


class UnlinkFields(BaseModel):
    """The fields of the form that unlinks an account."""

    platform: RequiredText = Field(title=PLATFORM_TITLE)
    account_id: RequiredText = Field(title=ACCOUNT_TITLE)
    reason: RequiredReason = Field(title=REASON_TITLE)


class SpanFields(BaseModel):
    """The first and the last of several days, in the community's time zone."""

    since: Day | None = Field(
        default=None, title="First day (leave empty for the day before the last)"
    )
    until: Day | None = Field(default=None, title="Last day (leave empty for today)")


class NoFields(BaseModel):
    """The fields of a form that has only a button."""


@form("Approve a newcomer", REVIEW_GROUP)
async def approve_newcomer(data: OptionalReasonFields, actor: str) -> str:
    """Make a pending newcomer an active member."""
    member = await _set_status(
        data, MemberStatus.ACTIVE, actor, allowed_from=(MemberStatus.PENDING,)
    )
    inviter = f"; invited by {await find_label(member.invited_by)}" if member.invited_by else ""
    return f"{label(member)} is active now{inviter}."


@form("Decline a newcomer", REVIEW_GROUP)
async def decline_newcomer(data: RequiredReasonFields, actor: str) -> str:
    """Make a pending newcomer a contact again, who can be invited later."""
    member = await _set_status(data, MemberStatus.NOT_MEMBER, actor)
    return f"{label(member)} was declined and is a contact again."


@form("Invite", INVITATIONS_GROUP)
async def invite_person(data: InviteFields, actor: str) -> str:
    """Create an invitation in the name of an active member, and show the link or code to send.

    If an open invitation for the username exists, it is extended and keeps its code.
    """
    inviter = await find_one_member(data.member)
    [(now,)] = await engine.fetch("SELECT now()")
    invitation = await invitations.create(
        created_by=inviter.member_id,
        telegram_username=data.telegram_username,
        valid_for=timedelta(days=data.days),
        actor=actor,
    )
    # now() is the time of the transaction, in which a new invitation was created.
    found = "There is a new" if invitation.created_at == now else "There was already an open"
    described = await _describe_invitation(invitation)
    expires_at = _format_time(invitation.expires_at)
    return f"{found} {described}, open until {expires_at}. {_explain_sending(invitation)}"


@form("Extend an invitation", INVITATIONS_GROUP)
async def extend_invitation(data: ExtendFields, actor: str) -> str:
    """Keep an invitation open for longer, even if it has expired."""
    invitation = await find_one_invitation(data.invitation)
    invitation = await invitations.extend(
        invitation.invitation_code, valid_for=timedelta(days=data.days), actor=actor
    )
    described = await _describe_invitation(invitation)
    return f"The {described} is open until {_format_time(invitation.expires_at)}."


@form("Cancel an invitation", INVITATIONS_GROUP)
async def cancel_invitation(data: CancelFields, actor: str) -> str:
    """Withdraw an invitation. This can't be undone."""
    invitation = await find_one_invitation(data.invitation)
    invitation = await invitations.cancel(
        invitation.invitation_code, actor=actor, reason=data.reason
    )
    return f"The {await _describe_invitation(invitation)} is cancelled."


@form("Expire overdue invitations", INVITATIONS_GROUP)
async def expire_invitations_now(data: NoFields, actor: str) -> str:  # noqa: ARG001
    """Mark overdue invitations as expired now. This also happens automatically every hour."""
    count = await invitations.expire_overdue(actor=actor)
    return f"{_format_count(count, 'invitation')} marked as expired."


@form("Suspend a member", PEOPLE_GROUP)
async def suspend_member(data: RequiredReasonFields, actor: str) -> str:
    """Exclude an active member for a while. Their invitations can't be used during that time."""
    member = await _set_status(data, MemberStatus.SUSPENDED, actor)
    return f"{label(member)} is suspended now."


@form("Ban a member", PEOPLE_GROUP)
async def ban_member(data: RequiredReasonFields, actor: str) -> str:
    """Exclude anybody, even a removed member. Their invitations can't be used any more."""
    member = await _set_status(data, MemberStatus.BANNED, actor, removed=None)
    return f"{label(member)} is banned now."


@form("Reinstate a member", PEOPLE_GROUP)
async def reinstate_member(data: OptionalReasonFields, actor: str) -> str:
    """Make a suspended or banned member active again."""
    member = await _set_status(
        data,
        MemberStatus.ACTIVE,
        actor,
        allowed_from=(MemberStatus.SUSPENDED, MemberStatus.BANNED),
    )
    return f"{label(member)} is active again."


@form("Remove a member", PEOPLE_GROUP)
async def remove_member(data: OptionalReasonFields, actor: str) -> str:
    """Take a member out of every list. Nothing is deleted: “Restore a member” brings them back."""
    person = await find_one_member(data.member)
    member = await members.remove(person.member_id, actor=actor, reason=data.reason)
    return f"{label(member)} was removed."


@form("Restore a member", PEOPLE_GROUP)
async def restore_member(data: OptionalReasonFields, actor: str) -> str:
    """Bring a removed member back with the status they had."""
    person = await find_one_member(data.member, removed=True)
    member = await members.restore(person.member_id, actor=actor, reason=data.reason)
    return f"{label(member)} is back and is {_format_status(member.status)}."


@form("Mark as a bot", PEOPLE_GROUP)
async def mark_as_bot(data: OptionalReasonFields, actor: str) -> str:
    """Take a bot out of every list and count, and take its points.

    Nothing else is deleted: “Mark as a person” undoes it.
    """
    person = await find_one_member(data.member, removed=None)
    if person.is_bot:
        raise InvalidInput(f"{label(person)} is marked as a bot already.", field="member")
    member = await members.mark_bot(person.member_id, actor=actor, reason=data.reason)
    return f"{label(member)} is marked as a bot: it earns nothing, and is in no list."


@form("Mark as a person", PEOPLE_GROUP)
async def mark_as_person(data: OptionalReasonFields, actor: str) -> str:
    """Bring somebody back who was marked as a bot by mistake, with their points."""
    person = await find_one_member(data.member, removed=None)
    if not person.is_bot:
        raise InvalidInput(f"{label(person)} is not marked as a bot.", field="member")
    member = await members.mark_bot(person.member_id, False, actor=actor, reason=data.reason)
    return (
        f"{label(member)} is a person again. The next roll-up, which runs every night, gives back "
        "the points of the highlights."
    )


@form("Link an account", PEOPLE_GROUP)
async def link_account(data: LinkFields, actor: str) -> str:
    """Give a member another account, for example on Discord, if you know that it is theirs.

    On Discord, the id is a number: turn on the developer mode, then choose “Copy User ID”.
    """
    person = await find_one_member(data.member)
    linked = await accounts.link(
        person.member_id,
        data.platform.lower(),
        data.account_id,
        username=data.username,
        actor=actor,
        reason=data.reason,
    )
    return (
        f"The {_describe_account(linked.platform, linked.account_id)} belongs to {label(person)}."
    )


@form("Unlink an account", PEOPLE_GROUP)
async def unlink_account(data: UnlinkFields, actor: str) -> str:
    """Take an account away from its member. What it did stays with the member."""
    platform = data.platform.lower()
    if not await accounts.unlink(platform, data.account_id, actor=actor, reason=data.reason):
        raise InvalidInput("Nobody has this account. Check the platform and the id.")
    return f"The {_describe_account(platform, data.account_id)} belongs to nobody now."


@form("Show who invited a member", PEOPLE_GROUP)
async def show_inviters(data: MemberFields, actor: str) -> str:  # noqa: ARG001  nothing is changed
    """Show the chain of invitations from the first member to this one."""
    person = await find_one_member(data.member, removed=None)
    nodes = await invitations.lineage(person.member_id)
    if len(nodes) == 1:
        return f"{label(person)} was invited by nobody."
    return " → ".join(label(node) for node in reversed(nodes))


@form("Explain a reputation", PEOPLE_GROUP)
async def explain_reputation(data: MemberFields, actor: str) -> str:  # noqa: ARG001
    """Show the parts of a member's score and the points that the next tier needs."""
    person = await find_one_member(data.member)
    if person.is_bot:
        return f"{label(person)} is marked as a bot, and bots earn nothing."
    score = await reputation.explain(person.member_id)
    parts = {f"GitHub {name.replace('_', ' ')}": points for name, points in score.github.items()}
    parts |= {"daily highlights": score.earned, "other": score.other}
    listed = ", ".join(f"{name} {points:,}" for name, points in parts.items() if points)
    points = _format_count(score.score, "point")
    next_tier = (
        f"{_format_count(score.missing, 'point')} to {score.next_tier}"
        if score.next_tier
        else "the highest tier"
    )
    made_of = listed or "none so far"
    missing = ", ".join(name.replace("_", " ") for name in score.github_not_found)
    hint = f" The GitHub data has no count of: {missing}." if missing else ""
    return f"{label(person)} has {points} ({made_of}) and is {score.tier}: {next_tier}.{hint}"


@form("Roll up highlights", DATA_GROUP)
async def roll_up_days(data: SpanFields, actor: str) -> str:
    """Count the daily highlights and their points again from the events.

    This also happens automatically every night.
    """
    since, until = _resolve_days(data)
    written = await highlights.roll_up(since, until=until, actor=actor)
    return f"{_format_count(written, 'highlight')} written for {since} to {until}."


@form("Verify highlights", DATA_GROUP)
async def verify_days(data: SpanFields, actor: str) -> str:  # noqa: ARG001  nothing is changed
    """Compare the daily highlights with the events. Nothing is changed."""
    since, until = _resolve_days(data)
    differences = await highlights.verify(since, until=until)
    if not differences:
        return f"Every highlight from {since} to {until} agrees with the events."
    listed = ", ".join(
        f"{found.member_id} on {found.highlight_date}"
        for difference in differences[:MAX_LISTED_DIFFERENCES]
        if (found := difference.stored or difference.counted)
    )
    more = len(differences) - MAX_LISTED_DIFFERENCES
    rest = f" and {more:,} more" if more > 0 else ""
    verb = "differs" if len(differences) == 1 else "differ"
    return (
        f"{_format_count(len(differences), 'highlight')} {verb} from the events: {listed}{rest}. "
        "Use the form “Roll up highlights” to correct this."
    )


@form("Download members as CSV", DATA_GROUP)
async def download_members(data: NoFields, actor: str) -> FileResponse:  # noqa: ARG001
    """Download all members except removed ones and bots, as a file for a spreadsheet program."""
    file = io.BytesIO()
    text = io.TextIOWrapper(file, encoding=csv_file.CSV_ENCODING, newline="")
    await members_csv.write_members(text)
    text.detach()
    return FileResponse(file, f"members-{today()}.csv", "text/csv")


@form("Export a person", DATA_GROUP, superusers_only=True)
async def export_person(data: MemberFields, actor: str) -> FileResponse:  # noqa: ARG001
    """Download everything that is stored about a person as a JSON file, to give it to them.

    A removed person can be exported too. For superusers only.
    """
    person = await find_one_member(data.member, removed=None)
    stored = await members.export(person.member_id)
    contents = json.dumps(stored, ensure_ascii=False, indent=2).encode()
    return FileResponse(
        io.BytesIO(contents), f"member-{person.member_id[1:]}.json", "application/json"
    )


@form("Erase a person", DATA_GROUP, superusers_only=True)
async def erase_person(data: EraseFields, actor: str) -> str:
    """Delete a person's data from the directory and the audit log. This can't be undone.

    Counts of their activity are kept, and a banned person stays banned. For superusers only.
    """
    person = await find_one_member(data.member, removed=None)
    if member_number(data.number_again) != person.member_id:
        raise InvalidInput(
            f"Nothing was erased. To erase {label(person)}, "
            f"type {person.member_id} as confirmation."
        )
    try:
        await members.erase(person.member_id, actor=actor)
    except ConfigurationError as error:
        # A superuser has to read which setting is missing. The message that is safe for anybody
        # asks to try again later, which would not help.
        raise InvalidInput(str(error)) from error
    return f"{person.member_id} was erased."


async def _set_status(
    data: OptionalReasonFields | RequiredReasonFields,
    status: MemberStatus,
    actor: str,
    *,
    allowed_from: tuple[MemberStatus, ...] | None = None,
    removed: bool | None = False,
) -> Member:
    """Change the status of the one member whom the form means.

    Args:
        data: The fields of the form.
        status: The new status.
        actor: The manager.
        allowed_from: The statuses that the form accepts, if the directory's rules accept more.
        removed: Whether to search among the present members (False), the removed ones (True) or
            all (None).

    Raises:
        InvalidInput: Several members match, or the form doesn't accept the present status.
        UserError: Nobody matches, or the directory's rules refuse the change.
    """
    person = await find_one_member(data.member, removed=removed)
    if allowed_from is not None:
        # The lock keeps the status as it is until the transaction ends.
        records = await engine.fetch(LOCK_STATUS, member_id=person.member_id)
        if not records:
            raise MemberNotFound(person.member_id)
        before = MemberStatus(records[0]["status"])
        if before not in allowed_from:
            allowed = " or ".join(map(_format_status, allowed_from))
            raise InvalidInput(
                f"{label(person)} is {_format_status(before)}. "
                f"This form is only for members who are {allowed}.",
                field="member",
            )
    return await members.set_status(person.member_id, status, actor=actor, reason=data.reason)


def _resolve_days(data: SpanFields) -> tuple[date, date]:
    """Return the first and the last day of a span.

    Raises:
        InvalidInput: The span is longer than `MAX_ROLL_UP_DAYS`.
    """
    until = data.until or today()
    since = data.since or until - timedelta(days=1)
    if (until - since).days >= MAX_ROLL_UP_DAYS:
        raise InvalidInput(
            f"Choose at most {MAX_ROLL_UP_DAYS} days. "
            "For more, ask the operator to run the command roll_up_highlights."
        )
    return since, until


async def _describe_invitation(invitation: Invitation) -> str:
    username = invitation.invited_telegram_username
    invited = f"@{shorten(username)}" if username else "anybody"
    inviter = await find_label(invitation.created_by)
    return f"invitation {invitation.invitation_code} of {inviter} for {invited}"


def _describe_account(platform: str, account_id: str) -> str:
    return f"{shorten(platform)} account {shorten(account_id)}"


def _explain_sending(invitation: Invitation) -> str:
    code, bot = invitation.invitation_code, load_settings().bot_username
    if bot:
        return f"Send this link: https://t.me/{bot}?start={code}"
    return f"Send this code: {code} (set DIRECTORY_BOT_USERNAME to get a link here)."


def _format_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _format_status(status: MemberStatus) -> str:
    return status.replace("_", " ")


def _format_count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
