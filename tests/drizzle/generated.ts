// Write and read the directory with the generated schema: node generated.js URL ZONE.
// It prints the tables that the schema has, and what it read, as JSON.

import { eq, is } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { getTableConfig, PgTable } from "drizzle-orm/pg-core";
import { Pool } from "pg";

import * as schema from "./schema.js";

const [connectionString, zone] = process.argv.slice(2);
const pool = new Pool({ connectionString, options: `-c timezone=${zone}` });
const db = drizzle({ client: pool, schema });

const NOON = new Date("2026-01-31T12:00:00.123Z");

const newcomer: schema.NewCommunityMember = {
  telegram_id: "1001",
  name: "Ana",
  primary_role: "developer",
  last_active_at: NOON,
  profile_data: { discord_id: "5" },
};

// What the compiler refuses:
// @ts-expect-error a status that the check does not list
export const wrongStatus: schema.NewCommunityMember = { ...newcomer, status: "member" };
// @ts-expect-error a name is missing
export const nameless: schema.NewCommunityMember = { telegram_id: "1", primary_role: "developer" };
// @ts-expect-error the database generates this column
export const generated: schema.NewCommunityMember = { ...newcomer, search_text: "ana" };
// @ts-expect-error a JSON object is no text
export const wrongJson: schema.NewCommunityMember = { ...newcomer, profile_data: "ana" };
// @ts-expect-error the column can be empty
export const optional: string = ({} as schema.CommunityMember).organization;

// What it knows:
export const id: bigint = ({} as schema.DirectoryAuditLog).id;
export const hash: Uint8Array = ({} as schema.DirectoryLinkCode).code_hash;
export const label: Record<schema.CommunityMember["status"], string> = {
  not_member: "contact",
  pending: "newcomer",
  active: "member",
  suspended: "suspended",
  banned: "banned",
};

function describe(table: PgTable) {
  const config = getTableConfig(table);
  return {
    columns: config.columns.map((column) => ({
      name: column.name,
      type: column.getSQLType(),
      notNull: column.notNull,
      hasDefault: column.hasDefault,
      primary: column.primary,
    })),
    keys: config.primaryKeys.map((key) => key.columns.map(({ name }) => name)),
    uniques: config.uniqueConstraints.map(({ name, columns }) => ({
      name,
      columns: columns.map((column) => column.name),
    })),
    references: config.foreignKeys.map((key) => {
      const { columns, foreignColumns, foreignTable } = key.reference();
      return {
        name: key.getName(),
        columns: columns.map(({ name }) => name),
        other: getTableConfig(foreignTable).name,
        otherColumns: foreignColumns.map(({ name }) => name),
        onDelete: key.onDelete,
        onUpdate: key.onUpdate,
      };
    }),
    indexes: config.indexes.map(({ config: { name, unique } }) => ({ name, unique })),
    checks: config.checks.map(({ name }) => name),
  };
}

async function main() {
  const tables = Object.values(schema).filter((value) => is(value, PgTable));
  const [member] = await db.insert(schema.communityMembers).values(newcomer).returning();
  await db
    .update(schema.communityMembers)
    .set({ status: "pending" })
    .where(eq(schema.communityMembers.member_id, member.member_id));
  const read = await db.query.communityMembers.findFirst({
    where: eq(schema.communityMembers.telegram_id, "1001"),
  });
  const accounts = await db.select().from(schema.memberAccounts).orderBy(schema.memberAccounts.platform);
  const log = await db.select().from(schema.directoryAuditLog).orderBy(schema.directoryAuditLog.id);
  for (const table of tables) {
    await db.select().from(table);
  }
  console.log(
    JSON.stringify({
      tables: Object.fromEntries(tables.map((table) => [getTableConfig(table).name, describe(table)])),
      now: Date.now(),
      read,
      accounts,
      changes: log.map(({ id, action, changes }) => ({ id: typeof id, action, status: changes.status })),
    }),
  );
  await pool.end();
}

void main();
