"""What the page Network draws: people and the links between them, or groups of people.

A link is a relationship whose two entities belong to two different people, or an invitation: it
leads from the inviter to whom they invited. Both people are present.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import asyncpg

from community_directory.calendar import load_zone
from community_directory.database import Parameters, Statement, engine, long_running, transaction
from community_directory.errors import MemberNotFound
from community_directory.queries.people_filters import check_people_filters
from community_directory.queries.standing import PRESENT
from community_directory.queries.values import member_number

RELATIONSHIPS, INVITATIONS = "relationships", "invitations"

MAX_NODES = 500
"""The most people who are drawn one by one; of more, groups are drawn."""
MAX_GROUPS = 60
"""The most groups that are drawn: the largest ones."""
MAX_LINKS = 10_000
"""The most links between people who are drawn one by one."""
MAX_TYPES = 50
"""The most types of relationships to choose from."""
MAX_LISTED_PEOPLE = 2_000
"""The most people whose links are looked up from each of them, and not from all links."""
SAMPLE_SIZE = 1_000
"""The number of relationships that show whether more people are linked than can be drawn."""

SLOW_SECONDS, KEPT_SECONDS, MAX_KEPT = 0.25, 600, 100
"""Counts between groups that took longer than this are kept for this time, and so many of them."""
kept_counts: dict[str, tuple[float, list[asyncpg.Record]]] = {}
"""The kept counts by what was asked, and when each of them ends on the monotonic clock."""

GROUP_SQL = {
    "role": "primary_role",
    "country": "country",
    "organization": "organization",
    "tier": "reputation_tier",
    "year": "extract(year FROM joined_at AT TIME ZONE {ZONE})::text",
}
"""By what people can be grouped, and its value in SQL; NULL is no group."""

LIST_TYPES = Statement(f"""
WITH RECURSIVE types AS (
    -- each step finds the next type in an index
    SELECT min(relationship_type) AS type FROM member_relationships
    UNION ALL
    SELECT (SELECT min(relationship_type) FROM member_relationships WHERE relationship_type > type)
    FROM types WHERE type IS NOT NULL
)
SELECT type FROM types WHERE type IS NOT NULL LIMIT {MAX_TYPES}
""")

SAMPLE_PEOPLE = Statement(f"""
WITH sample AS MATERIALIZED (
    -- some relationships, in no order
    SELECT entity_id_a, entity_id_b FROM member_relationships
    WHERE (:type::text IS NULL OR relationship_type = :type)
        AND (:since::timestamptz IS NULL OR created_at >= :since) AND created_at < :until
    LIMIT :limit
), entity AS (
    -- the different ends, and the members to whom they belong
    SELECT entity_id, coalesce(member.merged_into, member.member_id) AS member_id
    FROM (SELECT entity_id_a FROM sample UNION SELECT entity_id_b FROM sample) AS ends (entity_id)
    LEFT JOIN member_accounts AS account ON platform = 'elizaos' AND account_id = entity_id
    JOIN community_members AS member ON member.member_id = coalesce(account.member_id, entity_id)
), person AS (
    -- those of them who are present
    SELECT entity_id, member_id FROM entity JOIN community_members USING (member_id)
    WHERE {PRESENT}
), pair AS (
    -- the relationships between two different people
    SELECT one.member_id AS one, other.member_id AS other FROM sample
    JOIN person AS one ON one.entity_id = entity_id_a
    JOIN person AS other ON other.entity_id = entity_id_b
    WHERE one.member_id <> other.member_id
)
SELECT ARRAY(SELECT one FROM pair UNION SELECT other FROM pair), (SELECT count(*) FROM sample)
""")

FIND_START = Statement(f"""
SELECT member_id FROM community_members
WHERE member_id = (
    SELECT coalesce(merged_into, member_id) FROM community_members WHERE member_id = :number
) AND {PRESENT}
""")

COUNT_RELATIONSHIPS = Statement("""
SELECT count(*) FROM member_relationships
WHERE (:type::text IS NULL OR relationship_type = :type)
    AND (:since::timestamptz IS NULL OR created_at >= :since) AND created_at < :until
""")


@dataclass(frozen=True, slots=True)
class NetworkQuery:
    """What an address of the page asks for.

    Attributes:
        kind: `RELATIONSHIPS` or `INVITATIONS`.
        since: The beginning of the time in which the links were made; None is no limit.
        until: The end of this time.
        type: The type of the relationships; None is every type.
        filters: The filters of the page People that both people of a link meet.
        around: The number of the person from whom to walk.
        steps: The most links between that person and another one.
    """

    kind: str
    since: datetime | None
    until: datetime
    type: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    around: str | None = None
    steps: int = 2


@dataclass(slots=True)
class Person:
    """A drawn person."""

    member_id: str
    name: str
    status: str
    primary_role: str
    country: str | None
    links: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """All links that lead from one drawn node to another.

    Attributes:
        source: The number of the person, or the name of the group, at the beginning.
        target: The same of the end.
        count: The number of links.
        types: The types of the relationships; none of groups.
    """

    source: str
    target: str
    count: int
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class People:
    """People and the links between them.

    Attributes:
        people: Those with most links first.
        links: The links, those that are most first.
        is_complete: Whether nobody is left out.
        start: The number of the person from whom the others were found, or None.
    """

    people: Sequence[Person]
    links: Sequence[Link]
    is_complete: bool
    start: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """People with the same value, such as a role.

    Attributes:
        value: The value.
        people: How many people are in the group, with a link or without.
        inside: The number of links between them.
        across: The number of links to and from other groups.
    """

    value: str
    people: int
    inside: int
    across: int


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of people and the links between them.

    Attributes:
        groups: The largest groups, those with most people first.
        links: The links between these groups, those that are most first.
        number: The number of all groups.
        counted: The number of all links, also of those between other groups.
    """

    groups: Sequence[Group]
    links: Sequence[Link]
    number: int
    counted: int


async def list_types() -> list[str]:
    """Return the types of the relationships."""
    return [record["type"] for record in await engine.read(LIST_TYPES)]


async def count_relationships(query: NetworkQuery) -> int:
    """Count the stored relationships of the type and the time, whoever their ends are."""
    values = {"type": query.type, "since": query.since, "until": query.until}
    [(number,)] = await engine.read(COUNT_RELATIONSHIPS, **values)
    return int(number)


async def load_people(query: NetworkQuery) -> People | None:
    """Return the people with links, or around a person; None if there are too many to draw.

    Those around a person are never too many: the nearest ones are drawn then.

    Raises:
        MemberNotFound: No present member has the number of the person.
    """
    if query.around is not None:
        near, is_complete = await _walk(query, query.around)
        around = await _load_people(await _read_links(query, near), near, is_complete)
        return replace(around, start=near[0])
    numbers = await _list_candidates(query)
    if numbers is not None and len(numbers) > MAX_NODES and not query.filters:
        return None
    records = await _read_links(query, numbers)
    counts = _count_ends(records)
    if len(counts) > MAX_NODES or len(records) > MAX_LINKS:
        return None
    return await _load_people(records, list(counts), True)


async def load_most_linked(query: NetworkQuery) -> People:
    """Return the people with most links, as many as can be drawn."""
    records = await _read_links(query, None)
    counts = _count_ends(records)
    numbers = [number for number, _ in counts.most_common(MAX_NODES)]
    shown = set(numbers)
    kept = [record for record in records if record[0] in shown and record[1] in shown]
    return await _load_people(kept, numbers, False)


async def load_groups(query: NetworkQuery, by: str) -> Groups:
    """Return the people in groups by one of the `GROUP_SQL`."""
    parameters = Parameters()
    found = await engine.read(
        f"""SELECT value, count(*) AS people, count(*) OVER () AS groups
        FROM ({_people_sql(query, parameters, by)}) AS person
        WHERE value <> '' GROUP BY value ORDER BY count(*) DESC, value LIMIT {MAX_GROUPS}""",
        *parameters,
    )
    shown, sizes = [row["value"] for row in found], [row["people"] for row in found]
    counted = await _count_links(query, by, shown)
    inside, across = Counter[str](), Counter[str]()
    for (source, target), number in counted.items():
        if source == target:
            inside[source] += number
        else:
            across[source] += number
            across[target] += number
    links = [
        Link(source, target, number)
        for (source, target), number in counted.most_common()
        if source and target and source != target
    ]
    return Groups(
        [
            Group(value, number, inside[value], across[value])
            for value, number in zip(shown, sizes, strict=True)
        ],
        links,
        found[0]["groups"] if found else 0,
        counted.total(),
    )


async def _list_candidates(query: NetworkQuery) -> list[str] | None:
    """Return people who have all links, and maybe others; None if these are too many to list.

    Without filters, more of them than can be drawn are only some of them.
    """
    parameters = Parameters()
    if query.filters:
        records = await engine.read(
            f"{_people_sql(query, parameters)} LIMIT {MAX_LISTED_PEOPLE + 1}", *parameters
        )
        numbers = [record["member_id"] for record in records]
        return numbers if len(numbers) <= MAX_LISTED_PEOPLE else None
    if query.kind == INVITATIONS:
        return None
    values = {"type": query.type, "since": query.since, "until": query.until}
    [(sampled, size)] = await engine.read(SAMPLE_PEOPLE, limit=SAMPLE_SIZE, **values)
    return sampled if size < SAMPLE_SIZE or len(sampled) > MAX_NODES else None


async def _count_links(query: NetworkQuery, by: str, shown: list[str]) -> Counter[tuple[str, str]]:
    """Count the links between groups; "" is any other group than the shown ones."""
    key = repr((query, by))
    end, records = kept_counts.get(key, (0.0, []))
    if end < time.monotonic():
        begin = time.monotonic()
        records = await _read_counts(query, by)
        kept_counts.pop(key, None)
        if time.monotonic() - begin > SLOW_SECONDS:
            kept_counts[key] = (time.monotonic() + KEPT_SECONDS, records)
        while len(kept_counts) > MAX_KEPT:
            kept_counts.pop(next(iter(kept_counts)))
    counted, known = Counter[tuple[str, str]](), set(shown)
    for source, target, number in records:
        counted[source if source in known else "", target if target in known else ""] += number
    return counted


async def _read_counts(query: NetworkQuery, by: str) -> list[asyncpg.Record]:
    """Return the number of links from each group to each other one and to itself."""
    parameters = Parameters()
    sql = f"""WITH {_links_sql(query, parameters, by=by)}
        SELECT source_value, target_value, count(*) FROM link GROUP BY 1, 2"""
    with long_running():
        async with transaction():
            # Otherwise PostgreSQL writes the entities of 100,000 people to files.
            await engine.fetch("SET LOCAL work_mem = '64MB'")
            return await engine.fetch(sql, *parameters)


async def _read_links(query: NetworkQuery, numbers: Sequence[str] | None) -> list[asyncpg.Record]:
    """Return the beginning, the end and the type of links, between these people or all."""
    parameters = Parameters()
    limit = MAX_NODES if query.kind == INVITATIONS and numbers is None else MAX_LINKS
    return await engine.read(
        f"""WITH {_links_sql(query, parameters, numbers=numbers)}
        SELECT source, target, type FROM link LIMIT {limit + 1}""",
        *parameters,
    )


async def _walk(query: NetworkQuery, start: str) -> tuple[list[str], bool]:
    """Return a person and those who are near, the nearest first, and whether these are all."""
    number = member_number(start)
    edge = [found for (found,) in await engine.read(FIND_START, number=number)]
    if not edge:
        raise MemberNotFound(number)
    found = dict.fromkeys(edge)
    for _ in range(query.steps):
        parameters = Parameters()
        records = await engine.read(
            f"""{_neighbours_sql(query, edge, parameters)}
            ORDER BY length(member_id), member_id LIMIT {2 * MAX_NODES + 1}""",
            *parameters,
        )
        edge = [number for (number,) in records if number not in found]
        found.update(dict.fromkeys(edge))
        if len(found) > MAX_NODES:
            return list(found)[:MAX_NODES], False
    return list(found), True


async def _load_people(
    records: Sequence[asyncpg.Record], numbers: Sequence[str], is_complete: bool
) -> People:
    found = await engine.read(
        """SELECT member_id, name, status, primary_role, country FROM community_members
        WHERE member_id = ANY($1::text[])""",
        numbers,
    )
    counts = _count_ends(records)
    people = [Person(**record, links=counts[record["member_id"]]) for record in found]
    people.sort(key=lambda person: (-person.links, len(person.member_id), person.member_id))
    return People(people, _join_links(records), is_complete)


def _count_ends(records: Iterable[asyncpg.Record]) -> Counter[str]:
    return Counter(number for record in records for number in (record[0], record[1]))


def _join_links(records: Iterable[asyncpg.Record]) -> list[Link]:
    """Return one link for each two people and direction."""
    types: dict[tuple[str, str], list[str]] = {}
    for source, target, name in records:
        types.setdefault((source, target), []).append(name)
    links = [
        Link(source, target, len(names), tuple(sorted(set(names))))
        for (source, target), names in types.items()
    ]
    return sorted(links, key=lambda link: (-link.count, link.source, link.target))


def _people_sql(query: NetworkQuery, parameters: Parameters, by: str | None = None) -> str:
    """Return the SQL of the present people whom the filters find, with their group by `by`."""
    wanted = check_people_filters(status="present", **query.filters)
    where = " AND ".join([wanted.people, *wanted.where(parameters)])
    if by is None:
        return f"SELECT member_id, NULL::text AS value FROM community_members WHERE {where}"
    value = GROUP_SQL[by]
    if "{ZONE}" not in value:
        return f"SELECT member_id, {value} AS value FROM community_members WHERE {where}"
    value = value.format(ZONE=parameters.bind(load_zone(None).key))
    return f"""SELECT member_id, {value} AS value
        FROM community_members LEFT JOIN member_milestones USING (member_id) WHERE {where}"""


def _links_sql(
    query: NetworkQuery,
    parameters: Parameters,
    *,
    by: str | None = None,
    numbers: Sequence[str] | None = None,
) -> str:
    """Return CTEs, the last of which is `link`: the links between people.

    Args:
        query: What is asked for.
        parameters: The parameters of the statement, to which those of the CTEs are added.
        by: The grouping whose values the links have.
        numbers: The numbers of the people; None for all whom the filters find.
    """
    people = _people_sql(query, parameters, by)
    if numbers is not None:
        people += f" AND member_id = ANY({parameters.bind(numbers)}::text[])"
    times = _times_sql(query, parameters)
    person = f"""person AS (
            -- those between whom the links are
            {people}
        )"""
    if query.kind == INVITATIONS:
        return f"""{person}, link AS (
            -- who invited whom
            SELECT inviter.member_id AS source, invited.member_id AS target, 'INVITED' AS type,
                inviter.value AS source_value, invited.value AS target_value
            FROM person AS invited
            JOIN community_members AS member ON member.member_id = invited.member_id
            JOIN person AS inviter ON inviter.member_id = member.invited_by
            WHERE {times}
        )"""
    return f"""{person}, entity AS (
            -- what they are in relationships: their accounts, their numbers, and those of members
            -- who were merged with them
            SELECT account_id AS entity_id, member_id, value
            FROM member_accounts JOIN person USING (member_id) WHERE platform = 'elizaos'
            UNION ALL
            SELECT member_id, member_id, value FROM person
            UNION ALL
            SELECT merged.member_id, person.member_id, value
            FROM community_members AS merged JOIN person ON person.member_id = merged.merged_into
        ), link AS (
            -- the relationships between two different people
            SELECT one.member_id AS source, other.member_id AS target, relationship_type AS type,
                one.value AS source_value, other.value AS target_value
            FROM member_relationships
            JOIN entity AS one ON one.entity_id = entity_id_a
            JOIN entity AS other ON other.entity_id = entity_id_b
            WHERE one.member_id <> other.member_id AND {times}
        )"""


def _neighbours_sql(query: NetworkQuery, numbers: Sequence[str], parameters: Parameters) -> str:
    """Return the SQL of the numbers of those who have a link with these people."""
    these, times = parameters.bind(numbers), _times_sql(query, parameters)
    if query.kind == INVITATIONS:
        return f"""SELECT other.member_id FROM (
                SELECT invited_by AS member_id FROM community_members AS member
                WHERE member_id = ANY({these}::text[]) AND {times}
                UNION
                SELECT member_id FROM community_members AS member
                WHERE invited_by = ANY({these}::text[]) AND {times}
            ) AS near JOIN community_members AS other USING (member_id) WHERE {PRESENT}"""
    return f"""
        WITH entity AS (
            -- what these people are in relationships
            SELECT account_id AS entity_id FROM member_accounts
            WHERE platform = 'elizaos' AND member_id = ANY({these}::text[])
            UNION
            SELECT member_id FROM community_members
            WHERE member_id = ANY({these}::text[]) OR merged_into = ANY({these}::text[])
        ), near AS (
            -- the entities at the other ends of their relationships
            SELECT entity_id_b AS entity_id FROM member_relationships
            WHERE entity_id_a = ANY(ARRAY(SELECT entity_id FROM entity)) AND {times}
            UNION
            SELECT entity_id_a FROM member_relationships
            WHERE entity_id_b = ANY(ARRAY(SELECT entity_id FROM entity)) AND {times}
        ), near_member AS (
            -- the members to whom they belong
            SELECT coalesce(member.merged_into, member.member_id) AS member_id
            FROM near LEFT JOIN member_accounts AS account
                ON platform = 'elizaos' AND account_id = entity_id
            JOIN community_members AS member
                ON member.member_id = coalesce(account.member_id, entity_id)
        )
        SELECT member_id FROM community_members
        WHERE member_id IN (SELECT member_id FROM near_member) AND {PRESENT}"""


def _times_sql(query: NetworkQuery, parameters: Parameters) -> str:
    """Return the condition that a link has the type and is of the time, in SQL.

    A relationship has the time at which it was made, and an invitation that at which the person
    became a member; people who never were members are only in the whole time.
    """
    if query.kind == INVITATIONS and query.since is None:
        return "true"
    until = f"{parameters.bind(query.until)}::timestamptz"
    since = None if query.since is None else f"{parameters.bind(query.since)}::timestamptz"
    if query.kind == INVITATIONS:
        return f"""EXISTS (
            SELECT FROM member_milestones AS milestone WHERE milestone.member_id = member.member_id
                AND joined_at >= {since} AND joined_at < {until}
        )"""
    conditions = [f"created_at < {until}"]
    if since is not None:
        conditions.append(f"created_at >= {since}")
    if query.type is not None:
        conditions.append(f"relationship_type = {parameters.bind(query.type)}")
    return " AND ".join(conditions)
