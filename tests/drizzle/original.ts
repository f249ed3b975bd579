// Write and read the directory with the schema of the original design: node original.js URL ZONE.
// It prints what it read as JSON.

import { desc, eq, isNull } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { Pool } from "pg";

import {
  communityInvitations,
  communityMembers,
  memberDailyHighlights,
  memberParticipation,
  memberRelationships,
} from "./original_schema.js";

const [connectionString, zone] = process.argv.slice(2);
const pool = new Pool({ connectionString, options: `-c timezone=${zone}` });
const db = drizzle({ client: pool });

const NOON = new Date("2026-01-31T12:00:00.123Z");
const LATER = new Date(Date.now() + 3 * 24 * 60 * 60 * 1000);

type Failure = { code: string; constraint: string; message: string };

async function failureOf(query: PromiseLike<unknown>): Promise<Failure | null> {
  try {
    await query;
    return null;
  } catch (error) {
    const { code, constraint, message } = (error as Error).cause as Failure;
    return { code, constraint, message };
  }
}

async function main() {
  const [inviter] = await db
    .insert(communityMembers)
    .values({
      member_id: "#247",
      telegram_id: "1001",
      telegram_username: "Ana_1",
      name: "Ana",
      primary_role: "developer",
      status: "active",
      github_username: "Ana-dev",
      github_verified: true,
      github_verified_at: NOON,
      github_profile_data: { id: 7, public_repos: 3 },
      last_active_at: NOON,
    })
    .returning();
  const [invitation] = await db
    .insert(communityInvitations)
    .values({ invitation_code: "0123456789ABCDEF", created_by: "#247", expires_at: LATER })
    .returning();
  const [newcomer] = await db
    .insert(communityMembers)
    .values({
      member_id: "#248",
      telegram_id: "1002",
      name: "Bo",
      primary_role: "designer",
      status: "pending",
      invited_by: inviter.member_id,
      profile_data: { discord_id: "5" },
    })
    .returning();
  const [accepted] = await db
    .update(communityInvitations)
    .set({ status: "accepted", accepted_by: newcomer.member_id, accepted_at: NOON })
    .where(eq(communityInvitations.invitation_id, invitation.invitation_id))
    .returning();
  const event = {
    member_id: "#247",
    event_type: "MESSAGE",
    platform: "telegram",
    room_id: "-100",
    event_metadata: { length: 5 },
  };
  await db.insert(memberParticipation).values([event, { ...event, occurred_at: NOON }]);
  await db.insert(memberRelationships).values({
    entity_id_a: "#247",
    entity_id_b: "#248",
    relationship_type: "MENTORED",
    content: { since: 2026 },
  });
  await db
    .insert(memberDailyHighlights)
    .values({ member_id: "#247", highlight_date: "2026-01-31", message_count: 1 });
  await db
    .update(communityMembers)
    .set({ telegram_id: "1003", status: "active" })
    .where(eq(communityMembers.member_id, "#248"));

  // The database gives the next number for an empty one.
  const [third] = await db
    .insert(communityMembers)
    .values({ member_id: "", telegram_id: "1004", name: "Zoe", primary_role: "developer" })
    .returning();

  const another = { name: "Eva", primary_role: "developer" };
  const failures = {
    sameColumn: await failureOf(
      db.insert(communityMembers).values({ ...another, member_id: "#249", telegram_id: "1001" }),
    ),
    sameAccount: await failureOf(
      db.insert(communityMembers).values({
        ...another,
        member_id: "#249",
        telegram_id: "1009",
        github_username: "eva",
        github_verified: true,
        github_verified_at: NOON,
        github_profile_data: { id: 7 },
      }),
    ),
    unknownMember: await failureOf(
      db.insert(memberParticipation).values({ ...event, member_id: "#9999" }),
    ),
  };
  console.log(
    JSON.stringify({
      inviter,
      accepted,
      third,
      members: await db
        .select()
        .from(communityMembers)
        .where(isNull(communityMembers.deleted_at))
        .orderBy(communityMembers.member_id),
      events: await db
        .select()
        .from(memberParticipation)
        .orderBy(desc(memberParticipation.occurred_at)),
      relationships: await db.select().from(memberRelationships),
      highlights: await db.select().from(memberDailyHighlights),
      failures,
    }),
  );
  await pool.end();
}

void main();
