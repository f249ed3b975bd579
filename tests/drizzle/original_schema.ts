// The schema of the original design, as it was written. Only this import is added.
import {
  boolean,
  date,
  index,
  integer,
  jsonb,
  pgTable,
  timestamp,
  uuid,
  varchar,
} from "drizzle-orm/pg-core";

export const communityInvitations = pgTable('community_invitations', {
  invitation_id: uuid('invitation_id').primaryKey().defaultRandom(),
  invitation_code: varchar('invitation_code', { length: 16 }).unique().notNull(),
  created_by: varchar('created_by', { length: 20 }).notNull(), // member_id
  invited_telegram_username: varchar('invited_telegram_username', { length: 255 }),
  status: varchar('status', { length: 20 }).default('pending').notNull(),
  expires_at: timestamp('expires_at').notNull(),
  accepted_by: varchar('accepted_by', { length: 20 }), // member_id
  accepted_at: timestamp('accepted_at'),
  created_at: timestamp('created_at').defaultNow().notNull(),
  updated_at: timestamp('updated_at').defaultNow().notNull(),
}, (table) => ({
  codeIdx: index('invitation_code_idx').on(table.invitation_code),
  statusIdx: index('invitation_status_idx').on(table.status),
  createdByIdx: index('invitation_created_by_idx').on(table.created_by),
}));

export const communityMembers = pgTable('community_members', {
  id: uuid('id').primaryKey().defaultRandom(),
  member_id: varchar('member_id', { length: 20 }).unique().notNull(), // #247
  telegram_id: varchar('telegram_id', { length: 255 }).unique().notNull(),
  telegram_username: varchar('telegram_username', { length: 255 }),
  name: varchar('name', { length: 255 }).notNull(),
  primary_role: varchar('primary_role', { length: 50 }).notNull(),
  organization: varchar('organization', { length: 255 }),
  country: varchar('country', { length: 100 }),

  // GitHub fields
  github_username: varchar('github_username', { length: 255 }),
  github_verified: boolean('github_verified').default(false).notNull(),
  github_verified_at: timestamp('github_verified_at'),
  github_profile_data: jsonb('github_profile_data'), // Flexible GitHub data storage

  // Status and reputation
  status: varchar('status', { length: 20 }).default('not_member').notNull(),
  reputation_score: integer('reputation_score').default(0).notNull(),
  reputation_tier: varchar('reputation_tier', { length: 50 }).default('Novice'),

  // Invitation tracking
  invited_by: varchar('invited_by', { length: 20 }), // member_id
  registration_fee_paid: boolean('registration_fee_paid').default(false),
  registration_fee_tx_hash: varchar('registration_fee_tx_hash', { length: 255 }),

  // Additional profile data
  profile_data: jsonb('profile_data'),

  // Timestamps
  created_at: timestamp('created_at').defaultNow().notNull(),
  updated_at: timestamp('updated_at').defaultNow().notNull(),
  last_active_at: timestamp('last_active_at'),
  deleted_at: timestamp('deleted_at'), // Soft delete
}, (table) => ({
  telegramIdIdx: index('member_telegram_id_idx').on(table.telegram_id),
  githubUsernameIdx: index('member_github_username_idx').on(table.github_username),
  statusIdx: index('member_status_idx').on(table.status),
  reputationScoreIdx: index('member_reputation_score_idx').on(table.reputation_score),
}));

export const memberRelationships = pgTable('member_relationships', {
  id: uuid('id').primaryKey().defaultRandom(),
  entity_id_a: varchar('entity_id_a', { length: 255 }).notNull(), // ElizaOS entity ID
  entity_id_b: varchar('entity_id_b', { length: 255 }).notNull(), // ElizaOS entity ID
  relationship_type: varchar('relationship_type', { length: 50 }).notNull(), // INVITED, MENTORED, etc.
  content: jsonb('content').notNull(), // Flexible relationship metadata
  created_at: timestamp('created_at').defaultNow().notNull(),
}, (table) => ({
  entityAIdx: index('relationship_entity_a_idx').on(table.entity_id_a),
  entityBIdx: index('relationship_entity_b_idx').on(table.entity_id_b),
  typeIdx: index('relationship_type_idx').on(table.relationship_type),
}));

export const memberParticipation = pgTable('member_participation', {
  id: uuid('id').primaryKey().defaultRandom(),
  member_id: varchar('member_id', { length: 20 }).notNull(),
  event_type: varchar('event_type', { length: 50 }).notNull(), // MESSAGE, REACTION, VOICE, etc.
  platform: varchar('platform', { length: 50 }).notNull(), // telegram, discord
  room_id: varchar('room_id', { length: 255 }).notNull(),
  event_metadata: jsonb('event_metadata'),
  occurred_at: timestamp('occurred_at').defaultNow().notNull(),
}, (table) => ({
  memberIdIdx: index('participation_member_id_idx').on(table.member_id),
  eventTypeIdx: index('participation_event_type_idx').on(table.event_type),
  occurredAtIdx: index('participation_occurred_at_idx').on(table.occurred_at),
}));

export const memberDailyHighlights = pgTable('member_daily_highlights', {
  id: uuid('id').primaryKey().defaultRandom(),
  member_id: varchar('member_id', { length: 20 }).notNull(),
  highlight_date: date('highlight_date').notNull(),
  message_count: integer('message_count').default(0),
  reaction_count: integer('reaction_count').default(0),
  voice_minutes: integer('voice_minutes').default(0),
  reputation_earned: integer('reputation_earned').default(0),
  created_at: timestamp('created_at').defaultNow().notNull(),
}, (table) => ({
  memberDateIdx: index('highlight_member_date_idx').on(table.member_id, table.highlight_date),
}));
