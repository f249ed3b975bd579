from community_directory.sql_migration import sql_migration

ID = "2026-11-22T18:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Rules of statuses, one open invitation per person, no circles, and search"

FORWARDS = r"""
CREATE FUNCTION public.community_members_check_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('not_member', 'pending'), ('pending', 'active'), ('pending', 'not_member'),
        ('active', 'suspended'), ('suspended', 'active'), ('banned', 'active')
    ) AND NEW.status <> 'banned' THEN
        RAISE EXCEPTION 'There is no way from % to %.', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members', COLUMN = 'status',
                CONSTRAINT = 'member_status_transition';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER community_members_check_status BEFORE UPDATE ON public.community_members
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION public.community_members_check_status();

CREATE FUNCTION public.community_members_check_inviter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- One such change at a time, or two of them could close a circle that neither sees.
        PERFORM pg_advisory_xact_lock(7166761);
    ELSIF NOT EXISTS (SELECT FROM public.community_members WHERE invited_by = NEW.member_id) THEN
        RETURN NEW;  -- only a row of the same statement can refer to a new number
    END IF;
    IF EXISTS (
        -- UNION, not UNION ALL: it ends in a circle that was there before this rule too
        WITH RECURSIVE lineage AS (
            SELECT NEW.invited_by AS member_id
            UNION
            SELECT member.invited_by FROM lineage JOIN public.community_members AS member USING (member_id)
        )
        SELECT FROM lineage WHERE member_id = NEW.member_id
    ) THEN
        RAISE EXCEPTION 'The invitations would run in a circle.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members', COLUMN = 'invited_by',
                CONSTRAINT = 'member_invited_by_acyclic';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER community_members_check_inviter BEFORE UPDATE ON public.community_members
    FOR EACH ROW WHEN (NEW.invited_by IS DISTINCT FROM OLD.invited_by AND NEW.invited_by IS NOT NULL)
    EXECUTE FUNCTION public.community_members_check_inviter();
CREATE TRIGGER community_members_check_new_inviter BEFORE INSERT ON public.community_members
    FOR EACH ROW WHEN (NEW.invited_by IS NOT NULL) EXECUTE FUNCTION public.community_members_check_inviter();

CREATE FUNCTION public.community_invitations_check_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The invitation is % and stays so.', OLD.status
        USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_invitations', COLUMN = 'status',
            CONSTRAINT = 'invitation_status_transition';
END $$;

CREATE TRIGGER community_invitations_check_status BEFORE UPDATE ON public.community_invitations
    FOR EACH ROW WHEN (
        OLD.status IN ('accepted', 'cancelled') AND (OLD.status, OLD.accepted_by, OLD.accepted_at)
            IS DISTINCT FROM (NEW.status, NEW.accepted_by, NEW.accepted_at)
    )
    EXECUTE FUNCTION public.community_invitations_check_status();

-- What a text search compares: no case, no accents, no letters that Unicode doesn't take apart. Written with what
-- PostgreSQL brings, because the extension unaccent isn't IMMUTABLE. No part of it asks the database's locale, so that
-- it means the same everywhere and a new C library can't break the index: lower() knows ASCII only, and the lists name
-- the capitals of the Greek and the Cyrillic alphabet.
CREATE FUNCTION public.directory_search_text(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(translate(
        regexp_replace(normalize(value, NFKD), '[\u0300-\u036f]', '', 'g'),
        'øØłŁđĐðÐıħĦŧŦÆŒÞŊƏẞςΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ'
            || 'ЂЄЅІЈЉЊЋЏАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯҐ',
        'oollddddihhttæœþŋəßσαβγδεζηθικλμνξοπρστυφχψω'
            || 'ђєѕіјљњћџабвгдежзиклмнопрстуфхцчшщъыьэюяґ'
    ) COLLATE "C");

-- Some hosts keep extensions in a schema of their own, and have this one there already.
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;

-- a part of a name, a username or an organization, whatever its case and accents
DO $$ BEGIN
    EXECUTE format(
        $index$ CREATE INDEX member_search_idx ON public.community_members USING gin (public.directory_search_text(
            name || ' ' || coalesce(telegram_username, '') || ' ' || coalesce(organization, '') || ' '
                || coalesce(github_username, '')
        ) %s.gin_trgm_ops) WHERE deleted_at IS NULL $index$,
        (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_trgm')
    );
END $$;
-- whether anybody was banned and erased, for who has no key to tell whom
CREATE INDEX member_banned_and_erased_idx ON public.community_members (telegram_id) WHERE telegram_id LIKE 'banned:%';
-- an account proves one person; GitHub's usernames have no case
CREATE UNIQUE INDEX member_github_verified_idx ON public.community_members (lower(github_username))
    WHERE github_verified;
-- one open invitation per person; Telegram's usernames have no case
CREATE UNIQUE INDEX invitation_open_username_idx ON public.community_invitations (lower(invited_telegram_username))
    WHERE status = 'pending' AND invited_telegram_username IS NOT NULL;
"""

BACKWARDS = """
DROP INDEX public.member_banned_and_erased_idx, public.invitation_open_username_idx, public.member_github_verified_idx, public.member_search_idx;
DO $$ BEGIN
    DROP EXTENSION pg_trgm;
EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
    RAISE NOTICE 'pg_trgm stays: something else uses it, or somebody else made it.';
END $$;
DROP FUNCTION public.directory_search_text(text);
DROP TRIGGER community_invitations_check_status ON public.community_invitations;
DROP TRIGGER community_members_check_inviter ON public.community_members;
DROP TRIGGER community_members_check_new_inviter ON public.community_members;
DROP TRIGGER community_members_check_status ON public.community_members;
DROP FUNCTION public.community_invitations_check_status(), public.community_members_check_inviter(),
    public.community_members_check_status();
"""


async def forwards():
    return sql_migration(ID, DESCRIPTION, forwards=FORWARDS, backwards=BACKWARDS)
