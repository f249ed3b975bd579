"""The groups whose events count: those of TELEGRAM_CHATS, under their present ids."""

from collections.abc import Iterator, Mapping


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
        """Count the events of the supergroup that a group has become."""
        if old_id in self._languages:
            self._languages[new_id] = self._languages.pop(old_id)
