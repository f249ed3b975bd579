"""Greet whoever was approved, by whichever program: the panel, a bot or plain SQL."""

import asyncio

from community_directory.database import connect
from community_directory.queries import audit, members
from community_directory.queries.audit import ChangeKind


async def main() -> None:
    async with connect():
        async for change in audit.follow("greeter"):
            if change.kind is ChangeKind.MEMBER_APPROVED:
                member = await members.find(change.member_id)
                if member is not None:
                    print(f"Welcome, {member.name}!", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
