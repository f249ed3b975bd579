-- Two roles for the directory. Change both passwords, and run this in the directory's database after
-- the migrations, as a superuser: sudo -u postgres psql -v ON_ERROR_STOP=1 directory < roles.sql

-- Reads everything and changes nothing: for reports, and for a look with psql.
CREATE ROLE directory_reader LOGIN PASSWORD 'change me';
GRANT SELECT ON
    community_members, community_invitations, member_relationships, member_participation,
    member_daily_highlights, directory_rolled_up_days, directory_audit_log
TO directory_reader;

-- A bot: it adds and changes people, invitations and events, but can't rewrite the audit log.
CREATE ROLE directory_bot LOGIN PASSWORD 'change me, too';
GRANT SELECT, INSERT, UPDATE ON
    community_members, community_invitations, member_relationships, member_participation,
    member_daily_highlights
TO directory_bot;
GRANT DELETE ON member_relationships TO directory_bot;
GRANT USAGE ON SEQUENCE community_member_number TO directory_bot;
GRANT SELECT ON directory_audit_log TO directory_bot;

-- Only for a bot that rolls up highlights by itself: the server does it each night.
GRANT SELECT, INSERT, UPDATE ON directory_rolled_up_days TO directory_bot;
GRANT DELETE ON member_daily_highlights TO directory_bot;
