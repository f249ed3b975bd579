"""What a notebook asks the directory, as a script."""

import asyncio
from collections import Counter
from datetime import timedelta

from community_directory.calendar import load_zone
from community_directory.database import connect
from community_directory.queries import members, participation


async def main() -> None:
    async with connect():
        people = [member async for member in members.stream()]
        countries = Counter(member.country or "unknown" for member in people)
        print("Members by country:", countries.most_common(5))

        until = participation.today()
        since = until - timedelta(days=27)
        days = await participation.by_day(since=since, until=until)
        busiest = max(days, key=lambda day: day.events)
        print(f"{sum(day.events for day in days)} events, most of them on {busiest.day:%A}")

        for room in await participation.by_room(since=since, until=until, limit=5):
            print(f"{room.platform} {room.room_id}: {room.messages} by {room.members} members")

        zone = load_zone(None)
        events = participation.stream(since=since, event_type="MESSAGE", page_size=1000)
        hours = Counter([event.occurred_at.astimezone(zone).hour async for event in events])
        most = max(hours.values(), default=1)
        print("".join("▁▂▃▄▅▆▇█"[hours[hour] * 7 // most] for hour in range(24)))


if __name__ == "__main__":
    asyncio.run(main())
