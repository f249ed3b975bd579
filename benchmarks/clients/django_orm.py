"""Django's async ORM on psycopg 3 and its pool; foreign keys are plain columns."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, date
from importlib.metadata import version
from typing import Any, ClassVar
from uuid import UUID, uuid4

import django
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models import Count, Func, Q, Sum
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, TruncDate
from django.utils import timezone
from psycopg.errors import UniqueViolation

from benchmarks.clients.base import POOL
from benchmarks.clients.orm import ORM, PAGE, TREE, place, span
from community_directory.queries.folding import fold_needle

settings.configure(USE_TZ=True, TIME_ZONE="UTC")
django.setup()


class Member(models.Model):
    """A person."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    member_id = models.CharField(max_length=20, unique=True, db_default="")  # a trigger assigns it
    telegram_id = models.CharField(max_length=255, unique=True)
    telegram_username = models.CharField(max_length=255, null=True)
    name = models.CharField(max_length=255)
    primary_role = models.CharField(max_length=50)
    organization = models.CharField(max_length=255, null=True)
    country = models.CharField(max_length=100, null=True)
    github_username = models.CharField(max_length=255, null=True)
    github_verified = models.BooleanField(default=False)
    github_verified_at = models.DateTimeField(null=True)
    github_profile_data = models.JSONField(null=True)
    status = models.CharField(max_length=20, default="not_member")
    reputation_score = models.IntegerField(default=0)
    reputation_tier = models.CharField(max_length=50, null=True, default="Novice")
    invited_by = models.CharField(max_length=20, null=True)
    registration_fee_paid = models.BooleanField(null=True, default=False)
    registration_fee_tx_hash = models.CharField(max_length=255, null=True)
    profile_data = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    last_active_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        """The table."""

        app_label = "directory"
        db_table = "community_members"


class Invitation(models.Model):
    """A code that lets one person in."""

    invitation_id = models.UUIDField(primary_key=True, default=uuid4)
    invitation_code = models.CharField(max_length=16, unique=True)
    created_by = models.CharField(max_length=20)
    invited_telegram_username = models.CharField(max_length=255, null=True)
    status = models.CharField(max_length=20, default="pending")
    expires_at = models.DateTimeField()
    accepted_by = models.CharField(max_length=20, null=True)
    accepted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        """The table."""

        app_label = "directory"
        db_table = "community_invitations"


class Event(models.Model):
    """Something that a member did."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    member_id = models.CharField(max_length=20)
    event_type = models.CharField(max_length=50)
    platform = models.CharField(max_length=50)
    room_id = models.CharField(max_length=255)
    event_metadata = models.JSONField(null=True)
    occurred_at = models.DateTimeField(default=timezone.now)
    source_id = models.CharField(max_length=255, null=True)

    class Meta:
        """The table."""

        app_label = "directory"
        db_table = "member_participation"


class Highlight(models.Model):
    """A member's activity on one day."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    member_id = models.CharField(max_length=20)
    highlight_date = models.DateField()
    message_count = models.IntegerField(null=True, default=0)
    reaction_count = models.IntegerField(null=True, default=0)
    voice_minutes = models.IntegerField(null=True, default=0)
    reputation_earned = models.IntegerField(null=True, default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """The table."""

        app_label = "directory"
        db_table = "member_daily_highlights"


SEARCH_TEXT = RawSQL("search_text", (), output_field=models.TextField())


class Client(ORM):
    """Threads with a connection each; a call takes one of them, as a request does.

    The ORM's async methods run in one and the same thread, unless a `ThreadSensitiveContext` names
    another one.
    """

    versions: ClassVar = {name: version(name) for name in ("django", "psycopg")}
    event: ClassVar = Event
    threads: asyncio.LifoQueue[Executor]

    async def open(self, url: str) -> None:
        """Open the connections, one in each thread."""
        settings.DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                **{
                    "NAME" if key == "database" else key.upper(): value
                    for key, value in place(url)._asdict().items()
                },
                "OPTIONS": {"pool": {"min_size": POOL, "max_size": POOL}},
            }
        }
        self.threads = asyncio.LifoQueue()
        for _ in range(POOL):
            thread = ThreadPoolExecutor(max_workers=1)
            async with ThreadSensitiveContext(executor=thread):
                await sync_to_async(_connect)()
            self.threads.put_nowait(thread)

    async def close(self) -> None:
        """Close the connections."""
        for _ in range(POOL):
            thread = await self.threads.get()
            async with ThreadSensitiveContext(executor=thread):
                await sync_to_async(_disconnect)()
            thread.shutdown()
        connection.close_pool()

    @asynccontextmanager
    async def thread(self) -> AsyncIterator[None]:
        """Run the calls inside in one of the threads, which they have for themselves."""
        thread = await self.threads.get()
        try:
            async with ThreadSensitiveContext(executor=thread):
                yield
        finally:
            self.threads.put_nowait(thread)

    async def member(self, telegram_id: str) -> Member | None:
        """Return the member with this Telegram id."""
        async with self.thread():
            try:
                return await Member.objects.aget(telegram_id=telegram_id, deleted_at=None)
            except Member.DoesNotExist:
                return None

    async def record(self, event: dict[str, Any]) -> bool:
        """Store an event once, and return whether it is new."""
        async with self.thread():
            try:
                await Event.objects.acreate(**event)
            except IntegrityError as error:
                if isinstance(error.__cause__, UniqueViolation):
                    return False
                raise
            return True

    async def record_many(self, events: list[Event]) -> int:
        """Store many events in one statement, and count the new ones in another."""
        async with self.thread():
            await Event.objects.abulk_create(events, ignore_conflicts=True)
            return await Event.objects.filter(id__in=[event.id for event in events]).acount()

    async def redeem(self, code: str, telegram_id: str, name: str) -> Member | None:
        """Create a member while the invitation's row is locked, in a synchronous function."""
        async with self.thread():
            return await sync_to_async(_redeem)(code, telegram_id, name)

    async def directory(
        self, role: str, country: str, floor: int, after: tuple[int, UUID] | None
    ) -> list[Member]:
        """Return a page of members and one more, the highest score first."""
        page = Member.objects.filter(
            primary_role=role,
            country=country,
            status="active",
            deleted_at=None,
            reputation_score__gte=floor,
        )
        if after:
            score, last = after
            # The second condition is redundant, but an index can use it.
            page = page.filter(
                Q(reputation_score__lt=score) | Q(reputation_score=score, id__lt=last),
                reputation_score__lte=score,
            )
        async with self.thread():
            return [
                member async for member in page.order_by("-reputation_score", "-id")[: PAGE + 1]
            ]

    async def search(self, text: str) -> list[Member]:
        """Return the highest scores among members with the text in the searched column."""
        members = Member.objects.alias(search_text=SEARCH_TEXT).filter(
            search_text__contains=fold_needle(text),
            status="active",
            deleted_at=None,
        )
        async with self.thread():
            return [member async for member in members.order_by("-reputation_score", "-id")[:PAGE]]

    async def last_30_days(self, member_id: str, since: date, until: date) -> list[Highlight]:
        """Return a member's highlights, newest first."""
        days = Highlight.objects.filter(member_id=member_id, highlight_date__range=(since, until))
        async with self.thread():
            return [day async for day in days.order_by("-highlight_date")]

    async def last_30_days_raw(self, member_id: str, since: date, until: date) -> list[Any]:
        """Count a member's events by day and type."""
        start, end = span(since, until)
        counted = (
            Event.objects.filter(member_id=member_id, occurred_at__gte=start, occurred_at__lt=end)
            .annotate(day=TruncDate("occurred_at", tzinfo=UTC))
            .values_list("day", "event_type")
            .annotate(count=Count("*"))
            .order_by("day", "event_type")
        )
        async with self.thread():
            return [row async for row in counted]

    async def roll_up(self, day: date) -> int:
        """Count each member's highlight of a day in the database."""
        start, end = span(day, day)
        duration = Cast(
            KT("event_metadata__duration_seconds"),
            models.DecimalField(max_digits=20, decimal_places=6),
        )
        seconds = Sum(duration, filter=Q(event_type="VOICE"), default=0)
        counted = (
            Event.objects.filter(
                occurred_at__gte=start,
                occurred_at__lt=end,
                event_type__in=["MESSAGE", "REACTION", "VOICE"],
            )
            .values("member_id")
            .annotate(
                message_count=Count("id", filter=Q(event_type="MESSAGE")),
                reaction_count=Count("id", filter=Q(event_type="REACTION")),
                voice_minutes=Func(seconds, 60, function="div", output_field=models.IntegerField()),
            )
        )
        async with self.thread():
            highlights = [Highlight(highlight_date=day, **row) async for row in counted]
            await Highlight.objects.abulk_create(
                highlights,
                update_conflicts=True,
                unique_fields=["member_id", "highlight_date"],
                update_fields=["message_count", "reaction_count", "voice_minutes"],
            )
            return len(highlights)

    async def tree(self, member_id: str) -> list[Member]:
        """Return the member and everybody whom they invited, directly or not."""
        tree = Member.objects.raw(TREE.format(member_id="%s"), [member_id])
        async with self.thread():
            return await sync_to_async(lambda: list(tree))()

    async def expire_overdue(self) -> int:
        """Mark overdue invitations as expired."""
        overdue = Invitation.objects.filter(status="pending", expires_at__lte=timezone.now())
        async with self.thread():
            return await overdue.aupdate(status="expired")


def _connect() -> None:
    connection.ensure_connection()  # each thread has a connection of its own by this name


def _disconnect() -> None:
    connection.close()


@transaction.atomic
def _redeem(code: str, telegram_id: str, name: str) -> Member | None:
    now = timezone.now()
    claim = Invitation.objects.select_for_update().filter(
        invitation_code=code, status="pending", expires_at__gt=now
    )
    invitation = claim.first()
    if invitation is None:
        return None
    member = Member.objects.create(
        telegram_id=telegram_id,
        name=name,
        primary_role="developer",
        status="pending",
        invited_by=invitation.created_by,
    )
    member.refresh_from_db(fields=["member_id"])
    invitation.status, invitation.accepted_by, invitation.accepted_at = (
        "accepted",
        member.member_id,
        now,
    )
    invitation.save(update_fields=["status", "accepted_by", "accepted_at"])
    return member
