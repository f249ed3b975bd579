"""The forms of the panel, for what the pages of the workspace don't have.

The audit log keeps the manager's name and the reason. The docstring of a form's handler is the
help text that the panel shows.
"""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Annotated

from piccolo_admin.endpoints import FormConfig
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from community_directory.calendar import today
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries import highlights, members
from community_directory.queries.members import Member
from community_directory.web.admin.router import DirectoryForm, Fields, Handler

# The groups of the menu, which shows them in the order of the forms.
BOTS_GROUP, HIGHLIGHTS_GROUP = "Bots", "Highlights"

MAX_ROLL_UP_DAYS = 366
"""The most days that one form rolls up or verifies, because a browser waits for the answer."""
MAX_LISTED_DIFFERENCES = 10

FORMS: list[FormConfig] = []
"""All forms in the order of the menu."""


def form(name: str, group: str) -> Callable[[Handler[Fields]], Handler[Fields]]:
    """Add a handler to the panel's menu, as a form of this name."""

    def register(handler: Handler[Fields]) -> Handler[Fields]:
        FORMS.append(DirectoryForm(name, group, handler))
        return handler

    return register


def _check_filled(text: str) -> str:
    if not text:
        raise PydanticCustomError("empty", "please fill this in")
    return text


# The front end sends the text "null" as None, although it can be a username or a reason.
TypedText = Annotated[str, BeforeValidator(lambda value: "null" if value is None else value)]
ShortText = Annotated[TypedText, StringConstraints(strip_whitespace=True, max_length=255)]
RequiredText = Annotated[ShortText, AfterValidator(_check_filled)]
OptionalReason = Annotated[TypedText, StringConstraints(strip_whitespace=True, max_length=1000)]
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2999, 12, 31))]


class MemberFields(BaseModel):
    """The fields of a form about one member."""

    member: RequiredText = Field(title="Member: number, @username or account id")
    reason: OptionalReason = Field(default="", title="Reason, for the audit log (optional)")


class SpanFields(BaseModel):
    """The first and the last of several days, in the community's time zone."""

    since: Day | None = Field(
        default=None, title="First day (leave empty for the day before the last)"
    )
    until: Day | None = Field(default=None, title="Last day (leave empty for today)")


@form("Mark as a bot", BOTS_GROUP)
async def mark_as_bot(data: MemberFields, actor: str) -> str:
    """Take a bot out of every list and count, and take its points.

    Nothing else is deleted: “Mark as a person” undoes it.
    """
    member = await members.resolve(data.member)
    if member.is_bot:
        raise InvalidInput(f"{_label(member)} is marked as a bot already.", field="member")
    await members.mark_bot(member.member_id, actor=actor, reason=data.reason)
    return f"{_label(member)} is marked as a bot: it earns nothing, and is in no list."


@form("Mark as a person", BOTS_GROUP)
async def mark_as_person(data: MemberFields, actor: str) -> str:
    """Bring somebody back who was marked as a bot by mistake, with their points."""
    member = await members.resolve(data.member)
    if not member.is_bot:
        raise InvalidInput(f"{_label(member)} is not marked as a bot.", field="member")
    await members.mark_bot(member.member_id, False, actor=actor, reason=data.reason)
    return (
        f"{_label(member)} is a person again. The next roll-up, which runs every night, gives back "
        "the points of the highlights."
    )


@form("Roll up highlights", HIGHLIGHTS_GROUP)
async def roll_up_days(data: SpanFields, actor: str) -> str:
    """Count the daily highlights, their points and what Insights draws again from the events.

    This also happens automatically every night.
    """
    since, until = _resolve_days(data)
    written = await highlights.roll_up(since, until=until, actor=actor)
    return f"{_format_count(written)} written for {since} to {until}."


@form("Verify highlights", HIGHLIGHTS_GROUP)
async def verify_days(data: SpanFields, actor: str) -> str:  # noqa: ARG001  nothing is changed
    """Compare the highlights, and what Insights draws, with the events. Nothing is changed."""
    since, until = _resolve_days(data)
    differences = await highlights.verify(since, until=until)
    if not differences:
        return f"Every count from {since} to {until} agrees with the events."
    listed = ", ".join(_place_of(difference) for difference in differences[:MAX_LISTED_DIFFERENCES])
    more = len(differences) - MAX_LISTED_DIFFERENCES
    rest = f" and {more:,} more" if more > 0 else ""
    rows = "1 row differs" if len(differences) == 1 else f"{len(differences):,} rows differ"
    return (
        f"{rows} from the events: {listed}{rest}. "
        "Use the form “Roll up highlights” to correct this."
    )


def _place_of(difference: highlights.Difference) -> str:
    """Return where a row differs, such as "#1 on 2026-01-31 in member_daily_rooms"."""
    row = difference.row
    parts = [row.member_id, row.day and f"on {row.day}", f"in {row.table}"]
    return " ".join(part for part in parts if part)


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


def _label(member: Member) -> str:
    return f"{member.member_id} {sanitize_for_message(member.name)}"


def _format_count(number: int) -> str:
    return f"{number:,} highlight{'' if number == 1 else 's'}"
