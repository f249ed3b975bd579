"""The filters of members by their status, and what everybody else is told."""

from aiogram import F
from aiogram.filters import BaseFilter
from aiogram.types import TelegramObject

from community_directory.language import Translation
from community_directory.queries.members import Member
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus

IN_PRIVATE_CHAT = F.chat.type == "private"


class HasStatus(BaseFilter):
    """Accepts the updates of members with one of these statuses."""

    def __init__(self, *statuses: MemberStatus) -> None:
        self.statuses = statuses

    async def __call__(self, _event: TelegramObject, member: Member | None = None) -> bool:
        """Return whether the author of an update has one of the statuses."""
        return member is not None and member.status in self.statuses


IS_ACTIVE = HasStatus(MemberStatus.ACTIVE)
HAS_JOINED = HasStatus(MemberStatus.ACTIVE, MemberStatus.PENDING)


def describe_status(member: Member | None, translation: Translation) -> str:
    """Return what a person can do next, by the status of their membership."""
    gettext = translation.gettext
    status = None if member is None else member.status
    if status is MemberStatus.ACTIVE:
        return gettext("You are a member. Send /help to see what you can do here.")
    if status is MemberStatus.PENDING:
        return gettext(
            "Your membership waits for the approval of a community manager. "
            "You will get a message here. Meanwhile, /profile shows what they see of you."
        )
    if status is MemberStatus.SUSPENDED:
        return gettext(
            "Your membership is suspended. Ask a community manager what you can do about it."
        )
    if status is MemberStatus.BANNED:
        return gettext(
            "You can't take part in this community. If that is a mistake, ask a manager."
        )
    return gettext(
        "This is the directory of {community}. People join it with an invitation of a member: "
        "open the link that you got, or send its code here.",
        community=load_settings().site_name,
    )
