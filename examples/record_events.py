"""Record a stream of events: the recorder stores them in batches."""

import asyncio
from collections.abc import AsyncIterator

from community_directory.database import connect
from community_directory.queries.participation import NewEvent, RecorderFull, recorder


async def updates() -> AsyncIterator[NewEvent]:
    """Yield what the platform delivers; here two messages, one of them twice."""
    for message_id in (4711, 4712, 4711):
        yield NewEvent(
            account=("telegram", 1001),
            event_type="MESSAGE",
            platform="telegram",
            room_id=-1001234567890,
            source_id=message_id,
        )


async def main() -> None:
    async with connect(), recorder() as events:
        async for event in updates():
            try:
                events.add(event)
            except RecorderFull as error:
                print(error)
        await events.flush()
        print(events.stored, "stored,", events.duplicates, "already there")


if __name__ == "__main__":
    asyncio.run(main())
