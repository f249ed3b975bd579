"""asyncpg alone: the yardstick. The statements are the helpers' own, on asyncpg's pool as it comes."""

import json
from typing import Any, ClassVar

import asyncpg

from benchmarks.clients.base import POOL, Client as Base, parsed
from community_directory.queries import highlights, invitations, members, participation

COLUMNS = participation.COLUMNS.split(", ")

CLAIM = """
SELECT invitation_id, created_by FROM community_invitations
WHERE invitation_code = $1 AND status = 'pending' AND expires_at > now() FOR UPDATE
"""
LET_IN = f"""
INSERT INTO community_members (telegram_id, name, primary_role, status, invited_by)
VALUES ($1, $2, 'developer', 'pending', $3) RETURNING {members.COLUMNS}
"""
ACCEPT = """
UPDATE community_invitations SET status = 'accepted', accepted_by = $2, accepted_at = now() WHERE invitation_id = $1
"""


class Client(Base):
    """A pool of asyncpg's, with its defaults."""

    versions: ClassVar = {"asyncpg": asyncpg.__version__}
    pool: Any

    async def open(self, url: str) -> None:
        """Open ten connections."""
        self.pool = await asyncpg.create_pool(url, min_size=POOL, max_size=POOL)

    async def close(self) -> None:
        """Close them."""
        await self.pool.close()

    def native(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:
        """The arguments of the statements."""
        return parsed(operation, arguments)

    def answer(self, operation: str, result: Any) -> Any:
        """What the records say."""
        if operation == "member":
            return result and [result["member_id"], result["name"], result["status"], result["reputation_score"]]
        return result

    async def member(self, telegram_id: str) -> Any:
        """A member's row."""
        return await self.pool.fetchrow(members.GET_BY_TELEGRAM_ID, telegram_id)

    async def redeem(self, code: str, telegram_id: str, name: str) -> Any:
        """Let a new person in, with the invitation's row locked."""
        async with self.pool.acquire() as connection, connection.transaction():
            invitation = await connection.fetchrow(CLAIM, code)
            if invitation is None:
                return None
            member = await connection.fetchrow(LET_IN, telegram_id, name, invitation["created_by"])
            await connection.execute(ACCEPT, invitation["invitation_id"], member["member_id"])
            return member
