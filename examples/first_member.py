"""Add the first member, who invites the others: `python first_member.py TELEGRAM_ID NAME`."""

import asyncio
import re
import sys

from community_directory.database import connect, migrate, transaction
from community_directory.errors import DirectoryError
from community_directory.queries import members, permissions


async def main(telegram_id: str, name: str) -> None:
    async with connect():
        await migrate()
        async with transaction():
            member = await members.add(
                telegram_id=telegram_id,
                name=name,
                primary_role="founder",
                status="active",
                actor="first_member.py",
                reason="The community begins.",
            )
            await permissions.grant(member.member_id, "manage", actor="first_member.py")
    print(f"{member.name} is member {member.member_id}.")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if not re.fullmatch("[0-9]+", sys.argv[1]):
        sys.exit("A Telegram id is a number, such as 123456789.")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except DirectoryError as error:
        sys.exit(str(error))
