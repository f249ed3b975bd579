"""Tortoise ORM over asyncpg. Foreign keys are plain columns: nothing here follows them."""

from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import Any, ClassVar
from uuid import UUID

from asyncpg import UniqueViolationError
from tortoise import Tortoise, connections, fields
from tortoise.exceptions import IntegrityError
from tortoise.expressions import Q, RawSQL
from tortoise.functions import Count
from tortoise.models import Model
from tortoise.transactions import in_transaction

from benchmarks.clients.base import POOL
from benchmarks.clients.orm import ORM, PAGE, TREE, place, span
from community_directory.queries.folding import fold_needle


class Member(Model):
    """A person."""

    id = fields.UUIDField(primary_key=True)
    member_id = fields.CharField(max_length=20, unique=True, db_default="")  # a trigger assigns it
    telegram_id = fields.CharField(max_length=255, unique=True)
    telegram_username = fields.CharField(max_length=255, null=True)
    name = fields.CharField(max_length=255)
    primary_role = fields.CharField(max_length=50)
    organization = fields.CharField(max_length=255, null=True)
    country = fields.CharField(max_length=100, null=True)
    github_username = fields.CharField(max_length=255, null=True)
    github_verified = fields.BooleanField(default=False)
    github_verified_at = fields.DatetimeField(null=True)
    github_profile_data: Any = fields.JSONField(null=True)
    status = fields.CharField(max_length=20, default="not_member")
    reputation_score = fields.IntField(default=0)
    reputation_tier = fields.CharField(max_length=50, null=True, default="Novice")
    invited_by = fields.CharField(max_length=20, null=True)
    registration_fee_paid = fields.BooleanField(null=True, default=False)
    registration_fee_tx_hash = fields.CharField(max_length=255, null=True)
    profile_data: Any = fields.JSONField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)
    last_active_at = fields.DatetimeField(null=True)
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        """The table."""

        table = "community_members"


class Invitation(Model):
    """A code that lets one person in."""

    invitation_id = fields.UUIDField(primary_key=True)
    invitation_code = fields.CharField(max_length=16, unique=True)
    created_by = fields.CharField(max_length=20)
    invited_telegram_username = fields.CharField(max_length=255, null=True)
    status = fields.CharField(max_length=20, default="pending")
    expires_at = fields.DatetimeField()
    accepted_by = fields.CharField(max_length=20, null=True)
    accepted_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        """The table."""

        table = "community_invitations"


class Event(Model):
    """Something that a member did."""

    id = fields.UUIDField(primary_key=True)
    member_id = fields.CharField(max_length=20)
    event_type = fields.CharField(max_length=50)
    platform = fields.CharField(max_length=50)
    room_id = fields.CharField(max_length=255)
    event_metadata: Any = fields.JSONField(null=True)
    occurred_at = fields.DatetimeField()
    source_id = fields.CharField(max_length=255, null=True)

    class Meta:
        """The table."""

        table = "member_participation"


class Highlight(Model):
    """A member's activity on one day."""

    id = fields.UUIDField(primary_key=True)
    member_id = fields.CharField(max_length=20)
    highlight_date = fields.DateField()
    message_count = fields.IntField(null=True, default=0)
    reaction_count = fields.IntField(null=True, default=0)
    voice_minutes = fields.IntField(null=True, default=0)
    reputation_earned = fields.IntField(null=True, default=0)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        """The table."""

        table = "member_daily_highlights"
        unique_together = (("member_id", "highlight_date"),)


class Client(ORM):
    """Tortoise with its own pool."""

    versions: ClassVar = {name: version(name) for name in ("tortoise-orm", "asyncpg")}
    event: ClassVar = Event

    async def open(self, url: str) -> None:
        """Open the connections."""
        credentials = {**place(url)._asdict(), "minsize": POOL, "maxsize": POOL}
        await Tortoise.init(
            db_url=None,
            config={
                "connections": {
                    "default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}
                },
                "apps": {"models": {"models": [__name__]}},
                "use_tz": True,
            },
        )
        await connections.get("default").execute_query("SELECT 1")  # the first query opens the pool

    async def close(self) -> None:
        """Close the connections."""
        await Tortoise.close_connections()

    async def member(self, telegram_id: str) -> Member | None:
        """Return the member with this Telegram id."""
        return await Member.get_or_none(telegram_id=telegram_id, deleted_at__isnull=True)

    async def record(self, event: dict[str, Any]) -> bool:
        """Store an event once, and return whether it is new."""
        try:
            await Event.create(**event)
        except IntegrityError as error:
            if isinstance(error.__cause__, UniqueViolationError):
                return False
            raise
        return True

    async def record_many(self, events: list[Event]) -> int:
        """Store many events, and count the new ones in another statement."""
        async with in_transaction():
            await Event.bulk_create(events, ignore_conflicts=True)
            return await Event.filter(id__in=[event.id for event in events]).count()

    async def redeem(self, code: str, telegram_id: str, name: str) -> Member | None:
        """Create a member while the invitation's row is locked."""
        now = datetime.now(UTC)
        async with in_transaction():
            invitation = (
                await Invitation.filter(invitation_code=code, status="pending", expires_at__gt=now)
                .select_for_update()
                .first()
            )
            if invitation is None:
                return None
            member = await Member.create(
                telegram_id=telegram_id,
                name=name,
                primary_role="developer",
                status="pending",
                invited_by=invitation.created_by,
            )
            invitation.status, invitation.accepted_by, invitation.accepted_at = (
                "accepted",
                member.member_id,
                now,
            )
            await invitation.save(update_fields=["status", "accepted_by", "accepted_at"])
            return member

    async def directory(
        self, role: str, country: str, floor: int, after: tuple[int, UUID] | None
    ) -> list[Member]:
        """Return a page of members and one more, the highest score first."""
        page = Member.filter(
            primary_role=role,
            country=country,
            status="active",
            deleted_at__isnull=True,
            reputation_score__gte=floor,
        )
        if after:
            score, last = after
            # The second condition is redundant, but an index can use it.
            page = page.filter(
                Q(reputation_score__lt=score) | Q(reputation_score=score, id__lt=last),
                reputation_score__lte=score,
            )
        return await page.order_by("-reputation_score", "-id").limit(PAGE + 1)

    async def search(self, text: str) -> list[Member]:
        """Return the highest scores among members with the text in the searched column."""
        members = Member.annotate(search_text=RawSQL("search_text")).filter(
            search_text__contains=fold_needle(text),
            status="active",
            deleted_at__isnull=True,
        )
        return await members.order_by("-reputation_score", "-id").limit(PAGE)

    async def last_30_days(self, member_id: str, since: date, until: date) -> list[Highlight]:
        """Return a member's highlights, newest first."""
        days = Highlight.filter(
            member_id=member_id, highlight_date__gte=since, highlight_date__lte=until
        )
        return await days.order_by("-highlight_date")

    async def last_30_days_raw(self, member_id: str, since: date, until: date) -> Any:
        """Count a member's events by day and type."""
        start, end = span(since, until)
        return await (
            Event.filter(member_id=member_id, occurred_at__gte=start, occurred_at__lt=end)
            .annotate(day=RawSQL("(occurred_at AT TIME ZONE 'UTC')::date"), count=Count("id"))
            .group_by("day", "event_type")
            .order_by("day", "event_type")
            .values_list("day", "event_type", "count")
        )

    async def roll_up(self, day: date) -> int:
        """Count each member's highlight of a day in the database."""
        start, end = span(day, day)
        duration = "(event_metadata->>'duration_seconds')::numeric"
        seconds = f"sum({duration}) FILTER (WHERE event_type = 'VOICE')"
        counted = (
            await Event.filter(
                occurred_at__gte=start,
                occurred_at__lt=end,
                event_type__in=["MESSAGE", "REACTION", "VOICE"],
            )
            .annotate(
                message_count=Count("id", _filter=Q(event_type="MESSAGE")),
                reaction_count=Count("id", _filter=Q(event_type="REACTION")),
                voice_minutes=RawSQL(f"coalesce(div({seconds}, 60), 0)::integer"),
            )
            .group_by("member_id")
            .values("member_id", "message_count", "reaction_count", "voice_minutes")
        )
        await Highlight.bulk_create(
            [Highlight(highlight_date=day, **row) for row in counted],
            on_conflict=["member_id", "highlight_date"],
            update_fields=["message_count", "reaction_count", "voice_minutes"],
        )
        return len(counted)

    async def tree(self, member_id: str) -> Any:
        """Return the member and everybody whom they invited, directly or not.

        Raw SQL with parameters needs the connection itself.
        """
        return await connections.get("default").execute_query_dict(
            TREE.format(member_id="$1"), [member_id]
        )

    async def expire_overdue(self) -> int:
        """Mark overdue invitations as expired."""
        overdue = Invitation.filter(status="pending", expires_at__lte=datetime.now(UTC))
        return await overdue.update(status="expired")
