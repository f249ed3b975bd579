"""Relationships of the directory for an ElizaOS agent, and an agent's for the directory.

A relationship of a member becomes one of the agent's entity for that person, and the other way
round it is the same relationship, under whichever id it is stored. Nothing is deleted on either
side, and a second run changes nothing.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import NamedTuple

from community_directory.database import Statement, engine, fetch_batches, long_running, transaction
from community_directory.errors import InvalidInput
from community_directory.imports import IMPORT_ACTOR
from community_directory.imports.agent_people import Key, LeftOut, NewAccount, People, Person
from community_directory.imports.agent_rows import (
    AgentEntity,
    AgentRelationship,
    AgentRows,
    Pair,
    add_contents,
    read_contents,
)
from community_directory.queries.bans import find_erased
from community_directory.queries.identifiers import Account, normalize_account
from community_directory.queries.values import ACTOR_CTE, Profile, as_json
from community_directory.tables import Platform

MIN_TIME, MAX_TIME = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""The times that can be stored are in this range."""
NUL_PATTERN = re.compile(r"(?<!\\)(\\\\)*\\u0000")
"""A NUL in JSON, which PostgreSQL can't store."""

# The newest content counts where two entities of a person have the same relationship. A stored
# relationship counts before an invitation.
LIST_RELATIONSHIPS = """
SELECT created_by AS entity_id_a, accepted_by AS entity_id_b, 'INVITED' AS relationship_type,
    '{}' AS content, accepted_at AS created_at, true AS is_invitation
FROM community_invitations WHERE status = 'accepted'
UNION ALL
SELECT invited_by, member_id, 'INVITED', '{}', created_at, true FROM community_members
WHERE invited_by IS NOT NULL AND merged_into IS NULL
UNION ALL
SELECT entity_id_a, entity_id_b, relationship_type, content::text, created_at, false
FROM member_relationships
ORDER BY is_invitation DESC, created_at, entity_id_a, entity_id_b, relationship_type
"""

STORE_RELATIONSHIPS = Statement("""
INSERT INTO member_relationships AS relationship
    (id, entity_id_a, entity_id_b, relationship_type, content, created_at)
SELECT gen_random_uuid(), a, b, type, content, coalesce(created_at, now())
FROM unnest(
    :sources::text[], :targets::text[], :types::text[], :contents::jsonb[], :times::timestamptz[]
) AS new(a, b, type, content, created_at)
ORDER BY a, b, type
ON CONFLICT (entity_id_a, entity_id_b, relationship_type) DO UPDATE SET content = EXCLUDED.content
""")

# An erasure of one of these people waits for the end of the import, or the import for the erasure.
LOCK_PEOPLE = Statement("""
SELECT member_id FROM community_members WHERE member_id = ANY(:member_ids) AND deleted_at IS NULL
ORDER BY member_id FOR KEY SHARE
""")

LINK_ENTITIES = Statement(f"""
WITH {ACTOR_CTE}
INSERT INTO member_accounts
    (id, platform, account_id, member_id, proof, proved_at, details)
SELECT gen_random_uuid(), 'elizaos', account_id, member_id, 'platform', now(),
    jsonb_build_object('agent_id', :agent_id::text, 'seed', seed)
FROM actor, unnest(:entity_ids::text[], :member_ids::text[], :seeds::text[])
    AS new(account_id, member_id, seed)
ORDER BY account_id
ON CONFLICT (platform, account_id) DO NOTHING
RETURNING id
""")


@dataclass(slots=True)
class Report:
    """The numbers of an export or import, or of one that would be made."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    entities: int = 0
    """The number of new entities of an export, or new accounts of an import."""
    left_out: Counter[LeftOut] = field(default_factory=Counter)


class _Stored(NamedTuple):
    """A relationship of the directory."""

    source: str
    target: str
    content: Profile
    created_at: datetime
    is_invitation: bool


async def export_relationships(agent_id: str, present: AgentRows) -> tuple[AgentRows, Report]:
    """Return the relationships of the directory that an agent lacks, and their number.

    Args:
        agent_id: The id of the agent, spelled as its character has it.
        present: The rows that the agent has.
    """
    report = Report()
    people = People(agent_id)
    await people.load()
    wanted: defaultdict[Pair, dict[str, _Stored]] = defaultdict(dict)
    for key, stored in (await _read_stored(people, report)).items():
        source = people.find_entity(key.source, present.entities)
        target = people.find_entity(key.target, present.entities)
        if source and target:
            wanted[source, target][key.type] = stored
        else:
            report.left_out[LeftOut.NO_ENTITY] += 1
    changes = AgentRows({}, {})
    for pair, by_type in wanted.items():
        _add_pair(pair, by_type, present, changes, report)
    ends = {end for pair in changes.relationships for end in pair}
    for end in sorted(ends - present.entities.keys()):
        changes.entities[end] = _make_entity(people.find(end))
    report.entities = len(changes.entities)
    return changes, report


def _add_pair(
    pair: Pair,
    by_type: Mapping[str, _Stored],
    present: AgentRows,
    changes: AgentRows,
    report: Report,
) -> None:
    """Add the relationships from one entity to another that the agent lacks."""
    before = present.relationships.get(pair)
    known = {} if before is None else read_contents(before)
    # An invitation has no details that could replace those of the agent.
    contents = {
        named: known.get(named, stored.content) if stored.is_invitation else stored.content
        for named, stored in by_type.items()
    }
    for named, content in contents.items():
        if named not in known:
            report.added += 1
        elif known[named] != content:
            report.changed += 1
        else:
            report.unchanged += 1
    change = add_contents(before, contents, min(one.created_at for one in by_type.values()))
    if change is not None:
        changes.relationships[pair] = change


def _make_entity(person: Person | None) -> AgentEntity:
    """Return the entity of a person, with the metadata that ElizaOS gives it."""
    if person is None:
        return AgentEntity()
    metadata = {}
    for account in person.accounts:
        username = account["username"]
        if account["platform"] in (Platform.TELEGRAM, Platform.DISCORD):
            metadata[account["platform"]] = {
                "userId": account["account_id"],
                "id": account["account_id"],
                "name": person.name,
                "username": username,
            }
    names = [person.name, *filter(None, [person.telegram_username])]
    return AgentEntity(list(dict.fromkeys(names)), metadata)


class NewRelationship(NamedTuple):
    """A relationship that an import stores."""

    source: str
    target: str
    content: str
    created_at: datetime | None


class _ImportPlan:
    """The relationships that an import stores, and why it leaves out others."""

    def __init__(self, people: People, known: Mapping[Key, _Stored], erased: set[str]) -> None:
        self.report = Report()
        self.new: dict[Key, NewRelationship] = {}
        self._people = people
        self._known = known
        self._erased = erased

    def add(self, pair: Pair, relationship: AgentRelationship) -> None:
        """Plan a relationship of the agent, which may have several types."""
        contents = read_contents(relationship)
        if not contents:
            self.report.left_out[LeftOut.NO_TYPE] += 1
        for named, content in contents.items():
            key = self._people.find_key(*pair, named)
            text = _encode(content)
            if not self._erased.isdisjoint(pair):
                self.report.left_out[LeftOut.ERASED] += 1
            elif isinstance(key, LeftOut):
                self.report.left_out[key] += 1
            elif text is None:
                self.report.left_out[LeftOut.NOT_STORABLE] += 1
            else:
                self._store(key, pair, text, content, relationship.created_at)

    def leave_out(self, gone: set[str]) -> None:
        """Take the relationships of these members out of the plan."""
        for key in [key for key in self.new if not gone.isdisjoint(key[:2])]:
            del self.new[key]
            self.report.left_out[LeftOut.REMOVED] += 1
            if key in self._known:
                self.report.changed -= 1
            else:
                self.report.added -= 1

    def _store(
        self, key: Key, pair: Pair, text: str, content: Profile, created_at: datetime | None
    ) -> None:
        stored = self._known.get(key)
        if stored is None:
            self.report.added += key not in self.new
            is_storable = created_at is not None and MIN_TIME <= created_at < MAX_TIME
            source, target = map(self._people.find_text, pair)
            self.new[key] = NewRelationship(
                source, target, text, created_at if is_storable else None
            )
        elif stored.is_invitation or stored.content == content:
            self.report.unchanged += 1
        else:
            self.report.changed += 1
            self.new[key] = NewRelationship(stored.source, stored.target, text, None)


async def import_relationships(agent_id: str, rows: AgentRows, *, dry_run: bool = False) -> Report:
    """Store the relationships of an agent, all of them or none, and the entities of members.

    An entity whose id is computed from a proved account of a member becomes an account of theirs. A
    relationship that the directory has under another id of the same people is not stored again, and
    one of an erased person is not stored.

    Args:
        agent_id: The id of the agent, spelled as its character has it.
        rows: The rows of the agent.
        dry_run: Only report what would be stored.

    Raises:
        DirectoryError: The database can't store them.
    """
    people = People(agent_id)
    await people.load()
    known = await _read_stored(people, Report())
    ends = {end for pair in rows.relationships for end in pair}
    plan = _ImportPlan(people, known, await _find_erased(people, ends, rows.entities))
    for pair, relationship in sorted(rows.relationships.items(), key=itemgetter(0)):
        plan.add(pair, relationship)
    accounts = list(people.find_new_accounts(sorted(ends | rows.entities.keys())))
    plan.report.entities = len(accounts)
    if not dry_run:
        ends = {end for key in plan.new for end in key[:2]}
        involved = {person.member_id for end in ends if (person := people.find(end))}
        plan.report.entities = await _store(agent_id, plan, accounts, involved)
    return plan.report


async def _store(
    agent_id: str, plan: _ImportPlan, accounts: Sequence[NewAccount], involved: set[str]
) -> int:
    """Store relationships and accounts in one transaction; return the number of new accounts.

    Members who were removed or erased since they were read get neither.
    """
    members = involved.union(account.member_id for account in accounts)
    with long_running():
        async with transaction():
            present = await engine.fetch(LOCK_PEOPLE, member_ids=sorted(members))
            gone = members.difference(member_id for (member_id,) in present)
            plan.leave_out(gone)
            stored = sorted(plan.new.items())
            await engine.fetch(
                STORE_RELATIONSHIPS,
                sources=[new.source for _, new in stored],
                targets=[new.target for _, new in stored],
                types=[key.type for key, _ in stored],
                contents=[new.content for _, new in stored],
                times=[new.created_at for _, new in stored],
            )
            kept = [account for account in accounts if account.member_id not in gone]
            linked = await engine.fetch(
                LINK_ENTITIES,
                actor=IMPORT_ACTOR,
                reason=None,
                agent_id=agent_id,
                entity_ids=[account.entity_id for account in kept],
                member_ids=[account.member_id for account in kept],
                seeds=[account.seed for account in kept],
            )
    return len(linked)


async def _find_erased(
    people: People, ends: Iterable[str], entities: Mapping[str, AgentEntity]
) -> set[str]:
    """Return the entities of people who were erased, by all accounts that are known."""
    key_texts: defaultdict[str, set[str]] = defaultdict(set)
    for end in ends:
        if people.find(end) is None:
            for account in _accounts_of(end, entities.get(end)):
                key_texts[account.telegram_id].add(end)
    return {end for account in await find_erased(list(key_texts)) for end in key_texts[account]}


def _accounts_of(entity: str, known: AgentEntity | None) -> Iterator[Account]:
    """Yield an entity as an account, and the accounts that its metadata names."""
    yield Account(Platform.ELIZAOS, entity)
    for platform in (Platform.TELEGRAM, Platform.DISCORD):
        named = known.metadata.get(platform) if known else None
        if isinstance(named, Mapping):
            for value in (named.get("id"), named.get("userId")):
                with suppress(InvalidInput):
                    yield normalize_account(platform, value)  # type: ignore[arg-type]


async def _read_stored(people: People, report: Report) -> dict[Key, _Stored]:
    """Return the relationships of the directory, each once, and count those that are left out."""
    found: dict[Key, _Stored] = {}
    async with aclosing(fetch_batches(LIST_RELATIONSHIPS)) as batches:
        async for batch in batches:
            for source, target, named, content, created_at, is_invitation in batch:
                key = people.find_key(source, target, named)
                if isinstance(key, Key):
                    found[key] = _Stored(
                        source, target, json.loads(content), created_at, is_invitation
                    )
                elif not is_invitation:
                    report.left_out[key] += 1
    return found


def _encode(content: Profile) -> str | None:
    """Return the JSON of a content, or None if it can't be stored."""
    try:
        text = as_json(content)
        if text is None or NUL_PATTERN.search(text):
            return None
        # An integer may exceed the numbers that every JSON parser can read.
        as_json(json.loads(text, parse_int=float))
    except InvalidInput:
        return None
    return text
