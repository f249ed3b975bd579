"""The demo: a small fictional community whose members, history and numbers look real."""

import itertools
import json
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from random import Random
from typing import NamedTuple, TypeVar

from piccolo.table import Table
from tqdm import tqdm

from community_directory.calendar import add_months
from community_directory.database import Statement, act_as, engine, long_running, transaction
from community_directory.errors import OperatorError
from community_directory.queries import accounts, highlights, members, permissions
from community_directory.queries.ids import new_id
from community_directory.queries.reputation import github_score
from community_directory.tables import (
    AccountProof,
    CommunityInvitation,
    CommunityMember,
    EventType,
    InvitationStatus,
    MemberAccount,
    MemberRelationship,
    MemberStatus,
    Permission,
    Platform,
)
from community_directory.tables.invitations import DEFAULT_VALIDITY, new_code

Row = TypeVar("Row")

DEMO_SEED = 247
DEMO_LOCK_KEY = 0x64656D6F
"""The key of the advisory lock that `load_demo` takes: "demo" in ASCII."""
DEMO_BATCH_ROWS = 1000
"""The rows of one statement: asyncpg allows 32,767 parameters, and a row has at most 10."""
FIRST_TELEGRAM_ID = 9_999_000_001
"""The demo's Telegram ids count up from this one; Telegram gives lower ones to people."""
FIRST_DISCORD_ID = 999_000_000_000_100_001
"""The demo's Discord ids count up from this one."""
DRAWN_EVENTS = 120_000
"""The number of random events; those outside the time in which a person writes are left out."""
EVENT_DAYS = 640
"""The number of days, up to now, that have events."""


class MemberGroup(NamedTuple):
    """A number of people with one status, and the range of days since they joined."""

    number: int
    status: MemberStatus
    is_removed: bool
    min_age_days: float
    max_age_days: float


class Arrival(NamedTuple):
    """When a person joined, and what became of them."""

    age_days: float
    status: MemberStatus
    is_removed: bool = False
    campaign: int | None = None
    """The number of the campaign that brought them; None for everybody else."""


class InvitationGroup(NamedTuple):
    """A number of unused invitations with one status, and the range of hours since creation."""

    number: int
    status: InvitationStatus
    min_age_hours: float
    max_age_hours: float
    used_share: float
    """The part of their validity, from 0 to 1, that had passed at their last change."""


FOUNDERS = (
    ("Ana García", "Mexico", "community_manager"),
    ("Siobhán O'Connor", "Ireland", "founder"),
    ("田中 さくら", "Japan", "designer"),
    ("Олена Шевченко", "Ukraine", "developer"),
    ("Luna 🌙", "Brazil", "artist"),
)
MEMBER_GROUPS = (
    MemberGroup(218, MemberStatus.ACTIVE, False, 8, 620),
    MemberGroup(6, MemberStatus.SUSPENDED, False, 60, 600),
    MemberGroup(4, MemberStatus.BANNED, False, 60, 600),
    MemberGroup(7, MemberStatus.ACTIVE, True, 60, 600),
    MemberGroup(14, MemberStatus.PENDING, False, 0.1, 7),
    MemberGroup(22, MemberStatus.NOT_MEMBER, False, 0.1, 120),
)
CAMPAIGNS = 2
"""The number of members who brought many people in the month before the last one."""
CAMPAIGN_GUESTS = 12
"""The number of people whom each of them brought, and who stopped writing after three weeks."""
CAMPAIGN_STAY = timedelta(days=20)
"""The time in which such a person writes: it ends in the third week after joining in each zone."""
UNUSED_INVITATIONS = (
    InvitationGroup(12, InvitationStatus.PENDING, 1, 47, 0),
    InvitationGroup(5, InvitationStatus.PENDING, 49, 71, 0),  # open for less than a day
    InvitationGroup(9, InvitationStatus.PENDING, 75, 120, 0),  # overdue, and still pending
    InvitationGroup(28, InvitationStatus.EXPIRED, 150, 8000, 1),
    InvitationGroup(14, InvitationStatus.CANCELLED, 75, 8000, 0.4),
)
NAMES_BY_COUNTRY = {
    "Mexico": (
        "José Sofía Mateo Ximena Raúl Lucía Íker Valeria",
        "Hernández Muñoz Peña Ramírez Cruz Ibáñez Ríos Soto",
    ),
    "Brazil": (
        "João Beatriz Caio Letícia Tomás Inês Rafael Yara",
        "Conceição Araújo Magalhães Lima Nóbrega Reis Melo",
    ),
    "Argentina": (
        "Julieta Agustín Malena Facundo Ailén Nicolás Inés",
        "Fernández Agüero Núñez Giménez Rossi Paz Bruno",
    ),
    "Nigeria": (
        "Adébáyọ̀ Chiamaka Tunde Ngozi Ifeoma Emeka Zainab Sade",
        "Okafor Adéyẹmí Bello Eze Balogun Nwosu Lawal",
    ),
    "India": (
        "Priya Arjun Meera Rohan Kavya Imran Ananya",
        "Sharma Iyer Nair Reddy Banerjee Patel Khan Das",
    ),
    "Spain": (
        "Begoña Íñigo Nuria Jordi Aitana Andrés Leire Martín",
        "Ibarra Castaño Puig Vázquez Ordóñez Gil Roldán",
    ),
    "United States": (
        "Maya Jordan Chloe Andre Skylar Ethan Renée Marcus",
        "Johnson Nguyen Rivera Cohen Brooks Tran Lee",
    ),
    "Germany": (
        "Jürgen Zoë Björn Käthe Lukas Mareike Sören Ayşe",
        "Müller Schäfer Köhler Vogt Krüger Becker Yilmaz",
    ),
    "France": (
        "François Zélie Loïc Anaïs Théo Maëlle Gaël Noémie",
        "Lefèvre Benoît Garçon Moreau Diallo Dupré Rey",
    ),
    "Ukraine": (
        "Тарас Ірина Андрій Юлія Богдан Марія Назар Софія",
        "Коваленко Бондар Мельник Ткачук Лисенко Гончар",
    ),
    "Poland": (
        "Zofia Kacper Wiktoria Bartek Agnieszka Jędrzej Hania",
        "Wójcik Sikora Lis Nowak Zając Król Mazur",
    ),
    "Japan": ("佐藤 鈴木 高橋 渡辺 山本 中村", "陽菜 蓮 葵 翔太 美咲 悠真"),
    "Egypt": ("ياسمين عمر نور كريم سلمى طارق", "حسن منصور فاروق زكي سليمان شريف"),
    "Vietnam": ("Nguyễn Trần Phạm Lê Vũ Hoàng", "Anh Quỳnh Thảo Tuấn Hải Linh"),
    "South Korea": ("김 이 박 최 정", "민준 서연 지우 하은 도윤 수아"),
    "Ireland": ("Aoife Ciarán Niamh Oisín Gráinne", "O'Brien Murphy O'Doherty Byrne Walsh"),
}
"""The first halves and the second halves of each country's names."""
NICKNAMES = (
    "quiet brave lucky rapid sunny tiny clever cosmic",
    "heron mango comet panda cactus otter lemon tiger",
)
ROLES = (
    "developer",
    "designer",
    "community_manager",
    "researcher",
    "founder",
    "writer",
    "artist",
    "translator",
)
ORGANIZATIONS = (
    "Nopal Labs",
    "Río Digital",
    "Café & Código",
    "桜ソフト",
    "Kite DAO",
    "Open Orchard",
    "Baobab Hub",
)
SKILLS = (
    "python",
    "typescript",
    "rust",
    "solidity",
    "figma",
    "illustration",
    "facilitation",
    "moderation",
    "writing",
    "translation",
    "data",
    "teaching",
)
PROJECTS = (
    "onboarding guide",
    "agent toolkit",
    "translation sprint",
    "hackathon",
    "treasury report",
    "sticker set",
)

EVENT_WEIGHTS = {
    (Platform.TELEGRAM, "-1009990000001", EventType.MESSAGE): 40,
    (Platform.TELEGRAM, "-1009990000001", EventType.REACTION): 16,
    (Platform.TELEGRAM, "-1009990000001", EventType.VOICE): 1,
    (Platform.TELEGRAM, "-1009990000002", EventType.MESSAGE): 8,
    (Platform.TELEGRAM, "-1009990000002", EventType.REACTION): 5,
    (Platform.DISCORD, "999000000000000001", EventType.MESSAGE): 19,
    (Platform.DISCORD, "999000000000000001", EventType.REACTION): 8,
    (Platform.DISCORD, "999000000000000002", EventType.VOICE): 4,
}
"""The weights of the event types in the rooms of each platform."""
WEEKDAY_WEIGHTS = (10, 11, 11, 10, 9, 6, 5)
"""The activity on the days from Monday to Sunday."""
HOUR_WEIGHTS = (9, 8, 6, 4, 3, 2, 2, 3, 3, 4, 4, 5, 6, 8, 10, 11, 11, 12, 12, 11, 10, 10, 11, 10)
"""The activity in the hours of a day, in UTC: most members live in the Americas."""


@dataclass(kw_only=True)
class DemoPerson:
    """A member's row, and the values by which their invitations and events are drawn."""

    row: CommunityMember
    active_until: datetime
    """The end of their time as an active member.

    It is now for those who are still active, and `created_at` for those who never were.
    """
    approved_at: datetime
    """When they became an active member; they write nothing before."""
    writes_until: datetime
    """The end of the time in which they write; many stop before they cease to be members."""
    liveliness: float
    """The weight of the person when events and inviters are drawn."""
    has_campaign: bool = False
    """Whether they bring only the guests of their campaign from its month on."""


class DemoEvent(NamedTuple):
    """An event, and who wrote it."""

    author: CommunityMember
    event_type: EventType
    platform: Platform
    room_id: str
    occurred_at: datetime
    source_id: str
    metadata: str | None
    """The details as JSON."""


# One statement with arrays takes a tenth of the time of a row for each event.
STORE_EVENTS = Statement(
    """
    INSERT INTO member_participation
        (id, member_id, event_type, platform, room_id, occurred_at, source_id, event_metadata)
    SELECT id, member_id, event_type, platform, room_id, occurred_at, source_id, metadata::jsonb
    FROM unnest(
        :ids::uuid[], :member_ids::text[], :event_types::text[], :platforms::text[],
        :room_ids::text[], :moments::timestamptz[], :source_ids::text[], :metadata::text[]
    ) AS event(
        id, member_id, event_type, platform, room_id, occurred_at, source_id, metadata
    )
    """
)

STORE_APPROVALS = Statement(
    """
    UPDATE member_milestones AS milestone SET approved_at = approved.moment
    FROM unnest(:member_ids::text[], :moments::timestamptz[]) AS approved(member_id, moment)
    WHERE milestone.member_id = approved.member_id
    """
)


async def load_demo() -> bool:
    """Fill an empty directory with some 300 members and their history: all of it, or nothing.

    The connection pool must be open. On a terminal, a progress bar is shown. If several processes
    call it at the same time, the demo is loaded once.

    Returns:
        False if the demo is there already, and nothing was changed.

    Raises:
        OperatorError: The directory has members of its own.
    """
    with long_running():
        async with transaction():
            await act_as("demo")
            await engine.fetch(f"SELECT pg_advisory_xact_lock({DEMO_LOCK_KEY})")
            if await CommunityMember.exists().where(
                CommunityMember.telegram_id == str(FIRST_TELEGRAM_ID)
            ):
                return False
            if await CommunityMember.exists():
                raise OperatorError(
                    "The directory already has members: the demo data is only for an empty one."
                )
            # The times follow the database's clock, which decides whether an invitation is open.
            [(now,)] = await engine.fetch("SELECT now()")
            await _insert_demo(now)
    return True


async def _insert_demo(now: datetime) -> None:
    # The seed makes each demo the same, except for the invitation codes: these are secrets.
    rng = Random(DEMO_SEED)  # noqa: S311
    people = make_people(rng, now)
    events = _make_events(rng, people, now)
    invitations = list(_make_invitations(rng, people, now))
    relationships = list(_make_relationships(rng, people, now))
    own_accounts = list(_make_accounts(rng, people))
    tables: tuple[Sequence[Table], ...] = (invitations, relationships, own_accounts)

    total = len(people) + len(events) + sum(len(rows) for rows in tables)
    with tqdm(desc="Loading the demo", total=total, unit=" rows", disable=None) as progress:
        for person in people:
            # One statement for each person: a guest's row needs the number that the database gave
            # to the inviter's row.
            [numbered] = await CommunityMember.insert(person.row).returning(
                CommunityMember.member_id
            )
            person.row.member_id = numbered["member_id"]
            progress.update()
        await _store_approvals(people)
        for some in _split(events):
            await _store_events(some)
            progress.update(len(some))
        for rows in tables:
            for batch in _split(rows):
                await type(batch[0]).insert(*batch)
                progress.update(len(batch))
    # One more day at each end, because the dates are in UTC and not in the community's time zone.
    first_day = (events[0].occurred_at - timedelta(days=1)).date()
    await highlights.roll_up(first_day, until=(now + timedelta(days=1)).date())
    await _grant_permissions(people)
    await _add_doubles(people)


def _split(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Yield the rows in batches, each for one statement."""
    for start in range(0, len(rows), DEMO_BATCH_ROWS):
        yield rows[start : start + DEMO_BATCH_ROWS]


async def _store_approvals(people: Sequence[DemoPerson]) -> None:
    """Store when people were approved, which was some hours after they joined."""
    approved = [person for person in people if person.active_until > person.row.created_at]
    await engine.fetch(
        STORE_APPROVALS,
        member_ids=[person.row.member_id for person in approved],
        moments=[person.approved_at for person in approved],
    )


async def _store_events(events: Sequence[DemoEvent]) -> None:
    authors, event_types, platforms, room_ids, moments, source_ids, metadata = zip(
        *events, strict=True
    )
    await engine.fetch(
        STORE_EVENTS,
        ids=[new_id() for _ in events],
        member_ids=[author.member_id for author in authors],
        event_types=event_types,
        platforms=platforms,
        room_ids=room_ids,
        moments=moments,
        source_ids=source_ids,
        metadata=metadata,
    )


async def _grant_permissions(people: Sequence[DemoPerson]) -> None:
    """Grant one permission to each founder: the first one can manage."""
    for person, permission in zip(people, reversed(Permission), strict=False):
        await permissions.grant(person.row.member_id, permission, actor="demo")


async def _add_doubles(people: Sequence[DemoPerson]) -> None:
    """Add two founders a second time, as they came on Discord, and merge one of them."""
    for number, person in enumerate(people[1:3], start=len(people)):
        account_id = FIRST_DISCORD_ID + number
        double = await members.add(
            telegram_id=f"{Platform.DISCORD}:{account_id}",
            name=f"{person.row.name} (Discord)",
            primary_role=person.row.primary_role,
            actor="demo",
        )
        await accounts.link(
            double.member_id,
            Platform.DISCORD,
            account_id,
            username=person.row.telegram_username,
            actor="demo",
        )
    await members.merge(
        double.member_id, into=person.row.member_id, actor="demo", reason="The same person"
    )


def _make_arrivals(rng: Random, now: datetime) -> list[Arrival]:
    """Return all arrivals, in their order."""
    arrivals = [Arrival(630.0 + 3 * number, MemberStatus.ACTIVE) for number in range(len(FOUNDERS))]
    for group in MEMBER_GROUPS:
        # The community grows: more people joined lately than long ago.
        span = group.max_age_days - group.min_age_days
        ages = (group.max_age_days - span * rng.random() ** 0.7 for _ in range(group.number))
        arrivals += [Arrival(age, group.status, group.is_removed) for age in ages]
    first_day, end = find_campaign_month(now)
    for campaign in range(CAMPAIGNS):
        for _ in range(CAMPAIGN_GUESTS):
            # Not on the first or the last day, which belong to another month in some zones.
            joined = (
                first_day
                + timedelta(days=1)
                + (end - first_day - timedelta(days=2)) * (rng.random())
            )
            age_days = (now - joined) / timedelta(days=1)
            arrivals.append(Arrival(age_days, MemberStatus.ACTIVE, campaign=campaign))
    return sorted(arrivals, key=lambda arrival: arrival.age_days, reverse=True)


def find_campaign_month(now: datetime) -> tuple[datetime, datetime]:
    """Return the beginning and the end of the month before the last one.

    Four weeks have passed since all who joined in it, whatever day it is.
    """
    first_day, end = (
        datetime.combine(add_months(now.date(), number), time.min, now.tzinfo)
        for number in (-2, -1)
    )
    return first_day, end


def make_people(rng: Random, now: datetime) -> list[DemoPerson]:
    """Make all people, in the order in which they joined.

    All but the founders and the contacts were invited by somebody who joined before them.
    """
    people: list[DemoPerson] = []
    campaigners: list[DemoPerson] = []
    # A day earlier, because the month begins then in some zones.
    campaigns_begin = find_campaign_month(now)[0] - timedelta(days=1)
    for arrival, (name, handle, country, role) in zip(
        _make_arrivals(rng, now), _make_identities(rng), strict=False
    ):
        status, joined = arrival.status, now - timedelta(days=arrival.age_days)
        is_founder = len(people) < len(FOUNDERS)
        was_invited = not is_founder and status is not MemberStatus.NOT_MEMBER
        is_active = status is MemberStatus.ACTIVE and not arrival.is_removed
        active_until = now if is_active else now - timedelta(days=rng.uniform(4, 50))
        if status in {MemberStatus.PENDING, MemberStatus.NOT_MEMBER}:
            active_until = joined
        if not campaigners and joined >= campaigns_begin:
            campaigners = _choose_campaigners(people, now)
        inviter = None
        if arrival.campaign is not None:
            inviter = campaigners[arrival.campaign].row
        elif was_invited:
            inviter = _choose_inviter(rng, people, joined - DEFAULT_VALIDITY, joined)
        row = CommunityMember(
            telegram_id=str(FIRST_TELEGRAM_ID + len(people)),
            telegram_username=f"{handle}_demo" if is_founder or rng.random() < 0.9 else None,
            name=name,
            primary_role=role,
            organization=rng.choice(ORGANIZATIONS) if rng.random() < 0.6 else None,
            country=country,
            status=status,
            invited_by=inviter,
            created_at=joined,
            updated_at=joined if is_active else active_until,
            deleted_at=active_until if arrival.is_removed else None,
        )
        person = DemoPerson(
            row=row,
            active_until=active_until,
            approved_at=joined,
            writes_until=active_until,
            liveliness=8,
        )
        if was_invited:
            person.approved_at += timedelta(hours=min(rng.lognormvariate(2, 1), 72))
        if arrival.campaign is not None:
            person.writes_until, person.liveliness = joined + CAMPAIGN_STAY, rng.uniform(2, 5)
        elif not is_founder:
            _choose_habit(rng, person)
        people.append(person)
        if is_founder or was_invited:
            _complete_profile(rng, person, handle)
    return people


def _choose_habit(rng: Random, person: DemoPerson) -> None:
    """Choose how much a person writes, and until when."""
    # A few write most events, and some only read.
    person.liveliness = min(rng.paretovariate(1.1) - 0.9, 15) if rng.random() < 0.9 else 0.0
    # Most stay; of the others, some look around for some days, and the rest stays for months.
    mean_days = rng.choices((None, 12, 150), weights=(60, 12, 28))[0]
    if mean_days is not None:
        stay = timedelta(days=rng.expovariate(1 / mean_days))
        person.writes_until = min(person.active_until, person.row.created_at + stay)


def _choose_campaigners(people: list[DemoPerson], now: datetime) -> list[DemoPerson]:
    """Choose and mark those whose guests stop writing: two who joined long ago, and still write."""
    candidates = (
        person
        for person in people[len(FOUNDERS) :]
        if person.writes_until == now and 2 < person.liveliness < 6
    )
    campaigners = list(itertools.islice(candidates, CAMPAIGNS))
    for person in campaigners:
        person.has_campaign = True
    return campaigners


def _make_identities(rng: Random) -> Iterator[tuple[str, str, str, str]]:
    """Yield names with handles, countries and roles: the founders' first, and no name twice."""
    for name, country, role in FOUNDERS:
        yield name, _make_handle(rng, name), country, role
    names = {
        country: [" ".join(pair) for pair in itertools.product(first.split(), second.split())]
        for country, (first, second) in NAMES_BY_COUNTRY.items()
    }
    while True:
        [country] = rng.choices(list(names), weights=range(len(names), 0, -1))
        name = names[country].pop(rng.randrange(len(names[country])))
        handle = _make_handle(rng, name)
        [role] = rng.choices(ROLES, weights=range(len(ROLES), 0, -1))
        yield name, handle, country, role


def _make_handle(rng: Random, name: str) -> str:
    """Return the name in lower-case ASCII, or a nickname if it has too few such letters."""
    letters = unicodedata.normalize("NFKD", name.lower().replace(" ", "_"))
    allowed = "abcdefghijklmnopqrstuvwxyz_"
    handle = "".join(letter for letter in letters if letter in allowed).strip("_")
    nickname = "_".join(rng.choice(words.split()) for words in NICKNAMES)
    return handle if len(handle) >= 5 else f"{nickname}_{rng.randrange(10**4)}"


def _complete_profile(rng: Random, person: DemoPerson, handle: str) -> None:
    """Give a person, at random, skills, a paid fee and a GitHub account."""
    row = person.row
    if rng.random() < 0.7:
        row.profile_data = {"skills": rng.sample(SKILLS, rng.randint(1, 4))}
    if rng.random() < 0.4:
        row.registration_fee_paid = True
        row.registration_fee_tx_hash = f"0x{rng.getrandbits(256):064x}"
    if rng.random() < (0.85 if row.primary_role == "developer" else 0.4):
        row.github_username = f"{handle.replace('_', '-')}-demo"
    if row.github_username and rng.random() < 0.75:
        skill = rng.lognormvariate(0, 1.2)
        averages = {"public_repos": 10, "followers": 12, "stars": 18, "contributions": 160}
        counts = {
            name: round(average * skill * rng.uniform(0.5, 1.5))
            for name, average in averages.items()
        }
        row.github_verified, row.github_profile_data = True, counts
        row.reputation_score = github_score(counts)
        time_as_member = person.active_until - row.created_at
        row.github_verified_at = row.created_at + time_as_member * rng.random()
        row.updated_at = max(row.updated_at, row.github_verified_at)


def _choose_inviter(
    rng: Random, people: list[DemoPerson], since: datetime, until: datetime
) -> CommunityMember:
    """Choose a member who was active from `since` to `until`, weighted by liveliness."""
    candidates = [
        person
        for person in people
        if person.row.created_at < since and person.active_until > until and not person.has_campaign
    ]
    return rng.choices(candidates, weights=[person.liveliness for person in candidates])[0].row


def _make_events(rng: Random, people: list[DemoPerson], now: datetime) -> list[DemoEvent]:
    """Make the events of the last months, oldest first, and set the people's last activity."""
    hours = [
        now.replace(microsecond=0) - timedelta(hours=ago) for ago in range(EVENT_DAYS * 24, 0, -1)
    ]
    busyness = [WEEKDAY_WEIGHTS[hour.weekday()] * HOUR_WEIGHTS[hour.hour] for hour in hours]
    moments = [
        hour + timedelta(seconds=rng.randrange(3600))
        for hour in rng.choices(hours, weights=busyness, k=DRAWN_EVENTS)
    ]
    writers = rng.choices(people, weights=[person.liveliness for person in people], k=DRAWN_EVENTS)
    kinds = rng.choices(list(EVENT_WEIGHTS), weights=list(EVENT_WEIGHTS.values()), k=DRAWN_EVENTS)
    events = []
    for number, (moment, person, (platform, room, event_type)) in enumerate(
        zip(sorted(moments), writers, kinds, strict=True), start=100_001
    ):
        if not person.approved_at < moment < person.writes_until:
            continue
        metadata = None
        if event_type is EventType.VOICE:
            seconds = round(min(90 * rng.paretovariate(0.6), 7200))
            metadata = json.dumps({"duration_seconds": seconds})
        person.row.last_active_at = moment
        events.append(
            DemoEvent(person.row, event_type, platform, room, moment, str(number), metadata)
        )
    return events


def _make_invitations(
    rng: Random, people: list[DemoPerson], now: datetime
) -> Iterator[CommunityInvitation]:
    """Yield the invitations that the members accepted, and then the unused ones."""
    for guest in (person.row for person in people if person.row.invited_by is not None):
        created = guest.created_at - DEFAULT_VALIDITY * rng.uniform(0.001, 0.999)
        username = guest.telegram_username if rng.random() < 0.5 else None
        row = _make_invitation(
            guest.invited_by, created, InvitationStatus.ACCEPTED, username, guest.created_at
        )
        row.accepted_by, row.accepted_at = guest, guest.created_at
        yield row
    # Each contact is invited at most once, because a username has at most one open invitation.
    contacts = [
        person.row.telegram_username
        for person in people
        if person.row.status == MemberStatus.NOT_MEMBER
    ]
    for group in UNUSED_INVITATIONS:
        for _ in range(group.number):
            age = timedelta(hours=rng.uniform(group.min_age_hours, group.max_age_hours))
            username = contacts.pop() if contacts and rng.random() < 0.5 else None
            inviter = _choose_inviter(rng, people, now - age, now - age)
            updated = now - age + DEFAULT_VALIDITY * group.used_share
            yield _make_invitation(inviter, now - age, group.status, username, updated)


def _make_invitation(
    inviter: CommunityMember,
    created: datetime,
    status: InvitationStatus,
    username: str | None,
    updated: datetime,
) -> CommunityInvitation:
    return CommunityInvitation(
        invitation_code=new_code(),
        created_by=inviter,
        invited_telegram_username=username,
        status=status,
        expires_at=created + DEFAULT_VALIDITY,
        created_at=created,
        updated_at=updated,
    )


def _make_accounts(rng: Random, people: list[DemoPerson]) -> Iterator[MemberAccount]:
    """Yield an entity of an ElizaOS agent for everybody, and Discord accounts of many members."""
    for number, person in enumerate(people):
        row = person.row
        yield _make_account(row, Platform.ELIZAOS, _make_entity_id(row), row.created_at)
        time_as_member = person.active_until - row.created_at
        if time_as_member and rng.random() < 0.6:
            proved_at = row.created_at + time_as_member * rng.random()
            account = _make_account(
                row, Platform.DISCORD, str(FIRST_DISCORD_ID + number), proved_at
            )
            account.username = (row.telegram_username or f"guest_{number}_demo").replace("_", ".")
            yield account


def _make_account(
    member: CommunityMember, platform: Platform, account_id: str, proved_at: datetime
) -> MemberAccount:
    return MemberAccount(
        id=new_id(),
        platform=platform,
        account_id=account_id,
        member_id=member,
        proof=AccountProof.CODE if platform is Platform.DISCORD else AccountProof.PLATFORM,
        proved_at=proved_at,
        linked_at=proved_at,
    )


def _make_relationships(
    rng: Random, people: list[DemoPerson], now: datetime
) -> Iterator[MemberRelationship]:
    """Yield most of the invitations as relationships, and some mentors and collaborators."""
    for guest in (person.row for person in people if person.row.invited_by is not None):
        if rng.random() < 0.7:
            content = {"platform": "telegram"}
            yield _make_relationship(guest.invited_by, "INVITED", guest, content, guest.created_at)
    active = [person.row for person in people if person.active_until == now]
    for older, younger in rng.sample(list(itertools.combinations(active, 2)), 90):
        since = younger.created_at + (now - younger.created_at) * rng.random()
        if rng.random() < 0.5:
            relationship_type, content = "MENTORED", {"topic": rng.choice(SKILLS)}
        else:
            relationship_type, content = "COLLABORATED", {"project": rng.choice(PROJECTS)}
        yield _make_relationship(older, relationship_type, younger, content, since)


def _make_relationship(
    one: CommunityMember,
    relationship_type: str,
    other: CommunityMember,
    content: dict[str, str],
    since: datetime,
) -> MemberRelationship:
    return MemberRelationship(
        entity_id_a=_make_entity_id(one),
        entity_id_b=_make_entity_id(other),
        relationship_type=relationship_type,
        content=content,
        created_at=since,
    )


def _make_entity_id(member: CommunityMember) -> str:
    """Return the member's id in ElizaOS: a UUID that follows from the Telegram id."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"tg://user?id={member.telegram_id}"))
