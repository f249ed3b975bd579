"""A Discord bot for the directory: people join with a code, and what members write is counted."""

import os
import sys

import discord
from discord import app_commands

from community_directory.database import DirectoryConnection, connect
from community_directory.errors import OperatorError, UserError
from community_directory.queries import invitations, members, participation


def account_of(user: discord.abc.User) -> str:
    """Return the `telegram_id` that imports of Discord's history store for an account."""
    return f"discord:{user.id}"


class DirectoryBot(discord.Client):
    directory: DirectoryConnection | None = None

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.default())
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(join)

    async def setup_hook(self) -> None:
        self.directory = await connect()
        await self.tree.sync()

    async def close(self) -> None:
        await super().close()
        if self.directory is not None:
            await self.directory.close()

    async def on_message(self, message: discord.Message) -> None:
        member = await members.find_by_telegram_id(account_of(message.author))
        if member is not None:
            await participation.record(
                member_id=member.member_id,
                event_type="MESSAGE",
                platform="discord",
                room_id=message.channel.id,
                source_id=message.id,
                occurred_at=message.created_at,
            )


@app_commands.command(description="Join the community with an invitation code")
async def join(interaction: discord.Interaction, code: str) -> None:
    try:
        redemption = await invitations.redeem(
            code,
            telegram_id=account_of(interaction.user),
            name=interaction.user.display_name,
            primary_role="newcomer",
            profile_data={"discord_id": str(interaction.user.id)},
        )
        answer = f"Welcome! Your number is {redemption.member.member_id}."
    except UserError as error:
        answer = str(error)
    except OperatorError as error:
        print(error)
        answer = error.public_message
    await interaction.response.send_message(answer, ephemeral=True)


if __name__ == "__main__":
    if not (token := os.environ.get("DISCORD_TOKEN")):
        sys.exit("Set DISCORD_TOKEN to the token of your bot.")
    DirectoryBot().run(token)
