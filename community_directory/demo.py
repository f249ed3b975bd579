"""A believable small community to look around in: its people, its history and its numbers are made up."""

import itertools
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from piccolo.table import Table
from tqdm import tqdm

from community_directory.database import act_as, transaction
from community_directory.errors import OperatorError
from community_directory.queries import highlights
from community_directory.queries.reputation import github_score
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    EventType,
    InvitationStatus,
    MemberParticipation,
    MemberRelationship,
    MemberStatus,
    Platform,
)
from community_directory.tables.invitations import DEFAULT_VALIDITY, new_code

SEED = 247
LOCK = 0x64656D6F
"""The advisory lock's key: "demo" in ASCII."""
BATCH = 1000
"""Rows in one statement: PostgreSQL takes 32,767 parameters at the most, and a row has up to 10."""
FIRST_TELEGRAM_ID = 9_999_000_001
"""The demo's telegram ids run on from here; those that Telegram gives to people are lower."""
TRIES = 26_000
"""Events that are drawn; those of somebody who was no active member at the time are dropped."""
EVENT_DAYS = 90

FOUNDERS = (
    ("Ana García", "Mexico", "community_manager"),
    ("Siobhán O'Connor", "Ireland", "founder"),
    ("田中 さくら", "Japan", "designer"),
    ("Олена Шевченко", "Ukraine", "developer"),
    ("Luna 🌙", "Brazil", "artist"),
)
FATES = (  # how many, their status, whether they were removed, and how many days ago they came: from, to
    (242, MemberStatus.ACTIVE, False, 8, 620),
    (6, MemberStatus.SUSPENDED, False, 60, 600),
    (4, MemberStatus.BANNED, False, 60, 600),
    (7, MemberStatus.ACTIVE, True, 60, 600),
    (14, MemberStatus.PENDING, False, 0.1, 7),
    (22, MemberStatus.NOT_MEMBER, False, 0.1, 120),
)
UNUSED_INVITATIONS = (  # how many, their status, how many hours ago they were made (from, to), their time that was used
    (12, InvitationStatus.PENDING, 1, 47, 0),
    (5, InvitationStatus.PENDING, 49, 71, 0),  # open for less than a day
    (9, InvitationStatus.PENDING, 75, 120, 0),  # overdue, and nobody swept them up yet
    (28, InvitationStatus.EXPIRED, 150, 8000, 1),
    (14, InvitationStatus.CANCELLED, 75, 8000, 0.4),
)
NAMES = {  # by country: the first halves of names, the second halves
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
SKILLS = "python typescript rust solidity figma illustration facilitation moderation writing translation data teaching"
PROJECTS = (
    "onboarding guide",
    "agent toolkit",
    "translation sprint",
    "hackathon",
    "treasury report",
    "sticker set",
)

ROOMS = {  # by platform and room: the event types and how common they are
    (Platform.TELEGRAM, "-1009990000001"): {
        EventType.MESSAGE: 40,
        EventType.REACTION: 16,
        EventType.VOICE: 1,
    },
    (Platform.TELEGRAM, "-1009990000002"): {EventType.MESSAGE: 8, EventType.REACTION: 5},
    (Platform.DISCORD, "999000000000000001"): {EventType.MESSAGE: 19, EventType.REACTION: 8},
    (Platform.DISCORD, "999000000000000002"): {EventType.VOICE: 4},
}
KINDS = {
    (*room, event_type): share
    for room, shares in ROOMS.items()
    for event_type, share in shares.items()
}
WEEKDAYS = (10, 11, 11, 10, 9, 6, 5)
"""How busy the days from Monday to Sunday are."""
HOURS = (9, 8, 6, 4, 3, 2, 2, 3, 3, 4, 4, 5, 6, 8, 10, 11, 11, 12, 12, 11, 10, 10, 11, 10)
"""How busy the hours of a day are, in UTC: most members live in the Americas."""


@dataclass(kw_only=True)
class Person:
    """A member's row, and what the rest of the community follows from."""

    row: CommunityMember
    until: datetime
    """The end of their time as an active member: now, when they still are one; `created_at`, when they never were."""
    share: float
    """How lively they are, as writers and as inviters, compared with the others."""


async def load_demo() -> bool:
    """Fill an empty directory with some 300 members and their history: all of it, or nothing.

    Returns False, and changes nothing, when the demo is there already; processes that load at once load it once.
    Raises `OperatorError` when the directory has members of its own. The connection pool must be open.
    """
    async with transaction() as current:
        await act_as("demo")
        await current.connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        if await CommunityMember.exists().where(
            CommunityMember.telegram_id == str(FIRST_TELEGRAM_ID)
        ):
            return False
        if await CommunityMember.exists():
            raise OperatorError(
                "The directory already has members: the demo data is only for an empty one."
            )
        # The database's clock decides which invitations are open.
        await _load(await current.connection.fetchval("SELECT now()"))
    return True


async def _load(now: datetime) -> None:
    rng = Random(SEED)  # noqa: S311 — every demo shall look the same; the codes, its only secrets, come from `new_code`
    people = _people(rng, now)
    events = _events(rng, people, now)
    invitations, relationships = (
        list(_invitations(rng, people, now)),
        list(_relationships(rng, people, now)),
    )
    tables: tuple[Sequence[Table], ...] = (invitations, events, relationships)

    total = len(people) + sum(len(rows) for rows in tables)
    with tqdm(desc="Loading the demo", total=total, unit=" rows", disable=None) as progress:
        for person in people:
            # One by one: an inviter's number must be known before the row of somebody they invited is written.
            [numbered] = await CommunityMember.insert(person.row).returning(
                CommunityMember.member_id
            )
            person.row.member_id = numbered["member_id"]
            progress.update()
        for rows in tables:
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                await type(batch[0]).insert(*batch)
                progress.update(len(batch))
    # A day more at each end: where the community lives, it may be the day before, or after.
    days = [
        (moment + timedelta(days=more)).date()
        for moment, more in ((events[0].occurred_at, -1), (now, 1))
    ]
    await highlights.roll_up(days[0], until=days[1])


def _people(rng: Random, now: datetime) -> list[Person]:
    """Everybody in the order they came; all but the founders and the contacts were invited by an earlier one."""
    fates = [(630.0 + 3 * number, MemberStatus.ACTIVE, False) for number in range(len(FOUNDERS))]
    for number, status, removed, youngest, oldest in FATES:
        # The community grows: more came lately than long ago.
        ages = (oldest - (oldest - youngest) * rng.random() ** 0.7 for _ in range(number))
        fates += [(age, status, removed) for age in ages]
    people: list[Person] = []
    for (age, status, removed), identity in zip(
        sorted(fates, reverse=True), _identities(rng), strict=False
    ):
        name, handle, country, role = identity
        is_founder, joined = len(people) < len(FOUNDERS), now - timedelta(days=age)
        until = (
            now
            if status is MemberStatus.ACTIVE and not removed
            else now - timedelta(days=rng.uniform(4, 50))
        )
        if status in {MemberStatus.PENDING, MemberStatus.NOT_MEMBER}:
            until = joined
        was_invited = not is_founder and status is not MemberStatus.NOT_MEMBER
        row = CommunityMember(
            telegram_id=str(FIRST_TELEGRAM_ID + len(people)),
            telegram_username=f"{handle}_demo" if is_founder or rng.random() < 0.9 else None,
            name=name,
            primary_role=role,
            organization=rng.choice(ORGANIZATIONS) if rng.random() < 0.6 else None,
            country=country,
            status=status,
            invited_by=_inviter(rng, people, joined - DEFAULT_VALIDITY, joined)
            if was_invited
            else None,
            created_at=joined,
            updated_at=joined if until == now else until,
            deleted_at=until if removed else None,
        )
        # Some only read; a few write most.
        share = 8 if is_founder else min(rng.paretovariate(1.1) - 0.9, 30) * (rng.random() < 0.9)
        people.append(Person(row=row, until=until, share=share))
        if is_founder or was_invited:
            _complete_profile(rng, people[-1], handle)
    return people


def _identities(rng: Random) -> Iterator[tuple[str, str, str, str]]:
    """Names, handles, countries and roles, as many as are asked for: the founders' first, none twice."""
    for name, country, role in FOUNDERS:
        yield name, _handle(rng, name), country, role
    names = {
        country: [" ".join(pair) for pair in itertools.product(first.split(), second.split())]
        for country, (first, second) in NAMES.items()
    }
    while True:
        [country] = rng.choices(list(names), weights=range(len(names), 0, -1))
        name = names[country].pop(rng.randrange(len(names[country])))
        yield (
            name,
            _handle(rng, name),
            country,
            rng.choices(ROLES, weights=range(len(ROLES), 0, -1))[0],
        )


def _handle(rng: Random, name: str) -> str:
    """The name in lower-case ASCII; a nickname for one that has too few such letters."""
    letters = unicodedata.normalize("NFKD", name.lower().replace(" ", "_"))
    handle = "".join(letter for letter in letters if letter in "abcdefghijklmnopqrstuvwxyz_").strip(
        "_"
    )
    nickname = "_".join(rng.choice(words.split()) for words in NICKNAMES)
    return handle if len(handle) >= 5 else f"{nickname}_{rng.randrange(10**4)}"


def _complete_profile(rng: Random, person: Person, handle: str) -> None:
    """Give a member skills, a paid fee and a GitHub account: to some, not to all."""
    row = person.row
    if rng.random() < 0.7:
        row.profile_data = {"skills": rng.sample(SKILLS.split(), rng.randint(1, 4))}
    if rng.random() < 0.4:
        row.registration_fee_paid, row.registration_fee_tx_hash = (
            True,
            f"0x{rng.getrandbits(256):064x}",
        )
    if rng.random() < (0.85 if row.primary_role == "developer" else 0.4):
        row.github_username = f"{handle.replace('_', '-')}-demo"
    if row.github_username and rng.random() < 0.75:
        skill = rng.lognormvariate(0, 1.2)
        repos, followers, stars, contributions = (
            round(n * skill * rng.uniform(0.5, 1.5)) for n in (10, 12, 18, 160)
        )
        counts = {
            "public_repos": repos,
            "followers": followers,
            "stars": stars,
            "contributions": contributions,
        }
        row.github_verified, row.github_profile_data = True, counts
        row.reputation_score = github_score(counts)
        row.github_verified_at = row.created_at + (person.until - row.created_at) * rng.random()
        row.updated_at = max(row.updated_at, row.github_verified_at)


def _inviter(
    rng: Random, people: list[Person], since: datetime, until: datetime
) -> CommunityMember:
    """Somebody who was an active member from `since` to `until`; a lively one rather than a quiet one."""
    candidates = [
        person for person in people if person.row.created_at < since and person.until > until
    ]
    return rng.choices(candidates, weights=[person.share for person in candidates])[0].row


def _events(rng: Random, people: list[Person], now: datetime) -> list[MemberParticipation]:
    """The events of the last weeks, oldest first; each person's last activity follows them."""
    hours = [
        now.replace(microsecond=0) - timedelta(hours=ago) for ago in range(EVENT_DAYS * 24, 0, -1)
    ]
    busy = [WEEKDAYS[hour.weekday()] * HOURS[hour.hour] for hour in hours]
    moments = [
        hour + timedelta(seconds=rng.randrange(3600))
        for hour in rng.choices(hours, weights=busy, k=TRIES)
    ]
    persons = rng.choices(people, weights=[person.share for person in people], k=TRIES)
    kinds = rng.choices(list(KINDS), weights=list(KINDS.values()), k=TRIES)
    rows = []
    for number, (moment, person, kind) in enumerate(
        zip(sorted(moments), persons, kinds, strict=True), start=100_001
    ):
        if person.row.created_at < moment < person.until:
            platform, room, event_type = kind
            seconds = (
                round(min(90 * rng.paretovariate(0.6), 7200))
                if event_type is EventType.VOICE
                else None
            )
            person.row.last_active_at = moment
            row = MemberParticipation(
                member_id=person.row,
                event_type=event_type,
                platform=platform,
                room_id=room,
                event_metadata=seconds and {"duration_seconds": seconds},
                occurred_at=moment,
                source_id=str(number),
            )
            rows.append(row)
    return rows


def _invitations(rng: Random, people: list[Person], now: datetime) -> Iterator[CommunityInvitation]:
    """The invitations that brought the members, then those that brought nobody, or nobody yet."""
    for guest in (person.row for person in people if person.row.invited_by is not None):
        made = guest.created_at - DEFAULT_VALIDITY * rng.uniform(0.001, 0.999)
        username = guest.telegram_username if rng.random() < 0.5 else None
        row = _invitation(
            guest.invited_by, made, InvitationStatus.ACCEPTED, username, guest.created_at
        )
        row.accepted_by, row.accepted_at = guest, guest.created_at
        yield row
    # Each contact is named once: nobody has two open invitations.
    contacts = [
        person.row.telegram_username
        for person in people
        if person.row.status == MemberStatus.NOT_MEMBER
    ]
    for number, status, newest, oldest, used in UNUSED_INVITATIONS:
        for _ in range(number):
            made = now - timedelta(hours=rng.uniform(newest, oldest))
            username = contacts.pop() if contacts and rng.random() < 0.5 else None
            yield _invitation(
                _inviter(rng, people, made, made),
                made,
                status,
                username,
                made + DEFAULT_VALIDITY * used,
            )


def _invitation(
    inviter: CommunityMember,
    made: datetime,
    status: InvitationStatus,
    username: str | None,
    updated: datetime,
) -> CommunityInvitation:
    return CommunityInvitation(
        invitation_code=new_code(),
        created_by=inviter,
        invited_telegram_username=username,
        status=status,
        expires_at=made + DEFAULT_VALIDITY,
        created_at=made,
        updated_at=updated,
    )


def _relationships(
    rng: Random, people: list[Person], now: datetime
) -> Iterator[MemberRelationship]:
    """Who invited whom, for most of them, and who taught or worked with whom."""
    for guest in (person.row for person in people if person.row.invited_by is not None):
        if rng.random() < 0.7:
            yield _relationship(
                guest.invited_by, "INVITED", guest, {"platform": "telegram"}, guest.created_at
            )
    active = [person.row for person in people if person.until == now]
    for older, younger in rng.sample(list(itertools.combinations(active, 2)), 90):
        since = younger.created_at + (now - younger.created_at) * rng.random()
        if rng.random() < 0.5:
            yield _relationship(
                older, "MENTORED", younger, {"topic": rng.choice(SKILLS.split())}, since
            )
        else:
            yield _relationship(
                older, "COLLABORATED", younger, {"project": rng.choice(PROJECTS)}, since
            )


def _relationship(
    one: CommunityMember,
    relationship_type: str,
    other: CommunityMember,
    content: dict[str, str],
    since: datetime,
) -> MemberRelationship:
    return MemberRelationship(
        entity_id_a=_entity_id(one),
        entity_id_b=_entity_id(other),
        relationship_type=relationship_type,
        content=content,
        created_at=since,
    )


def _entity_id(member: CommunityMember) -> str:
    """The member's id in ElizaOS: a UUID that follows from the telegram id."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"tg://user?id={member.telegram_id}"))
