"""Measure the Insights pages: `python -m benchmarks.insights [--quick]`.

The requests are those of a browser, by HTTP and with a session, on 100,000 members, 300,000
invitations and 1,000,000 events. `RESULTS.md` has the figures of one machine.
"""

import argparse
import asyncio
import os
import secrets
import time
from statistics import median, quantiles

import asyncpg
import httpx
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from community_directory.database import connect
from community_directory.settings import Settings
from community_directory.web.insights.layout import INSIGHTS_PATH
from community_directory.web.workspace.app import create_workspace

MEMBERS, INVITATIONS, EVENTS = 100_000, 300_000, 1_000_000
ROUNDS = 40

# Three years of a community. Everybody joined as pending and was accepted two days later; since
# then one in 50 was suspended, one in 100 banned, and one in 100 removed. #1 invited 5,000 people,
# and a chain of 1,000 invitations begins with #6000.
COMMUNITY = """
UPDATE community_members AS member SET
    created_at = now() - n * (interval '1095 days' / $1::integer),
    status = CASE WHEN n % 50 = 7 THEN 'suspended' WHEN n % 100 = 9 THEN 'banned'
        WHEN n <= 2 * $1 / 1095 THEN 'pending' ELSE 'active' END,
    deleted_at = CASE WHEN n % 100 = 3 THEN now() - n * (interval '500 days' / $1::integer) END,
    reputation_score = n * 7919 % 3000,
    reputation_tier = (ARRAY['Novice', 'Contributor', 'Active Developer', 'Experienced', 'Expert'])
        [1 + n % 5],
    invited_by = CASE WHEN n = 1 THEN NULL WHEN n <= $1 / 20 THEN '#1'
        WHEN n BETWEEN $1 / 20 + 1 AND $1 / 20 + 1000 THEN '#' || n - 1 ELSE '#' || n / 10 END
FROM generate_series(1, $1::integer) AS n WHERE member_id = '#' || n
"""
CHANGES = """
INSERT INTO directory_audit_log (changed_at, actor, action, table_name, row_id, member_id, changes)
SELECT created_at + after, 'manager', action, 'community_members', id, member_id, changes::jsonb
FROM community_members, (VALUES
    (interval '0', 'INSERT', '{"name": [null, "Somebody"], "status": [null, "pending"]}'),
    (interval '2 days', 'UPDATE', '{"status": ["pending", "active"]}'),
    (interval '3 days', 'UPDATE', '{"country": [null, "Mexico"]}')
) AS entry(after, action, changes)
WHERE created_at + after <= now()
"""
INVITED = """
INSERT INTO community_invitations
    (invitation_code, created_by, status, accepted_by, accepted_at, expires_at, created_at)
SELECT 'CODE' || 10000000 + n, '#' || 1 + n % $1::integer,
    CASE n % 10 WHEN 0 THEN 'cancelled' WHEN 1 THEN 'expired' WHEN 2 THEN 'pending'
        ELSE 'accepted' END,
    CASE WHEN n % 10 > 2 THEN '#' || 1 + (n + 1) % $1 END,
    CASE WHEN n % 10 > 2 THEN at + n % 71 * interval '1 hour' END, at + interval '3 days', at
FROM generate_series(1, $2::integer) AS n,
LATERAL (SELECT now() - n * (interval '1095 days' / $2) AS at) AS made
"""
ROLLED_UP = """
INSERT INTO member_daily_highlights (member_id, highlight_date, message_count, reaction_count)
SELECT member_id, (occurred_at AT TIME ZONE 'UTC')::date,
    count(*) FILTER (WHERE event_type = 'MESSAGE'), count(*) FILTER (WHERE event_type = 'REACTION')
FROM member_participation GROUP BY 1, 2
"""


async def fill(
    connection: asyncpg.Connection, *, members: int, invitations: int, events: int
) -> None:
    """Insert three years of a community and half a year of its events, without triggers."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(
        "INSERT INTO community_members (member_id, telegram_id, name, primary_role, status)"
        " SELECT '#' || n, n::text, 'Member ' || n, 'developer', 'active'"
        " FROM generate_series(1, $1::integer) AS n",
        members,
    )
    await load(connection, members=members, events=events)
    await connection.execute(COMMUNITY, members, timeout=600)
    await connection.execute(CHANGES, timeout=600)
    await connection.execute(INVITED, members, invitations, timeout=600)
    await connection.execute(ROLLED_UP, timeout=600)
    await connection.execute("RESET session_replication_role")
    await connection.execute("VACUUM ANALYZE", timeout=600)


async def main() -> None:
    """Measure on a scratch database, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use a tenth of the rows")
    part = 10 if parser.parse_args().quick else 1
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        await fill(
            connection,
            members=MEMBERS // part,
            invitations=INVITATIONS // part,
            events=EVENTS // part,
        )
        await connection.close()
        async with connect(url):
            await measure()


async def measure() -> None:
    """Request the pages in turn, and print the times of the answers."""
    user = await BaseUser.create_user(
        username="manager", password=secrets.token_urlsafe(), active=True, admin=True
    )
    session = await SessionsBase.create_session(user_id=user.id)
    app = create_workspace(Settings())
    pages = {
        INSIGHTS_PATH: "the page",
        "/tree/1/": "a tree 5,000 wide",
        "/tree/6000/": "a tree 1,000 deep",
    }
    times: dict[str, list[float]] = {path: [] for path in pages}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://directory.example"
    ) as client:
        client.cookies.set("id", session.token)
        for _ in range(ROUNDS):
            for path, measured in times.items():
                began = time.perf_counter()
                (await client.get(path)).raise_for_status()
                measured.append((time.perf_counter() - began) * 1000)
    for path, name in pages.items():
        *_, slow = quantiles(times[path], n=20)
        say(
            f"{name}: {min(times[path]):.0f} ms at best, median {median(times[path]):.0f} ms,"
            f" 95 % within {slow:.0f} ms"
        )
    say(f"the machine's load is {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    asyncio.run(main())
