"""What the page Network draws: people and the links between them, or groups of people.

A link is a relationship whose two entities belong to two different people, or an invitation: it
leads from the inviter to whom they invited. Both people are present.
"""

import asyncio
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from community_directory.calendar import load_zone
from community_directory.database import Parameters, Statement, engine
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
SAMPLE_SIZE = 5_000
"""The number of relationships from which the links are estimated if there are more."""

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
HAS_TYPE = Statement(
    "SELECT EXISTS (SELECT FROM member_relationships WHERE relationship_type = :type)"
)

# The keys are random, so those that come first are of all times and people.
SAMPLE_RELATIONSHIPS = Statement("""
SELECT entity_id_a, entity_id_b, relationship_type FROM member_relationships
WHERE (:type::text IS NULL OR relationship_type = :type)
    AND (:since::timestamptz IS NULL OR created_at >= :since) AND created_at < :until
ORDER BY id LIMIT :limit
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
        left_out: The number of relationships that are of no two present people, if all were read.
    """

    people: Sequence[Person]
    links: Sequence[Link]
    is_complete: bool
    start: str | None = None
    left_out: int = 0


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
        is_estimate: Whether the numbers of links are estimated from a sample.
        left_out: The number of relationships that are of no two present people, if all were read.
    """

    groups: Sequence[Group]
    links: Sequence[Link]
    number: int
    is_estimate: bool
    left_out: int


async def list_types() -> list[str]:
    """Return the types of the relationships."""
    return [record["type"] for record in await engine.read(LIST_TYPES)]


async def has_type(relationship_type: str) -> bool:
    """Return whether any relationship has this type."""
    [(is_there,)] = await engine.read(HAS_TYPE, type=relationship_type)
    return bool(is_there)


class _Record(NamedTuple):
    """A link as it was read."""

    source: str
    target: str
    type: str


@dataclass(frozen=True, slots=True)
class _Found:
    """Links that were read.

    Attributes:
        records: The links.
        share: The share of the relationships from which they were read.
        left_out: The number of relationships that are no links, if all were read.
        groups: For each person the group, of a sample.
        numbers: The people between whom all links were looked up; None if these are all people.
    """

    records: Sequence[_Record]
    share: float = 1
    left_out: int = 0
    groups: Mapping[str, str | None] = field(default_factory=dict)
    numbers: Sequence[str] | None = None

    @property
    def has_too_many(self) -> bool:
        """Whether there are more people or links than can be drawn."""
        people = _count_ends(self.records)
        return len(people) > MAX_NODES or len(self.records) > self.share * MAX_LINKS


async def load_network(query: NetworkQuery, by: str | None) -> People | Groups:
    """Return the people with links, or around a person, or groups of too many people.

    Around a person, the nearest of too many people are drawn.

    Args:
        query: What is asked for.
        by: By which of the `GROUP_SQL` people are grouped; None if they can't be, so that those
            with most links are drawn.

    Raises:
        MemberNotFound: No present member has the number of the person.
    """
    if query.around is not None:
        near, is_complete = await _walk(query, query.around)
        records = await _read_links(query, near)
        return replace(await _load_people(records, near, is_complete), start=near[0])
    found = await _find_links(query, by)
    if not found.has_too_many:
        people = await _load_people(found.records, list(_count_ends(found.records)), True)
        return replace(people, left_out=found.left_out)
    if by is None:
        counts = _count_ends(found.records)
        shown = [number for number, _ in counts.most_common(MAX_NODES)]
        return await _load_people(_keep_between(found.records, set(shown)), shown, False)
    return await _load_groups(query, by, found)


async def _find_links(query: NetworkQuery, by: str | None) -> _Found:
    """Return all links, or those of a sample if there are too many to draw."""
    numbers = await _list_few_people(query)
    if query.kind == INVITATIONS or numbers is not None:
        return _Found(await _read_links(query, numbers), numbers=numbers)
    sample = await _sample_links(query, by)
    if sample.share == 1 or sample.has_too_many:
        return sample
    return _Found(await _read_links(query, None))


async def _list_few_people(query: NetworkQuery) -> list[str] | None:
    """Return the people whom the filters find; None if they are many or there are no filters."""
    if not query.filters:
        return None
    parameters = Parameters()
    people = _people_sql(query, parameters)
    records = await engine.read(f"{people} LIMIT {MAX_LISTED_PEOPLE + 1}", *parameters)
    numbers = [record["member_id"] for record in records]
    return numbers if len(numbers) <= MAX_LISTED_PEOPLE else None


async def _sample_links(query: NetworkQuery, by: str | None) -> _Found:
    """Return the links among some relationships, with the groups of the people."""
    values = {"type": query.type, "since": query.since, "until": query.until}
    rows, [(total,)] = await asyncio.gather(
        engine.read(SAMPLE_RELATIONSHIPS, limit=SAMPLE_SIZE, **values),
        engine.read(COUNT_RELATIONSHIPS, **values),
    )
    parameters = Parameters()
    ends = parameters.bind(list({end for one, other, _ in rows for end in (one, other)}))
    people = await engine.read(
        f"""SELECT entity_id, person.member_id, person.value FROM (
            SELECT entity_id, coalesce(member.merged_into, member.member_id) AS member_id
            FROM unnest({ends}::text[]) AS entity_id LEFT JOIN member_accounts AS account
                ON platform = 'elizaos' AND account_id = entity_id
            JOIN community_members AS member
                ON member.member_id = coalesce(account.member_id, entity_id)
        ) AS entity JOIN ({_people_sql(query, parameters, by)}) AS person USING (member_id)""",
        *parameters,
    )
    numbers = {entity: number for entity, number, _ in people}
    records = [
        _Record(numbers[one], numbers[other], name)
        for one, other, name in rows
        if one in numbers and other in numbers and numbers[one] != numbers[other]
    ]
    share = len(rows) / total if total > len(rows) else 1
    left_out = 0 if query.filters or share < 1 else len(rows) - len(records)
    return _Found(records, share, left_out, {number: value for _, number, value in people})


async def _load_groups(query: NetworkQuery, by: str, found: _Found) -> Groups:
    parameters = Parameters()
    sql = f"""SELECT value, count(*) AS people, count(*) OVER () AS groups
        FROM ({_people_sql(query, parameters, by)}) AS person
        WHERE value <> '' GROUP BY value ORDER BY count(*) DESC, value LIMIT {MAX_GROUPS}"""
    rows, counted = await asyncio.gather(
        engine.read(sql, *parameters), _count_links(query, by, found)
    )
    inside, across = Counter[str](), Counter[str]()
    for (source, target), number in counted.items():
        if source == target:
            inside[source] += number
        else:
            across[source] += number
            across[target] += number
    shown = {row["value"] for row in rows}
    links = [
        Link(source, target, number)
        for (source, target), number in counted.most_common()
        if source in shown and target in shown and source != target
    ]
    groups = [Group(name, size, inside[name], across[name]) for name, size, _ in rows]
    number = rows[0]["groups"] if rows else 0
    return Groups(groups, links, number, found.share < 1, found.left_out)


async def _count_links(query: NetworkQuery, by: str, found: _Found) -> Counter[tuple[str, str]]:
    """Return the number of links between each two groups; "" is no group."""
    if found.groups:
        ends = Counter((found.groups[one], found.groups[other]) for one, other, _ in found.records)
        counts = [(*groups, round(number / found.share)) for groups, number in ends.items()]
    else:
        parameters = Parameters()
        sql = f"""WITH {_links_sql(query, parameters, by=by, numbers=found.numbers)}
            SELECT source_value, target_value, count(*) FROM link GROUP BY 1, 2"""
        counts = [tuple(record) for record in await engine.read(sql, *parameters)]
    return Counter({(one or "", other or ""): number for one, other, number in counts})


async def _read_links(query: NetworkQuery, numbers: Sequence[str] | None) -> list[_Record]:
    """Return the links between these people, or between all."""
    parameters = Parameters()
    # A forest of more links has more people than can be drawn.
    limit = MAX_NODES if query.kind == INVITATIONS and query.around is None else MAX_LINKS
    records = await engine.read(
        f"""WITH {_links_sql(query, parameters, numbers=numbers)}
        SELECT source, target, type FROM link LIMIT {limit + 1}""",
        *parameters,
    )
    return [_Record(*record) for record in records]


def _keep_between(records: Iterable[_Record], shown: Container[str]) -> list[_Record]:
    return [each for each in records if each.source in shown and each.target in shown]


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
    records: Sequence[_Record], numbers: Sequence[str], is_complete: bool
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


def _count_ends(records: Iterable[_Record]) -> Counter[str]:
    return Counter(number for record in records for number in (record.source, record.target))


def _join_links(records: Iterable[_Record]) -> list[Link]:
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
    value = "NULL::text" if by is None else GROUP_SQL[by]
    source = "community_members"
    if by == "year":
        value = value.format(ZONE=parameters.bind(load_zone(None).key))
        source += " LEFT JOIN member_milestones USING (member_id)"
    return f"SELECT member_id, invited_by, {value} AS value FROM {source} WHERE {where}"


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
    # Invitations are fewer than people, who need not be written down before they are joined.
    materialized = "NOT MATERIALIZED " if query.kind == INVITATIONS else ""
    person = f"""person AS {materialized}(
            -- those between whom the links are
            {people}
        )"""
    if query.kind == INVITATIONS:
        return f"""{person}, link AS (
            -- who invited whom
            SELECT inviter.member_id AS source, invited.member_id AS target, 'INVITED' AS type,
                inviter.value AS source_value, invited.value AS target_value
            FROM person AS invited JOIN person AS inviter ON inviter.member_id = invited.invited_by
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
                SELECT invited_by AS member_id FROM community_members AS invited
                WHERE member_id = ANY({these}::text[]) AND {times}
                UNION
                SELECT member_id FROM community_members AS invited
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
            SELECT FROM member_milestones AS milestone WHERE milestone.member_id = invited.member_id
                AND joined_at >= {since} AND joined_at < {until}
        )"""
    conditions = [f"created_at < {until}"]
    if since is not None:
        conditions.append(f"created_at >= {since}")
    if query.type is not None:
        conditions.append(f"relationship_type = {parameters.bind(query.type)}")
    return " AND ".join(conditions)
