"""A Discord bot for the directory: people join and invite, and what they do is counted."""

import asyncio
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import discord
from discord import Interaction, RawReactionActionEvent, VoiceState, app_commands

from community_directory.database import connect
from community_directory.errors import DirectoryError, OperatorError
from community_directory.queries import accounts, invitations, members, participation
from community_directory.queries.participation import NewEvent, Recorder


class CommandTree(app_commands.CommandTree[discord.Client]):
    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError) -> None:
        cause = error.__cause__
        if not isinstance(cause, DirectoryError):
            raise error
        if isinstance(cause, OperatorError):
            print(cause)
        await interaction.response.send_message(cause.public_message, ephemeral=True)


class DirectoryBot(discord.Client):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__(intents=discord.Intents.default())
        self.recorder = recorder
        self.voice_since: dict[int, datetime] = {}
        self.tree = CommandTree(self)
        commands: list[app_commands.Command[Any, ..., None]]
        commands = [join, invite, show_profile, show_leaderboard, link]
        for command in commands:
            self.tree.add_command(command)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def on_message(self, message: discord.Message) -> None:
        if not message.is_system():
            place = {"room_id": message.channel.id, "source_id": message.id}
            self.count("MESSAGE", message.author.id, **place, occurred_at=message.created_at)

    async def on_raw_reaction_add(self, event: RawReactionActionEvent) -> None:
        place = {"room_id": event.channel_id, "source_id": event.message_id}
        self.count("REACTION", event.user_id, **place)

    async def on_raw_reaction_remove(self, event: RawReactionActionEvent) -> None:
        channel = self.get_partial_messageable(event.channel_id)
        message = await channel.fetch_message(event.message_id)
        just_before = discord.Object(event.user_id - 1)
        for reaction in message.reactions:
            async for user in reaction.users(limit=1, after=just_before):
                if user.id == event.user_id:
                    return  # it was not their last reaction to this message
        await self.recorder.flush()
        await participation.take_back(
            account=("discord", event.user_id),
            platform="discord",
            room_id=event.channel_id,
            source_id=event.message_id,
        )

    async def on_voice_state_update(
        self, member: discord.Member, before: VoiceState, after: VoiceState
    ) -> None:
        if before.channel == after.channel:
            return  # somebody has muted themselves, for example
        now = datetime.now(UTC)
        since = self.voice_since.pop(member.id, None)
        if before.channel and since:
            stay = {"duration_seconds": (now - since).total_seconds()}
            self.count(
                "VOICE", member.id, room_id=before.channel.id, occurred_at=since, metadata=stay
            )
        if after.channel:
            self.voice_since[member.id] = now

    def count(self, event_type: str, user_id: int, **values: Any) -> None:
        account = ("discord", user_id)
        self.recorder.add(
            NewEvent(account=account, event_type=event_type, platform="discord", **values)
        )


async def answer(interaction: Interaction, text: str) -> None:
    await interaction.response.send_message(text, ephemeral=True)


@app_commands.command(description="Join the community with an invitation code")
async def join(
    interaction: Interaction, code: str, role: Literal["developer", "designer", "organizer"]
) -> None:
    user = interaction.user
    redemption = await invitations.redeem(
        code, telegram_id=f"discord:{user.id}", name=user.display_name, primary_role=role
    )
    await answer(interaction, f"Welcome! Your number is {redemption.member.member_id}.")


@app_commands.command(description="Get a code with which somebody can join")
async def invite(interaction: Interaction) -> None:
    member = await members.resolve(f"discord:{interaction.user.id}")
    invitation = await invitations.create(created_by=member.member_id)
    await answer(interaction, f"Let them type: /join {invitation.invitation_code}")


@app_commands.command(name="profile", description="Show the profile of a member")
async def show_profile(interaction: Interaction, user: discord.User) -> None:
    member = members.public(await members.resolve(f"discord:{user.id}"))
    lines = [f"{field}: {value}" for field, value in asdict(member).items() if value is not None]
    await answer(interaction, "\n".join(lines))


@app_commands.command(name="leaderboard", description="Show the members with the best reputation")
async def show_leaderboard(interaction: Interaction) -> None:
    page = await members.leaderboard(limit=10)
    lines = [f"{member.name}: {member.reputation_score}" for member in page.items]
    await answer(interaction, "\n".join(lines) or "Nobody is active.")


@app_commands.command(description="Link an account: get a code, or type the one of another bot")
async def link(interaction: Interaction, code: str | None = None) -> None:
    user = interaction.user
    if code is None:
        begun = await accounts.begin_link(account=("discord", user.id))
        await answer(interaction, f"Type this to our other bot within ten minutes: {begun.code}")
    else:
        linked = await accounts.complete_link(
            code, platform="discord", account_id=user.id, username=user.name
        )
        await answer(interaction, f"You are member {linked.member_id}.")


async def main(token: str) -> None:
    async with connect(), participation.recorder() as recorder, DirectoryBot(recorder) as bot:
        await bot.start(token)


if __name__ == "__main__":
    if not (token := os.environ.get("DISCORD_TOKEN")):
        sys.exit("Set DISCORD_TOKEN to the token of your bot.")
    asyncio.run(main(token))
