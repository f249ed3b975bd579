"""The bot starts, handles updates and stops."""

from tests.bot.stand_in import Telegram


async def test_an_update_is_confirmed_when_it_was_handled(telegram: Telegram) -> None:
    ana = telegram.person(1001, "Ana", username="ana")
    assert await ana.says("hello") == []
    assert telegram.unconfirmed == []
