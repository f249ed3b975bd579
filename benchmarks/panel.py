"""Measure the panel beside an unchanged Piccolo Admin: `python -m benchmarks.panel [--quick]`.

Both answer each request in turn, on the same database; only the ratio means something. The network
and the browser, which cost both the same, are left out.
"""

import argparse
import asyncio
import time
from statistics import median

import asyncpg
import httpx
from piccolo.apps.user.tables import BaseUser
from piccolo_admin.endpoints import create_admin
from piccolo_api.session_auth.tables import SessionsBase
from starlette.types import ASGIApp

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from community_directory.database import connect
from community_directory.settings import Settings
from community_directory.web.admin.panel import create_panel
from community_directory.web.admin.tables import configure_tables

ROUNDS = 7
# Members and invitations in the order of time, some of them to review, and a month of highlights.
LOAD = """
SET session_replication_role = replica;
UPDATE community_members SET
    created_at = now() - (200000 - substr(member_id, 2)::integer) * interval '3 minutes',
    name = (ARRAY['Ana García', 'Bea O''Neill', 'Chidi Okafor', 'Đorđe Ilić'])
        [1 + substr(member_id, 2)::integer % 4]
        || ' ' || to_hex(substr(member_id, 2)::integer * 7919),
    status = CASE substr(member_id, 2)::integer % 100 WHEN 0 THEN 'pending' ELSE 'active' END,
    reputation_score = substr(member_id, 2)::integer * 7919 % 3000,
    country = (ARRAY['México', 'Perú', 'Chile'])[1 + substr(member_id, 2)::integer % 3];
INSERT INTO community_invitations
    (invitation_code, created_by, status, accepted_by, accepted_at, expires_at, created_at)
SELECT 'CODE' || n + 10000000, '#' || 1 + n / 10,
    CASE n % 100 WHEN 0 THEN 'pending' ELSE 'accepted' END,
    CASE WHEN n % 100 > 0 THEN '#' || n END, CASE WHEN n % 100 > 0 THEN now() END,
    now() + n % 5000 * interval '1 minute' - interval '1 day', now() - n * interval '5 minutes'
FROM community_members
CROSS JOIN LATERAL (SELECT substr(member_id, 2)::integer AS n) AS numbers WHERE n > 20;
INSERT INTO member_relationships (entity_id_a, entity_id_b, relationship_type)
SELECT gen_random_uuid()::text, gen_random_uuid()::text, 'INVITED' FROM community_members;
INSERT INTO member_daily_highlights (member_id, highlight_date, message_count)
SELECT member_id, current_date - days, 3 FROM community_members, generate_series(1, 30) AS days
WHERE substr(member_id, 2)::integer % 10 = 0;
RESET session_replication_role;
VACUUM ANALYZE;
"""
LIST = "?__readable=true&__page_size=15&__order="
OF_MEMBER = "__page=1&created_by=%23247"
OF_TYPE = "event_type=REACTION&event_type__match=exact"
QUESTIONS = {
    "members": f"community_members/{LIST}-created_at&__page=1",
    "members, page 3,000": f"community_members/{LIST}-created_at&__page=3000",
    "members to review": f"community_members/{LIST}-created_at&__page=1&status=pending",
    "members by a part of the name": f"community_members/{LIST}-created_at&__page=1&name=okafor",
    "members by a rare name": f"community_members/{LIST}-created_at&__page=1&name=bcbd1",
    "members, count": "community_members/count/",
    "members to review, count": "community_members/count/?status=pending",
    "members of a country, count": "community_members/count/?country=Per%C3%BA",
    "invitations": f"community_invitations/{LIST}-created_at&__page=1",
    "invitations, page 3,000": f"community_invitations/{LIST}-created_at&__page=3000",
    "invitations that are accepted, count": "community_invitations/count/?status=accepted",
    "relationships": f"member_relationships/{LIST}-created_at&__page=1",
    "relationships, page 3,000": f"member_relationships/{LIST}-created_at&__page=3000",
    "events": f"member_participation/{LIST}-occurred_at&__page=1",
    "events, page 3,000": f"member_participation/{LIST}-occurred_at&__page=3000",
    "events, count": "member_participation/count/",
    "events of a type, count": f"member_participation/count/?{OF_TYPE}",
    "highlights": f"member_daily_highlights/{LIST}-highlight_date&__page=1",
    "highlights, page 3,000": f"member_daily_highlights/{LIST}-highlight_date&__page=3000",
    "highlights, count": "member_daily_highlights/count/",
    "audit log": f"directory_audit_log/{LIST}-id&__page=1",
    "audit log, page 3,000": f"directory_audit_log/{LIST}-id&__page=3000",
    "who to choose: a word of many": "community_members/ids/?search=garc&limit=6",
    "who to choose: a rare word": "community_members/ids/?search=bcbd1&limit=6",
    "who to choose: two letters": "community_members/ids/?search=an&limit=6",
    "who to choose: a number": "community_members/ids/?search=%23247&limit=6",
    "who to choose: nothing typed": "community_members/ids/?limit=6",
}
# Requests that an unchanged Piccolo Admin can't answer: it has no filter by a member.
OURS = {
    "invitations of a member": f"community_invitations/{LIST}-created_at&{OF_MEMBER}",
    "events of a member": f"member_participation/{LIST}-occurred_at&__page=1&member_id=%23247",
    "events of a member, count": "member_participation/count/?member_id=%23247",
}


async def main() -> None:
    """Measure on a scratch database, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="use a tenth of the members and of the events"
    )
    members, events = (10_000, 100_000) if parser.parse_args().quick else (100_000, 1_000_000)
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        await load(connection, members=members, events=events)
        for statement in LOAD.split(";\n"):
            if statement.strip():
                await connection.execute(statement, timeout=600)
        await connection.close()
        async with connect(url):
            say(f"{members:,} members, {events:,} events; each the median of {ROUNDS}")
            await _measure()


async def _measure() -> None:
    token = await _session()
    ours = _client(create_panel(Settings()), token)
    stock = _client(create_admin([config.table_class for config, _ in configure_tables()]), token)
    slowest = 0.0
    for name, path in {**QUESTIONS, **OURS}.items():
        sides = [ours] if name in OURS else [ours, stock]
        times: list[list[float]] = [[] for _ in sides]
        for _ in range(ROUNDS):
            for side, measured in zip(sides, times, strict=True):
                began = time.perf_counter()
                response = await side.get(f"/api/tables/{path}")
                measured.append((time.perf_counter() - began) * 1000)
                response.raise_for_status()
        mine, *other = map(median, times)
        slowest = max(slowest, mine)
        say(
            f"  {name}: {mine:.0f} ms"
            + "".join(f", Piccolo Admin {it:.0f} ms: {it / mine:.1f} ×" for it in other)
        )
    say(f"the slowest of the panel's answers: {slowest:.0f} ms")


async def _session() -> str:
    user = await BaseUser.create_user(
        username="benchmark", password="benchmark only", active=True, admin=True, superuser=True
    )
    return (await SessionsBase.create_session(user_id=user.id)).token


def _client(app: ASGIApp, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://directory.example",
        cookies={"id": token},
    )


if __name__ == "__main__":
    asyncio.run(main())
