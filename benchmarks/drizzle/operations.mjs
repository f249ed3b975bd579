// The measured operations as Drizzle's documentation shows them. Each one converts its arguments, runs, and converts its
// result to JSON. Statements are prepared by name, as the documentation recommends for speed.

import { and, asc, between, count, desc, eq, gt, gte, isNull, lt, lte, sql } from "drizzle-orm";

import { highlights, invitations, members, participation } from "./schema.mjs";

const PAGE = 20;
// One statement has two limits: the protocol's 65,535 parameters, and the stack, on which Drizzle puts them all.
const ROWS_OF_A_STATEMENT = 5_000;
const DAY = 24 * 60 * 60 * 1000; // in milliseconds

const placeholder = sql.placeholder;

export function operationsOn(db) {
  return {
    member: member(db),
    record: record(db),
    record_many: recordMany(db),
    redeem: redeem(db),
    directory: directory(db),
    search: search(db),
    last_30_days: last30Days(db),
    last_30_days_raw: last30DaysRaw(db),
    roll_up: rollUp(db),
    tree: tree(db),
    expire_overdue: expireOverdue(db),
  };
}

function member(db) {
  const statement = db
    .select()
    .from(members)
    .where(and(eq(members.telegram_id, placeholder("telegram_id")), isNull(members.deleted_at)))
    .prepare("member");
  return {
    run: async (telegram_id) => (await statement.execute({ telegram_id }))[0],
    answer: (found) => found && [found.member_id, found.name, found.status, found.reputation_score],
  };
}

function record(db) {
  const columns = ["member_id", "event_type", "platform", "room_id", "source_id", "occurred_at"];
  const statement = db
    .insert(participation)
    .values(Object.fromEntries(columns.map((name) => [name, placeholder(name)])))
    .onConflictDoNothing()
    .prepare("record");
  return {
    native: (event) => [nativeEvent(event)],
    run: (event) => statement.execute(event),
    answer: (result) => result.rowCount === 1,
  };
}

function recordMany(db) {
  return {
    native: (events) => [events.map(nativeEvent)],
    run: (events) => db.insert(participation).values(events).onConflictDoNothing(),
    answer: (result) => result.rowCount,
  };
}

function nativeEvent(event) {
  return { ...event, occurred_at: new Date(event.occurred_at) };
}

function redeem(db) {
  // One of many callers gets the row; the others wait, and then find it no longer pending.
  const run = (code, telegram_id, name) =>
    db.transaction(async (tx) => {
      const [invitation] = await tx
        .select()
        .from(invitations)
        .where(
          and(
            eq(invitations.invitation_code, code),
            eq(invitations.status, "pending"),
            gt(invitations.expires_at, sql`now()`),
          ),
        )
        .for("update")
        .prepare("redeem_invitation")
        .execute();
      if (!invitation) {
        return null;
      }
      const [newcomer] = await tx
        .insert(members)
        .values({ telegram_id, name, primary_role: "developer", status: "pending", invited_by: invitation.created_by })
        .returning()
        .prepare("redeem_newcomer")
        .execute();
      await tx
        .update(invitations)
        .set({ status: "accepted", accepted_by: newcomer.member_id, accepted_at: sql`now()` })
        .where(eq(invitations.invitation_id, invitation.invitation_id))
        .prepare("redeem_accept")
        .execute();
      return newcomer;
    });
  return {
    run,
    answer: (newcomer) => newcomer && [newcomer.telegram_id, newcomer.status, newcomer.invited_by],
  };
}

function directory(db) {
  const page = (name, after) =>
    db
      .select()
      .from(members)
      .where(
        and(
          listed(),
          eq(members.primary_role, placeholder("role")),
          eq(members.country, placeholder("country")),
          gte(members.reputation_score, placeholder("floor")),
          after,
        ),
      )
      .orderBy(desc(members.reputation_score), desc(members.id))
      .limit(PAGE + 1)
      .prepare(name);
  const first = page("directory_first");
  // A comparison of rows is one condition of the index; the guide's or(lt(…), and(eq(…), lt(…))) filters what it read.
  const position = sql`(${placeholder("score")}, ${placeholder("id")})`;
  const next = page("directory_next", sql`(${members.reputation_score}, ${members.id}) < ${position}`);
  return {
    run: (role, country, floor, after) =>
      after === null
        ? first.execute({ role, country, floor })
        : next.execute({ role, country, floor, score: after[0], id: after[1] }),
    answer: (found) => found.slice(0, PAGE).map((row) => [row.member_id, row.reputation_score]),
  };
}

function search(db) {
  // The column is in no schema, because it would be read with each member; the words need no other folding.
  const found = sql`search_text like ${placeholder("pattern")}`;
  const statement = db
    .select()
    .from(members)
    .where(and(listed(), found))
    .orderBy(desc(members.reputation_score), desc(members.id))
    .limit(PAGE)
    .prepare("search");
  return {
    run: (text) => statement.execute({ pattern: `%${text.toLowerCase().replace(/[\\%_]/g, "\\$&")}%` }),
    answer: (found) => found.map((row) => row.member_id),
  };
}

// A partial index of the active members serves a literal, never a parameter.
function listed() {
  return and(eq(members.status, "active").inlineParams(), isNull(members.deleted_at));
}

function last30Days(db) {
  const statement = db
    .select()
    .from(highlights)
    .where(
      and(
        eq(highlights.member_id, placeholder("member_id")),
        between(highlights.highlight_date, placeholder("since"), placeholder("until")),
      ),
    )
    .orderBy(desc(highlights.highlight_date))
    .prepare("last_30_days");
  return {
    run: (member_id, since, until) => statement.execute({ member_id, since, until }),
    answer: (found) => found.map((row) => [row.highlight_date, row.message_count, row.reaction_count]),
  };
}

function last30DaysRaw(db) {
  const day = sql`(${participation.occurred_at} at time zone 'UTC')::date`;
  const statement = db
    .select({ day: day.as("day"), event_type: participation.event_type, events: count() })
    .from(participation)
    .where(
      and(
        eq(participation.member_id, placeholder("member_id")),
        gte(participation.occurred_at, placeholder("since")),
        lt(participation.occurred_at, placeholder("end")),
      ),
    )
    .groupBy(day, participation.event_type)
    .orderBy(asc(day), asc(participation.event_type))
    .prepare("last_30_days_raw");
  return {
    native: (member_id, since, until) => [member_id, midnight(since), midnightAfter(until)],
    run: (member_id, since, end) => statement.execute({ member_id, since, end }),
    answer: (found) => found.map((row) => [row.day, row.event_type, row.events]),
  };
}

function rollUp(db) {
  const counted = (type) => sql`count(*) filter (where ${participation.event_type} = ${type})`.mapWith(Number);
  const seconds = sql`sum((${participation.event_metadata} ->> 'duration_seconds')::numeric)`;
  const minutes = sql`coalesce(floor(${seconds} filter (where ${participation.event_type} = 'VOICE') / 60), 0)`;
  const counts = {
    member_id: participation.member_id,
    message_count: counted("MESSAGE"),
    reaction_count: counted("REACTION"),
    voice_minutes: minutes.mapWith(Number),
  };
  const statement = db
    .select(counts)
    .from(participation)
    .where(
      and(
        gte(participation.occurred_at, placeholder("start")),
        lt(participation.occurred_at, placeholder("end")),
        sql`${participation.event_type} in ('MESSAGE', 'REACTION', 'VOICE')`,
      ),
    )
    .groupBy(participation.member_id)
    .prepare("roll_up");
  const written = ["message_count", "reaction_count", "voice_minutes"];
  const set = Object.fromEntries(written.map((name) => [name, sql.raw(`excluded.${name}`)]));
  const target = [highlights.member_id, highlights.highlight_date];
  const run = async (day, start, end) => {
    const rows = (await statement.execute({ start, end })).map((row) => ({ ...row, highlight_date: day }));
    await db.transaction(async (tx) => {
      for (let from = 0; from < rows.length; from += ROWS_OF_A_STATEMENT) {
        const some = rows.slice(from, from + ROWS_OF_A_STATEMENT);
        await tx.insert(highlights).values(some).onConflictDoUpdate({ target, set });
      }
    });
    return rows.length;
  };
  return {
    native: (day) => [day, midnight(day), midnightAfter(day)],
    run,
    answer: (rows) => rows,
  };
}

function tree(db) {
  // Drizzle has no WITH RECURSIVE of its own; a part in raw SQL can still be prepared, which db.execute can't.
  const { member_id, name, invited_by } = members;
  const columns = { member_id, name, invited_by, depth: sql`depth`.mapWith(Number).as("depth") };
  const branches = db.$with("branches", columns).as(sql`
    with recursive tree as (
      select ${member_id}, ${name}, ${invited_by}, 0 as depth
      from ${members} where ${member_id} = ${placeholder("member_id")}
      union all
      select ${member_id}, ${name}, ${invited_by}, depth + 1
      from tree join ${members} on ${invited_by} = tree.member_id
    )
    select * from tree
  `);
  const statement = db.with(branches).select().from(branches).prepare("tree");
  return {
    run: (member_id) => statement.execute({ member_id }),
    answer: (found) => found.map((row) => row.member_id).sort(),
  };
}

function expireOverdue(db) {
  const statement = db
    .update(invitations)
    .set({ status: "expired" })
    .where(and(eq(invitations.status, "pending").inlineParams(), lte(invitations.expires_at, sql`now()`)))
    .prepare("expire_overdue");
  return {
    run: () => statement.execute(),
    answer: (result) => result.rowCount,
  };
}

function midnight(day) {
  return new Date(`${day}T00:00:00Z`);
}

function midnightAfter(day) {
  return new Date(midnight(day).getTime() + DAY);
}
