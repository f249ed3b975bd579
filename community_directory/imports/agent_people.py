"""The members of the directory by the entities of an ElizaOS agent that stand for them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import asyncpg

from community_directory.database import fetch_batches
from community_directory.elizaos import UUID_PATTERN, account_entity_ids, entity_id
from community_directory.imports.agent_rows import AgentEntity
from community_directory.tables import AccountProof, Platform

LIST_PEOPLE = """
SELECT member.member_id, member.name, member.telegram_username,
    member.deleted_at IS NOT NULL AS is_removed, linked.accounts, linked.former_numbers
FROM community_members AS member, LATERAL (
    SELECT
        (SELECT jsonb_agg(to_jsonb(account) ORDER BY linked_at, account_id)
            FROM member_accounts AS account WHERE account.member_id = member.member_id)
            AS accounts,
        ARRAY(SELECT merged.member_id FROM community_members AS merged
            WHERE merged.merged_into = member.member_id) AS former_numbers
) AS linked
WHERE member.merged_into IS NULL
"""


class LeftOut(StrEnum):
    """The reasons why a relationship is left out, as words that follow a number."""

    NO_ENTITY = "relationships of an entity that is neither a UUID nor a member"
    REMOVED = "relationships of removed members"
    ONE_PERSON = "relationships of a person with themselves"
    ERASED = "relationships of people who were erased"
    NO_TYPE = "relationships without a tag that is a type"
    NOT_STORABLE = "relationships with details that can't be stored"


@dataclass(frozen=True, slots=True)
class Person:
    """A member, and the ids that the agent's entity for them can have, the likeliest first."""

    member_id: str
    name: str
    telegram_username: str | None
    is_removed: bool
    accounts: list[Mapping[str, Any]]
    candidates: dict[str, str | None]
    """The ids of entities, with the seeds of those that an account of the person proves."""

    def has_seen(self, entity: str) -> bool:
        """Return whether an entity is an account of the member."""
        return any(account["account_id"] == entity for account in _seen(self.accounts))


class Key(NamedTuple):
    """A relationship by the members or entities at its ends, and its type."""

    source: str
    target: str
    type: str


class NewAccount(NamedTuple):
    """An entity that is computed from an account of a member."""

    entity_id: str
    member_id: str
    seed: str


class People:
    """All members, by every id under which a relationship may name them."""

    def __init__(self, agent_id: str) -> None:
        self._agent_id = agent_id
        self._by_id: dict[str, Person] = {}

    async def load(self) -> None:
        """Read the members and their accounts."""
        computed: defaultdict[str, list[Person]] = defaultdict(list)
        async with aclosing(fetch_batches(LIST_PEOPLE)) as batches:
            async for batch in batches:
                for record in batch:
                    person = _person_from(record, self._agent_id)
                    for number in (person.member_id, *record["former_numbers"]):
                        self._by_id[number] = person
                    for account in _seen(person.accounts):
                        self._by_id[account["account_id"]] = person
                    for candidate in person.candidates:
                        computed[candidate].append(person)
        for candidate, people in computed.items():
            # An entity that was seen belongs to whoever has it as an account. An id that could be
            # of two people is of neither.
            owner = self._by_id.get(candidate) or (people[0] if len(people) == 1 else None)
            for person in people:
                if person is not owner:
                    del person.candidates[candidate]
            if owner is not None:
                self._by_id[candidate] = owner

    def find(self, entity: str) -> Person | None:
        """Return the member whom an entity or a number stands for."""
        return self._by_id.get(entity)

    def find_key(self, source: str, target: str, relationship_type: str) -> Key | LeftOut:
        """Return the key of a relationship, or why it is left out."""
        ends = [self.find(source) or source, self.find(target) or target]
        if any(isinstance(end, Person) and end.is_removed for end in ends):
            return LeftOut.REMOVED
        a, b = (end.member_id if isinstance(end, Person) else end for end in ends)
        return LeftOut.ONE_PERSON if a == b else Key(a, b, relationship_type)

    def find_entity(self, end: str, known: Mapping[str, AgentEntity]) -> str | None:
        """Return the entity of the agent for the end of a key; None if there can't be one.

        An entity that the agent knows comes first.
        """
        person = self.find(end)
        if person is None:
            return end if UUID_PATTERN.fullmatch(end) else None
        known_ones = (candidate for candidate in person.candidates if candidate in known)
        return next(known_ones, next(iter(person.candidates), None))

    def find_text(self, entity: str) -> str:
        """Return the text under which the directory stores an entity.

        It is the number of a member if the entity is no account of theirs, and will not be one.
        """
        person = self.find(entity)
        if person is None or person.has_seen(entity) or person.candidates.get(entity):
            return entity
        return person.member_id

    def find_new_accounts(self, entities: Iterable[str]) -> Iterator[NewAccount]:
        """Yield the entities that an account of a member proves to be theirs, but are new."""
        for entity in entities:
            person = self.find(entity)
            if person is None or person.is_removed:
                continue
            seed = person.candidates.get(entity)
            if seed and not person.has_seen(entity):
                yield NewAccount(entity, person.member_id, seed)


def _seen(accounts: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (account for account in accounts if account["platform"] == Platform.ELIZAOS)


def _person_from(record: asyncpg.Record, agent_id: str) -> Person:
    accounts = json.loads(record["accounts"] or "[]")
    agents = {
        seen["account_id"]: str((seen["details"] or {}).get("agent_id") or "").lower()
        for seen in _seen(accounts)
    }
    candidates: dict[str, str | None] = dict.fromkeys(
        [seen for seen, agent in agents.items() if agent == agent_id.lower()]
        + [seen for seen, agent in agents.items() if not agent]
    )
    for platform in (Platform.TELEGRAM, Platform.DISCORD):
        for account in accounts:
            if account["platform"] == platform:
                is_proved = account["proof"] != AccountProof.STATED
                for made, seed in account_entity_ids(agent_id, account["account_id"]):
                    candidates.setdefault(made, seed if is_proved else None)
    candidates.setdefault(entity_id(agent_id, record["member_id"]), None)
    return Person(
        record["member_id"],
        record["name"],
        record["telegram_username"],
        record["is_removed"],
        accounts,
        candidates,
    )
