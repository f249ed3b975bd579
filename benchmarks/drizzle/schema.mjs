// The tables as Drizzle's schema: without indexes or references, because Drizzle doesn't run the migrations.

import { boolean, date, integer, jsonb, pgTable, timestamp, uuid, varchar } from "drizzle-orm/pg-core";

const moment = (name) => timestamp(name, { withTimezone: true });

export const members = pgTable("community_members", {
  id: uuid("id").primaryKey().defaultRandom(),
  // The database assigns the next number if an INSERT leaves it out.
  member_id: varchar("member_id", { length: 20 }).unique().notNull().default(""),
  telegram_id: varchar("telegram_id", { length: 255 }).unique().notNull(),
  telegram_username: varchar("telegram_username", { length: 255 }),
  name: varchar("name", { length: 255 }).notNull(),
  primary_role: varchar("primary_role", { length: 50 }).notNull(),
  organization: varchar("organization", { length: 255 }),
  country: varchar("country", { length: 100 }),
  github_username: varchar("github_username", { length: 255 }),
  github_verified: boolean("github_verified").default(false).notNull(),
  github_verified_at: moment("github_verified_at"),
  github_profile_data: jsonb("github_profile_data"),
  status: varchar("status", { length: 20 }).default("not_member").notNull(),
  reputation_score: integer("reputation_score").default(0).notNull(),
  reputation_tier: varchar("reputation_tier", { length: 50 }).default("Novice"),
  invited_by: varchar("invited_by", { length: 20 }),
  registration_fee_paid: boolean("registration_fee_paid").default(false),
  registration_fee_tx_hash: varchar("registration_fee_tx_hash", { length: 255 }),
  profile_data: jsonb("profile_data"),
  created_at: moment("created_at").defaultNow().notNull(),
  updated_at: moment("updated_at").defaultNow().notNull(),
  last_active_at: moment("last_active_at"),
  deleted_at: moment("deleted_at"),
});

export const invitations = pgTable("community_invitations", {
  invitation_id: uuid("invitation_id").primaryKey().defaultRandom(),
  invitation_code: varchar("invitation_code", { length: 16 }).unique().notNull(),
  created_by: varchar("created_by", { length: 20 }).notNull(),
  invited_telegram_username: varchar("invited_telegram_username", { length: 255 }),
  status: varchar("status", { length: 20 }).default("pending").notNull(),
  expires_at: moment("expires_at").notNull(),
  accepted_by: varchar("accepted_by", { length: 20 }),
  accepted_at: moment("accepted_at"),
  created_at: moment("created_at").defaultNow().notNull(),
  updated_at: moment("updated_at").defaultNow().notNull(),
});

export const participation = pgTable("member_participation", {
  id: uuid("id").primaryKey().defaultRandom(),
  member_id: varchar("member_id", { length: 20 }).notNull(),
  event_type: varchar("event_type", { length: 50 }).notNull(),
  platform: varchar("platform", { length: 50 }).notNull(),
  room_id: varchar("room_id", { length: 255 }).notNull(),
  event_metadata: jsonb("event_metadata"),
  occurred_at: moment("occurred_at").defaultNow().notNull(),
  source_id: varchar("source_id", { length: 255 }),
});

export const highlights = pgTable("member_daily_highlights", {
  id: uuid("id").primaryKey().defaultRandom(),
  member_id: varchar("member_id", { length: 20 }).notNull(),
  highlight_date: date("highlight_date").notNull(),
  message_count: integer("message_count").default(0),
  reaction_count: integer("reaction_count").default(0),
  voice_minutes: integer("voice_minutes").default(0),
  reputation_earned: integer("reputation_earned").default(0),
  created_at: moment("created_at").defaultNow().notNull(),
});
