"""The groups whose events count: those of TELEGRAM_CHATS, under their present ids."""

from collections.abc import Iterator, Mapping

from community_directory.database import Statement, engine
from community_directory.tables import Platform

FIND_MOVED_ROOMS = Statement("""
SELECT room_id, moved_to FROM directory_moved_rooms
WHERE platform = :platform AND room_id = ANY(:room_ids::text[])
""")


class CountedChats:
    """The groups whose events count, with the language in which the bot writes in each of them."""

    def __init__(self, languages: Mapping[int, str | None]) -> None:
        self._languages = dict(languages)

    def __contains__(self, chat_id: object) -> bool:
        return chat_id in self._languages

    def __len__(self) -> int:
        return len(self._languages)

    def __iter__(self) -> Iterator[int]:
        return iter(tuple(self._languages))

    def language(self, chat_id: int) -> str | None:
        """Return the language of a group, such as "es", or None if none is set."""
        return self._languages.get(chat_id)

    def move(self, old_id: int, new_id: int) -> None:
        """Count the events of the supergroup that a group has become, in the group's language."""
        if old_id in self._languages:
            language = self._languages.pop(old_id)
            self._languages.setdefault(new_id, language)

    async def follow_moves(self) -> None:
        """Replace each group that has become a supergroup by the supergroup."""
        records = await engine.fetch(
            FIND_MOVED_ROOMS, platform=Platform.TELEGRAM, room_ids=[str(each) for each in self]
        )
        for room_id, moved_to in records:
            self.move(int(room_id), int(moved_to))
