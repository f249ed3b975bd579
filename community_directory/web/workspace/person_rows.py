"""What the page of a person reads, beside what the query helpers return."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from community_directory.database import Statement, engine
from community_directory.queries import relationships
from community_directory.queries.invitation_rows import (
    Invitation,
    invitation_columns,
    invitation_from,
)
from community_directory.queries.member_rows import Member, member_columns, member_from
from community_directory.queries.merge_suggestions import ReasonKind

LISTED_ROWS = 6
"""The number of invitations, of invited people, or of relationships on the page."""
MAX_SIMILAR = 3
"""The number of members on the page who seem to be the same person."""

_STATE = """CASE WHEN {0}.merged_into IS NOT NULL THEN 'merged'
    WHEN {0}.telegram_id ~ '^(erased|banned):' THEN 'erased'
    WHEN {0}.deleted_at IS NOT NULL THEN 'removed' ELSE {0}.status END"""


def state_sql(table: str) -> str:
    """Return the SQL of a member's state: the status, or "removed", "erased" or "merged"."""
    return _STATE.format(table)


GET_PERSON = Statement(f"""
SELECT {member_columns("member")}, member.merged_into, {state_sql("member")} AS state,
    inviter.member_id AS inviter_id, inviter.name AS inviter_name,
    ARRAY(SELECT kind FROM member_requests AS request WHERE request.member_id = ANY(ARRAY(
        SELECT numbered.member_id FROM community_members AS numbered
        WHERE numbered.member_id = :member_id OR numbered.merged_into = :member_id
    )) ORDER BY kind) AS requests
FROM community_members AS member
LEFT JOIN community_members AS inviter ON inviter.member_id = member.invited_by
WHERE member.member_id = :member_id
""")

LIST_MADE_INVITATIONS = Statement(f"""
SELECT {invitation_columns("invitation")}, guest.member_id AS guest_id, guest.name AS guest_name,
    {state_sql("guest")} AS guest_state
FROM community_invitations AS invitation
LEFT JOIN community_members AS guest ON guest.member_id = invitation.accepted_by
WHERE invitation.created_by = :member_id
ORDER BY invitation.created_at DESC, invitation.invitation_id DESC LIMIT :limit
""")

LIST_RECEIVED_INVITATIONS = Statement("""
SELECT inviter.member_id, inviter.name, invitation.created_at, invitation.accepted_at
FROM community_invitations AS invitation
JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
WHERE invitation.accepted_by = :member_id
ORDER BY invitation.accepted_at DESC, invitation.invitation_id LIMIT :limit
""")

LIST_CHILDREN = Statement(f"""
SELECT child.member_id, child.name, {state_sql("child")} AS state, total, (
    SELECT count(*) FROM community_members AS grandchild
    WHERE grandchild.invited_by = child.member_id AND NOT grandchild.is_bot
        AND grandchild.merged_into IS NULL
) AS invited
FROM (
    SELECT *, count(*) OVER () AS total FROM community_members
    WHERE invited_by = :member_id AND NOT is_bot AND merged_into IS NULL
    ORDER BY created_at DESC, id DESC LIMIT :limit
) AS child ORDER BY child.created_at DESC, child.id DESC
""")

# An account that a column of the member names can't be unlinked.
LIST_ACCOUNTS = Statement("""
SELECT account.platform, account.account_id, account.username, account.proof, account.linked_at,
    EXISTS (
        SELECT FROM member_accounts_named(member) AS named
        WHERE named.platform = account.platform AND named.account_id = account.account_id
    ) AS is_named
FROM community_members AS member JOIN member_accounts AS account USING (member_id)
WHERE member_id = :member_id
ORDER BY account.linked_at, account.platform, account.account_id
""")

LIST_MERGED = Statement("""
SELECT duplicate.member_id, duplicate.name, merged_at
FROM directory_merges JOIN community_members AS duplicate ON duplicate.member_id = duplicate_id
WHERE into_id = :member_id AND undone_at IS NULL ORDER BY merged_at DESC, duplicate_id
""")

# The reasons are those of `members.merge_suggestions`, which compares all members. OFFSET 0 keeps
# the planner from reading whole tables for the few rows that it overestimates.
FIND_SIMILAR = Statement("""
WITH person AS MATERIALIZED (SELECT * FROM community_members WHERE member_id = :member_id),
usernames AS (
    -- every username of the person on a platform
    SELECT lower(account.username) AS username, platform
    FROM member_accounts AS account JOIN person USING (member_id) WHERE username IS NOT NULL
    UNION
    SELECT lower(github_username), 'github' FROM person WHERE github_username IS NOT NULL
    UNION
    SELECT lower(telegram_username), 'telegram' FROM person WHERE telegram_username IS NOT NULL
),
hints (kind, detail, number) AS MATERIALIZED (
    SELECT 'proved', NULL, CASE WHEN member_a = :member_id THEN member_b ELSE member_a END
    FROM directory_proved_pairs WHERE member_a = :member_id OR member_b = :member_id
    UNION
    SELECT 'github', other.github_username, other.member_id
    FROM person JOIN community_members AS other ON other.github_username IN (
        person.github_username, lower(person.github_username)
    )
    UNION
    SELECT 'stated', account_id, account.member_id
    FROM member_accounts AS account WHERE platform = 'discord' AND account_id = (
        SELECT profile_data ->> 'discord_id' FROM person
    )
    UNION
    SELECT 'stated', account_id, other.member_id
    FROM (
        SELECT account_id FROM member_accounts AS account
        WHERE account.member_id = :member_id AND platform = 'discord' OFFSET 0
    ) AS own CROSS JOIN LATERAL (
        SELECT member_id FROM community_members
        WHERE profile_data ->> 'discord_id' = account_id OFFSET 0
    ) AS other
    UNION
    SELECT 'username', usernames.username, account.member_id
    FROM usernames JOIN member_accounts AS account ON lower(account.username) = usernames.username
        AND account.platform <> usernames.platform
    UNION
    SELECT 'username', usernames.username, other.member_id
    FROM usernames JOIN community_members AS other
        ON lower(other.telegram_username) = usernames.username
    WHERE platform <> 'telegram'
    UNION
    SELECT 'name', person.invited_by, other.member_id
    FROM person JOIN community_members AS other ON other.invited_by = person.invited_by
        AND directory_search_text(other.name) = directory_search_text(person.name)
    WHERE directory_search_text(person.name) <> ''
        AND other.invited_by IS NOT NULL AND other.deleted_at IS NULL AND NOT other.is_bot
)
SELECT member_id, name, kind, detail FROM (
    SELECT DISTINCT ON (other.member_id) other.member_id, other.name, kind, detail,
        array_position(:kinds::text[], kind) AS strength
    FROM hints CROSS JOIN LATERAL (
        SELECT member_id, name, deleted_at, is_bot FROM community_members
        WHERE member_id = (
            SELECT coalesce(merged_into, member_id) FROM community_members AS named
            WHERE named.member_id = hints.number
        ) OFFSET 0
    ) AS other
    WHERE other.member_id <> :member_id AND other.deleted_at IS NULL AND NOT other.is_bot
        AND NOT EXISTS (
            SELECT FROM directory_dismissed_merges
            WHERE (member_a, member_b) IN (
                (:member_id, other.member_id), (other.member_id, :member_id)
            )
        )
    ORDER BY other.member_id, strength
) AS similar_people
ORDER BY strength, length(member_id), member_id LIMIT :limit
""")

# The invitations say who invited whom, so that relationships that say the same are left out.
LIST_RELATIONSHIPS = Statement("""
SELECT relationship_type, other.member_id, other.name, other_id, is_from_member, created_at
FROM (
    SELECT relationship_type, created_at, id, entity_id_a = ANY(:entity_ids) AS is_from_member,
        CASE WHEN entity_id_a = ANY(:entity_ids) THEN entity_id_b ELSE entity_id_a END AS other_id
    FROM member_relationships
    WHERE (entity_id_a = ANY(:entity_ids)) <> (entity_id_b = ANY(:entity_ids))
        AND (entity_id_a = ANY(:entity_ids) OR entity_id_b = ANY(:entity_ids))
        AND relationship_type <> 'INVITED'
    ORDER BY created_at DESC, id LIMIT :limit
) AS stored LEFT JOIN LATERAL (
    SELECT member_id, name FROM community_members WHERE member_id = coalesce(
        (SELECT member_id FROM member_accounts
            WHERE platform = 'elizaos' AND account_id = other_id),
        (SELECT coalesce(merged_into, member_id) FROM community_members
            WHERE member_id = other_id)
    ) OFFSET 0
) AS other ON true
ORDER BY created_at DESC, id
""")

COUNT_MERGED_ROWS = Statement("""
SELECT merge.merged_at, table_name, count(row_id)
FROM directory_merges AS merge LEFT JOIN directory_merged_rows ON merge_id = merge.id
WHERE duplicate_id = :duplicate AND into_id = :into AND undone_at IS NULL
GROUP BY merge.merged_at, table_name
""")


class Named(NamedTuple):
    """A member as the end of a link."""

    member_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Person:
    """A member with what their page says first; they may be removed, erased or merged.

    Attributes:
        member: The member.
        merged_into: The number of the member who has everything of this one.
        state: The status, or "removed", "erased" or "merged".
        inviter: The member who invited this one.
        requests: The kinds of the open requests of the member.
    """

    member: Member
    merged_into: str | None
    state: str
    inviter: Named | None
    requests: Sequence[str]

    @property
    def is_present(self) -> bool:
        """Whether the member is in the lists."""
        return self.member.deleted_at is None


@dataclass(frozen=True, slots=True)
class MadeInvitation:
    """An invitation with the person who accepted it, and their present state."""

    invitation: Invitation
    guest: Named | None
    guest_state: str | None


class ReceivedInvitation(NamedTuple):
    """The invitation with which somebody joined."""

    inviter: Named
    sent_at: datetime
    accepted_at: datetime


class Child(NamedTuple):
    """A person whom the member invited, and how many people that one invited."""

    member_id: str
    name: str
    state: str
    invited: int


@dataclass(frozen=True, slots=True)
class Children:
    """The people whom a member invited last, and the number of all of them."""

    listed: list[Child]
    total: int


class ShownAccount(NamedTuple):
    """An account of the member; a column of the member may name it, and then it stays."""

    platform: str
    account_id: str
    username: str | None
    proof: str
    linked_at: datetime
    is_named: bool


class MergedNumber(NamedTuple):
    """A number that leads to the member."""

    member_id: str
    name: str
    merged_at: datetime


class SimilarPerson(NamedTuple):
    """A member who seems to be the same person."""

    member_id: str
    name: str
    kind: ReasonKind
    detail: str | None


class ShownRelationship(NamedTuple):
    """A relationship with somebody, which leads from the member or to them."""

    type: str
    other: Named | None
    entity_id: str
    is_from_member: bool
    created_at: datetime


async def find_person(member_id: str) -> Person | None:
    """Return the member with this number, whatever became of them; None if there is none."""
    records = await engine.fetch(GET_PERSON, member_id=member_id)
    if not records:
        return None
    [record] = records
    inviter = Named(record["inviter_id"], record["inviter_name"]) if record["inviter_id"] else None
    return Person(
        member_from(record), record["merged_into"], record["state"], inviter, record["requests"]
    )


async def list_made_invitations(member_id: str) -> list[MadeInvitation]:
    """List the last invitations that a member created."""
    records = await engine.read(LIST_MADE_INVITATIONS, member_id=member_id, limit=LISTED_ROWS)
    return [
        MadeInvitation(
            invitation_from(record),
            Named(record["guest_id"], record["guest_name"]) if record["guest_id"] else None,
            record["guest_state"] if record["guest_id"] else None,
        )
        for record in records
    ]


async def list_received_invitations(member_id: str) -> list[ReceivedInvitation]:
    """List the invitations with which a member joined; after a merge there can be several."""
    records = await engine.read(LIST_RECEIVED_INVITATIONS, member_id=member_id, limit=LISTED_ROWS)
    return [ReceivedInvitation(Named(*record[:2]), *record[2:]) for record in records]


async def list_children(member_id: str) -> Children:
    """List the people whom a member invited last, without bots and merged members."""
    records = await engine.read(LIST_CHILDREN, member_id=member_id, limit=LISTED_ROWS)
    listed = [
        Child(record["member_id"], record["name"], record["state"], record["invited"])
        for record in records
    ]
    return Children(listed, records[0]["total"] if records else 0)


async def list_accounts(member_id: str) -> list[ShownAccount]:
    """List the accounts of a member, the oldest link first."""
    return [
        ShownAccount(*record) for record in await engine.fetch(LIST_ACCOUNTS, member_id=member_id)
    ]


async def list_merged(member_id: str) -> list[MergedNumber]:
    """List the members who were merged into this one, the last one first."""
    return [
        MergedNumber(*record) for record in await engine.fetch(LIST_MERGED, member_id=member_id)
    ]


async def find_similar(member_id: str) -> list[SimilarPerson]:
    """List the members who seem to be the same person as this one, the strongest reason first."""
    records = await engine.read(
        FIND_SIMILAR, member_id=member_id, kinds=list(ReasonKind), limit=MAX_SIMILAR
    )
    return [
        SimilarPerson(number, name, ReasonKind(kind), detail)
        for number, name, kind, detail in records
    ]


async def list_relationships(member_id: str) -> list[ShownRelationship]:
    """List the last relationships of a member, without those that say who invited whom.

    Raises:
        MemberNotFound: The member was removed.
    """
    entities = await relationships.entities_of(member_id)
    records = await engine.read(
        LIST_RELATIONSHIPS,
        entity_ids=[entity.entity_id for entity in entities],
        limit=LISTED_ROWS,
    )
    return [
        ShownRelationship(kind, Named(number, name) if number else None, *rest)
        for kind, number, name, *rest in records
    ]
