--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: pg_trgm; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;


--
-- Name: EXTENSION pg_trgm; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';


--
-- Name: community_invitations_before_write(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.community_invitations_before_write() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;


--
-- Name: community_invitations_check_status(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.community_invitations_check_status() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'The invitation is % and stays so.', OLD.status
        USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_invitations', COLUMN = 'status',
            CONSTRAINT = 'invitation_status_transition';
END $$;


--
-- Name: community_members_before_write(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.community_members_before_write() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    unedited public.community_members;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.member_id IS NULL OR NEW.member_id = '' THEN
            LOOP  -- past numbers that somebody wrote by hand
                NEW.member_id := '#' || nextval('public.community_member_number');
                EXIT WHEN NOT EXISTS (SELECT 1 FROM public.community_members WHERE member_id = NEW.member_id);
            END LOOP;
        END IF;
    ELSIF NEW.member_id = '' THEN
        NEW.member_id := OLD.member_id;  -- from an object that was saved before it learnt its number
    ELSIF NEW.member_id <> OLD.member_id THEN
        RAISE EXCEPTION 'The number of a member never changes.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'community_members', COLUMN = 'member_id',
                CONSTRAINT = 'member_number_never_changes';
    END IF;

    NEW.reputation_tier := CASE
        WHEN NEW.reputation_score <= 100 THEN 'Novice'
        WHEN NEW.reputation_score <= 500 THEN 'Contributor'
        WHEN NEW.reputation_score <= 1000 THEN 'Active Developer'
        WHEN NEW.reputation_score <= 2500 THEN 'Experienced'
        ELSE 'Expert'
    END;

    IF TG_OP = 'UPDATE' THEN
        unedited := OLD;
        unedited.last_active_at := NEW.last_active_at;  -- being active is no edit
        unedited.search_text := NEW.search_text;
        IF current_setting('community_directory.rolling_up', true) = 'on' THEN  -- nor are a day's points
            unedited.reputation_score := NEW.reputation_score;
            unedited.reputation_tier := NEW.reputation_tier;
        END IF;
        IF NEW IS DISTINCT FROM unedited THEN
            NEW.updated_at := now();
        END IF;
    END IF;
    RETURN NEW;
END $$;


--
-- Name: community_members_check_inviter(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.community_members_check_inviter() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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


--
-- Name: community_members_check_status(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.community_members_check_status() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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


--
-- Name: directory_audit_log_append_only(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.directory_audit_log_append_only() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RAISE EXCEPTION 'The audit log is append-only.'
            USING ERRCODE = 'insufficient_privilege', SCHEMA = 'public', TABLE = 'directory_audit_log',
                CONSTRAINT = 'audit_log_append_only';
    END IF;
    RETURN NULL;
END $$;


--
-- Name: directory_audit_log_write(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.directory_audit_log_write() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    changed jsonb;
    -- the trigger's arguments: the table, its primary key, and the column of the member that a row is about
    either jsonb := before || after;
BEGIN
    SELECT jsonb_object_agg(field, jsonb_build_array(before -> field, after -> field)) INTO changed
    FROM jsonb_object_keys(either) AS field
    WHERE coalesce(before -> field, 'null') <> coalesce(after -> field, 'null')
        AND field NOT IN ('updated_at', 'last_active_at')
        AND field <> 'search_text'
        AND (field <> 'reputation_score'
            OR current_setting('community_directory.rolling_up', true) IS DISTINCT FROM 'on');

    IF changed IS NOT NULL THEN
        INSERT INTO public.directory_audit_log (actor, reason, action, table_name, row_id, member_id, changes)
        VALUES (
            left(coalesce(nullif(current_setting('community_directory.actor', true), ''), 'db:' || session_user), 255),
            nullif(current_setting('community_directory.reason', true), ''),
            TG_OP, TG_ARGV[0], (either ->> TG_ARGV[1])::uuid, either ->> TG_ARGV[2], changed
        );
    END IF;
    RETURN NULL;
END $$;


--
-- Name: directory_search_text(text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.directory_search_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower((translate(regexp_replace(NORMALIZE(value, NFKD), '[\u0300-\u036f]'::text, ''::text, 'g'::text), ('øØłŁđĐðÐıħĦŧŦÆŒÞŊƏẞςΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ'::text || 'ЂЄЅІЈЉЊЋЏАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯҐ'::text), ('oollddddihhttæœþŋəßσαβγδεζηθικλμνξοπρστυφχψω'::text || 'ђєѕіјљњћџабвгдежзиклмнопрстуфхцчшщъыьэюяґ'::text)) COLLATE "C"));


--
-- Name: panel_user_changed(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.panel_user_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    entered boolean := OLD.active AND OLD.admin;
    enters boolean := coalesce(NEW.active AND NEW.admin, false);
BEGIN
    IF entered AND NOT enters AND OLD.username = current_setting('community_directory.actor', true) THEN
        RAISE EXCEPTION 'Nobody locks themselves out.'
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'piccolo_user', COLUMN = 'active',
                CONSTRAINT = 'panel_user_own_access';
    END IF;
    IF entered AND OLD.superuser AND NOT coalesce(enters AND NEW.superuser, false) THEN
        -- Two who demote each other would each still see the other one.
        PERFORM pg_advisory_xact_lock(x'70616e656c757365'::bigint);
        IF NOT EXISTS (SELECT 1 FROM public.piccolo_user WHERE superuser AND active AND admin) THEN
            RAISE EXCEPTION 'The last superuser stays.'
                USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'piccolo_user', COLUMN = 'superuser',
                    CONSTRAINT = 'panel_user_last_superuser';
        END IF;
    END IF;
    IF NOT enters OR OLD.password <> NEW.password THEN
        DELETE FROM public.sessions WHERE user_id = OLD.id;
    END IF;
    RETURN NULL;
END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: authenticator_secret; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.authenticator_secret (
    id integer NOT NULL,
    user_id integer DEFAULT 0 NOT NULL,
    secret text DEFAULT ''::text NOT NULL,
    recovery_codes text[] DEFAULT '{}'::text[] NOT NULL,
    recovery_codes_used_at timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    last_used_code text
);


--
-- Name: authenticator_secret_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.authenticator_secret_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: authenticator_secret_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.authenticator_secret_id_seq OWNED BY public.authenticator_secret.id;


--
-- Name: community_invitations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.community_invitations (
    invitation_id uuid DEFAULT gen_random_uuid() NOT NULL,
    invitation_code character varying(16) DEFAULT NULL::character varying NOT NULL,
    created_by character varying(20) DEFAULT NULL::character varying NOT NULL,
    invited_telegram_username character varying(255) DEFAULT NULL::character varying,
    status character varying(20) DEFAULT 'pending'::character varying NOT NULL,
    expires_at timestamp with time zone DEFAULT (CURRENT_TIMESTAMP + '72:00:00'::interval) NOT NULL,
    accepted_by character varying(20) DEFAULT NULL::character varying,
    accepted_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT invitation_accepted_at_check CHECK (((accepted_by IS NULL) = (accepted_at IS NULL))),
    CONSTRAINT invitation_accepted_by_check CHECK ((((status)::text = 'accepted'::text) = (accepted_by IS NOT NULL))),
    CONSTRAINT invitation_code_check CHECK (((length((invitation_code)::text) >= 8) AND ((invitation_code)::text ~ '^[A-Za-z0-9]+$'::text))),
    CONSTRAINT invitation_self_check CHECK (((accepted_by)::text <> (created_by)::text)),
    CONSTRAINT invitation_status_check CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'accepted'::character varying, 'expired'::character varying, 'cancelled'::character varying])::text[]))),
    CONSTRAINT invitation_username_check CHECK (((invited_telegram_username)::text ~ '^[^@[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff][^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]*$'::text))
);


--
-- Name: community_member_number; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.community_member_number
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: community_members; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.community_members (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    member_id character varying(20) DEFAULT ''::character varying NOT NULL,
    telegram_id character varying(255) DEFAULT NULL::character varying NOT NULL,
    telegram_username character varying(255) DEFAULT NULL::character varying,
    name character varying(255) DEFAULT NULL::character varying NOT NULL,
    primary_role character varying(50) DEFAULT NULL::character varying NOT NULL,
    organization character varying(255) DEFAULT NULL::character varying,
    country character varying(100) DEFAULT NULL::character varying,
    github_username character varying(255) DEFAULT NULL::character varying,
    github_verified boolean DEFAULT false NOT NULL,
    github_verified_at timestamp with time zone,
    github_profile_data jsonb,
    status character varying(20) DEFAULT 'not_member'::character varying NOT NULL,
    reputation_score integer DEFAULT 0 NOT NULL,
    reputation_tier character varying(50) DEFAULT 'Novice'::character varying,
    invited_by character varying(20) DEFAULT NULL::character varying,
    registration_fee_paid boolean DEFAULT false,
    registration_fee_tx_hash character varying(255) DEFAULT NULL::character varying,
    profile_data jsonb,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    last_active_at timestamp with time zone,
    deleted_at timestamp with time zone,
    search_text text GENERATED ALWAYS AS ("left"(public.directory_search_text((((((((name)::text || ' '::text) || (COALESCE(telegram_username, ''::character varying))::text) || ' '::text) || (COALESCE(organization, ''::character varying))::text) || ' '::text) || (COALESCE(github_username, ''::character varying))::text)), 350)) STORED,
    CONSTRAINT member_github_profile_data_check CHECK ((jsonb_typeof(github_profile_data) = 'object'::text)),
    CONSTRAINT member_github_username_check CHECK (((github_username)::text ~ '^[^@[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff][^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]*$'::text)),
    CONSTRAINT member_github_verified_check CHECK (((NOT github_verified) OR ((github_username IS NOT NULL) AND (github_verified_at IS NOT NULL)))),
    CONSTRAINT member_invited_by_check CHECK (((invited_by)::text <> (member_id)::text)),
    CONSTRAINT member_name_check CHECK (((name)::text ~ '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]'::text)),
    CONSTRAINT member_number_check CHECK (((member_id)::text ~ '^#[1-9][0-9]*$'::text)),
    CONSTRAINT member_primary_role_check CHECK (((primary_role)::text ~ '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]'::text)),
    CONSTRAINT member_profile_data_check CHECK ((jsonb_typeof(profile_data) = 'object'::text)),
    CONSTRAINT member_reputation_score_check CHECK ((reputation_score >= 0)),
    CONSTRAINT member_reputation_tier_check CHECK (((reputation_tier)::text = ANY ((ARRAY['Novice'::character varying, 'Contributor'::character varying, 'Active Developer'::character varying, 'Experienced'::character varying, 'Expert'::character varying])::text[]))),
    CONSTRAINT member_status_check CHECK (((status)::text = ANY ((ARRAY['not_member'::character varying, 'pending'::character varying, 'active'::character varying, 'suspended'::character varying, 'banned'::character varying])::text[]))),
    CONSTRAINT member_telegram_id_check CHECK (((telegram_id)::text ~ '^[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]+$'::text)),
    CONSTRAINT member_telegram_username_check CHECK (((telegram_username)::text ~ '^[^@[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff][^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]*$'::text))
);


--
-- Name: directory_audit_log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.directory_audit_log (
    id bigint NOT NULL,
    changed_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    actor character varying(255) DEFAULT NULL::character varying NOT NULL,
    reason text,
    action character varying(10) DEFAULT NULL::character varying NOT NULL,
    table_name character varying(63) DEFAULT NULL::character varying NOT NULL,
    row_id uuid NOT NULL,
    member_id character varying(20) DEFAULT NULL::character varying NOT NULL,
    changes jsonb NOT NULL,
    CONSTRAINT audit_action_check CHECK (((action)::text = ANY ((ARRAY['INSERT'::character varying, 'UPDATE'::character varying, 'DELETE'::character varying])::text[]))),
    CONSTRAINT audit_changes_check CHECK ((jsonb_typeof(changes) = 'object'::text))
);


--
-- Name: directory_audit_log_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.directory_audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: directory_audit_log_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.directory_audit_log_id_seq OWNED BY public.directory_audit_log.id;


--
-- Name: member_daily_highlights; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.member_daily_highlights (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    member_id character varying(20) DEFAULT NULL::character varying NOT NULL,
    highlight_date date NOT NULL,
    message_count integer DEFAULT 0,
    reaction_count integer DEFAULT 0,
    voice_minutes integer DEFAULT 0,
    reputation_earned integer DEFAULT 0,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT highlight_message_count_check CHECK ((message_count >= 0)),
    CONSTRAINT highlight_reaction_count_check CHECK ((reaction_count >= 0)),
    CONSTRAINT highlight_reputation_earned_check CHECK ((reputation_earned >= 0)),
    CONSTRAINT highlight_voice_minutes_check CHECK ((voice_minutes >= 0))
);


--
-- Name: member_participation; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.member_participation (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    member_id character varying(20) DEFAULT NULL::character varying NOT NULL,
    event_type character varying(50) DEFAULT NULL::character varying NOT NULL,
    platform character varying(50) DEFAULT NULL::character varying NOT NULL,
    room_id character varying(255) DEFAULT NULL::character varying NOT NULL,
    event_metadata jsonb,
    occurred_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    source_id character varying(255) DEFAULT NULL::character varying,
    CONSTRAINT participation_event_metadata_check CHECK ((jsonb_typeof(event_metadata) = 'object'::text)),
    CONSTRAINT participation_event_type_check CHECK (((event_type)::text ~ '^[A-Z][A-Z0-9_]*$'::text)),
    CONSTRAINT participation_platform_check CHECK (((platform)::text ~ '^[a-z][a-z0-9_]*$'::text)),
    CONSTRAINT participation_room_id_check CHECK (((room_id)::text ~ '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]'::text)),
    CONSTRAINT participation_source_id_check CHECK (((source_id)::text ~ '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]'::text))
);


--
-- Name: member_relationships; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.member_relationships (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    entity_id_a character varying(255) DEFAULT NULL::character varying NOT NULL,
    entity_id_b character varying(255) DEFAULT NULL::character varying NOT NULL,
    relationship_type character varying(50) DEFAULT NULL::character varying NOT NULL,
    content jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT relationship_content_check CHECK ((jsonb_typeof(content) = 'object'::text)),
    CONSTRAINT relationship_entities_check CHECK (((entity_id_a)::text <> (entity_id_b)::text)),
    CONSTRAINT relationship_entity_a_check CHECK (((entity_id_a)::text ~ '^[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]+$'::text)),
    CONSTRAINT relationship_entity_b_check CHECK (((entity_id_b)::text ~ '^[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff]+$'::text)),
    CONSTRAINT relationship_type_check CHECK (((relationship_type)::text ~ '^[A-Z][A-Z0-9_]*$'::text))
);


--
-- Name: migration; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.migration (
    id integer NOT NULL,
    name character varying(200) DEFAULT ''::character varying NOT NULL,
    app_name character varying(200) DEFAULT ''::character varying NOT NULL,
    ran_on timestamp without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);


--
-- Name: migration_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.migration_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: migration_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.migration_id_seq OWNED BY public.migration.id;


--
-- Name: panel_attempts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.panel_attempts (
    key bytea NOT NULL,
    failures integer NOT NULL,
    ends timestamp with time zone NOT NULL
);


--
-- Name: TABLE panel_attempts; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON TABLE public.panel_attempts IS 'Failed sign-ins of the panel by the digest of an account or address; a known address has none.';


--
-- Name: piccolo_user; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.piccolo_user (
    id integer NOT NULL,
    username character varying(100) DEFAULT ''::character varying NOT NULL,
    password character varying(255) DEFAULT ''::character varying NOT NULL,
    email character varying(255) DEFAULT ''::character varying NOT NULL,
    active boolean DEFAULT false NOT NULL,
    admin boolean DEFAULT false NOT NULL,
    first_name character varying(255) DEFAULT ''::character varying,
    last_name character varying(255) DEFAULT ''::character varying,
    superuser boolean DEFAULT false NOT NULL,
    last_login timestamp without time zone
);


--
-- Name: piccolo_user_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.piccolo_user_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: piccolo_user_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.piccolo_user_id_seq OWNED BY public.piccolo_user.id;


--
-- Name: sessions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sessions (
    id integer NOT NULL,
    token character varying(100) DEFAULT ''::character varying NOT NULL,
    user_id integer DEFAULT 0 NOT NULL,
    expiry_date timestamp without time zone DEFAULT (CURRENT_TIMESTAMP + '01:00:00'::interval) NOT NULL,
    max_expiry_date timestamp without time zone DEFAULT (CURRENT_TIMESTAMP + '7 days'::interval) NOT NULL
);


--
-- Name: sessions_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.sessions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: sessions_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.sessions_id_seq OWNED BY public.sessions.id;


--
-- Name: authenticator_secret id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.authenticator_secret ALTER COLUMN id SET DEFAULT nextval('public.authenticator_secret_id_seq'::regclass);


--
-- Name: directory_audit_log id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.directory_audit_log ALTER COLUMN id SET DEFAULT nextval('public.directory_audit_log_id_seq'::regclass);


--
-- Name: migration id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.migration ALTER COLUMN id SET DEFAULT nextval('public.migration_id_seq'::regclass);


--
-- Name: piccolo_user id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.piccolo_user ALTER COLUMN id SET DEFAULT nextval('public.piccolo_user_id_seq'::regclass);


--
-- Name: sessions id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sessions ALTER COLUMN id SET DEFAULT nextval('public.sessions_id_seq'::regclass);


--
-- Data for Name: authenticator_secret; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: community_invitations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.community_invitations VALUES ('df9dfbbe-10f8-4794-91e5-b0eb96f2fbb5', '342GAED3FGHAETKW', '#1', 'qanat', 'accepted', '2026-12-01 14:41:41.649809+00', '#2', '2026-11-28 14:41:41.651665+00', '2026-11-28 14:41:41.649809+00', '2026-11-28 14:41:41.651665+00');
INSERT INTO public.community_invitations VALUES ('7e78de99-d916-4dd5-b768-822307071ca5', 'KXBHAJSW3YQ6VSDG', '#2', NULL, 'pending', '2026-12-01 14:41:41.659223+00', NULL, NULL, '2026-11-28 14:41:41.659223+00', '2026-11-28 14:41:41.659223+00');
INSERT INTO public.community_invitations VALUES ('9dacf7c8-89bc-48a2-8168-741b81129a3e', 'YXYMYDHBZNC74ST8', '#2', NULL, 'cancelled', '2026-12-01 14:41:41.659736+00', NULL, NULL, '2026-11-28 14:41:41.659736+00', '2026-11-28 14:41:41.660187+00');


--
-- Data for Name: community_members; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.community_members VALUES ('01a2229a-d31a-7368-a43f-9e781c6168a5', '#4', '1004', NULL, 'Eve', 'developer', NULL, NULL, NULL, false, NULL, NULL, 'banned', 0, 'Novice', NULL, false, NULL, NULL, '2026-11-28 14:41:41.658177+00', '2026-11-28 14:41:41.658702+00', NULL, NULL, DEFAULT);
INSERT INTO public.community_members VALUES ('01a2229a-d319-7d94-a67a-5a6d98b0b528', '#3', '1003', 'arman', 'Арман Ұлы', 'developer', NULL, NULL, NULL, false, NULL, NULL, 'not_member', 0, 'Novice', '#2', false, NULL, NULL, '2026-11-28 14:41:41.657549+00', '2026-11-28 14:41:41.657549+00', '2026-11-20 10:11:00+00', NULL, DEFAULT);
INSERT INTO public.community_members VALUES ('01a2229a-d30e-7c3d-8b66-3d929c89b2b8', '#1', '1001', 'ana', 'Ana García', 'developer', 'Frutero', 'México', NULL, false, NULL, NULL, 'active', 4, 'Novice', NULL, false, NULL, '{"bio": "¡Hola! 🙂", "skills": ["python"]}', '2026-11-28 14:41:41.646451+00', '2026-11-28 14:41:41.646451+00', '2026-11-20 10:09:00+00', NULL, DEFAULT);
INSERT INTO public.community_members VALUES ('01a2229a-d313-7d1f-ac55-ad50ff48dd0f', '#2', '1002', 'qanat', 'Қанат Ғабит', 'designer', NULL, NULL, 'qanat', true, '2026-11-28 14:41:41.656042+00', '{"followers": 12, "public_repos": 3}', 'active', 53, 'Novice', '#1', false, NULL, NULL, '2026-11-28 14:41:41.651665+00', '2026-11-28 14:41:41.656042+00', '2026-11-20 10:10:00+00', NULL, DEFAULT);


--
-- Data for Name: directory_audit_log; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.directory_audit_log VALUES (1, '2026-11-28 14:41:41.646451+00', 'bot', NULL, 'INSERT', 'community_members', '01a2229a-d30e-7c3d-8b66-3d929c89b2b8', '#1', '{"id": [null, "01a2229a-d30e-7c3d-8b66-3d929c89b2b8"], "name": [null, "Ana García"], "status": [null, "active"], "country": [null, "México"], "member_id": [null, "#1"], "created_at": [null, "2026-11-28T14:41:41.646451+00:00"], "telegram_id": [null, "1001"], "organization": [null, "Frutero"], "primary_role": [null, "developer"], "profile_data": [null, {"bio": "¡Hola! 🙂", "skills": ["python"]}], "github_verified": [null, false], "reputation_tier": [null, "Novice"], "reputation_score": [null, 0], "telegram_username": [null, "ana"], "registration_fee_paid": [null, false]}');
INSERT INTO public.directory_audit_log VALUES (2, '2026-11-28 14:41:41.649809+00', 'bot', NULL, 'INSERT', 'community_invitations', 'df9dfbbe-10f8-4794-91e5-b0eb96f2fbb5', '#1', '{"status": [null, "pending"], "created_at": [null, "2026-11-28T14:41:41.649809+00:00"], "created_by": [null, "#1"], "expires_at": [null, "2026-12-01T14:41:41.649809+00:00"], "invitation_id": [null, "df9dfbbe-10f8-4794-91e5-b0eb96f2fbb5"], "invitation_code": [null, "342GAED3FGHAETKW"], "invited_telegram_username": [null, "qanat"]}');
INSERT INTO public.directory_audit_log VALUES (3, '2026-11-28 14:41:41.651665+00', 'telegram:1002', NULL, 'INSERT', 'community_members', '01a2229a-d313-7d1f-ac55-ad50ff48dd0f', '#2', '{"id": [null, "01a2229a-d313-7d1f-ac55-ad50ff48dd0f"], "name": [null, "Қанат Ғабит"], "status": [null, "pending"], "member_id": [null, "#2"], "created_at": [null, "2026-11-28T14:41:41.651665+00:00"], "invited_by": [null, "#1"], "telegram_id": [null, "1002"], "primary_role": [null, "designer"], "github_verified": [null, false], "reputation_tier": [null, "Novice"], "reputation_score": [null, 0], "telegram_username": [null, "qanat"], "registration_fee_paid": [null, false]}');
INSERT INTO public.directory_audit_log VALUES (4, '2026-11-28 14:41:41.651665+00', 'telegram:1002', NULL, 'UPDATE', 'community_invitations', 'df9dfbbe-10f8-4794-91e5-b0eb96f2fbb5', '#1', '{"status": ["pending", "accepted"], "accepted_at": [null, "2026-11-28T14:41:41.651665+00:00"], "accepted_by": [null, "#2"]}');
INSERT INTO public.directory_audit_log VALUES (5, '2026-11-28 14:41:41.65484+00', 'manager:eva', 'Welcome', 'UPDATE', 'community_members', '01a2229a-d313-7d1f-ac55-ad50ff48dd0f', '#2', '{"status": ["pending", "active"]}');
INSERT INTO public.directory_audit_log VALUES (6, '2026-11-28 14:41:41.656042+00', 'db:postgres', NULL, 'UPDATE', 'community_members', '01a2229a-d313-7d1f-ac55-ad50ff48dd0f', '#2', '{"github_username": [null, "qanat"], "github_verified": [false, true], "reputation_score": [0, 51], "github_verified_at": [null, "2026-11-28T14:41:41.656042+00:00"], "github_profile_data": [null, {"followers": 12, "public_repos": 3}]}');
INSERT INTO public.directory_audit_log VALUES (7, '2026-11-28 14:41:41.657549+00', 'db:postgres', NULL, 'INSERT', 'community_members', '01a2229a-d319-7d94-a67a-5a6d98b0b528', '#3', '{"id": [null, "01a2229a-d319-7d94-a67a-5a6d98b0b528"], "name": [null, "Арман Ұлы"], "status": [null, "not_member"], "member_id": [null, "#3"], "created_at": [null, "2026-11-28T14:41:41.657549+00:00"], "invited_by": [null, "#2"], "telegram_id": [null, "1003"], "primary_role": [null, "developer"], "github_verified": [null, false], "reputation_tier": [null, "Novice"], "reputation_score": [null, 0], "telegram_username": [null, "arman"], "registration_fee_paid": [null, false]}');
INSERT INTO public.directory_audit_log VALUES (8, '2026-11-28 14:41:41.658177+00', 'db:postgres', NULL, 'INSERT', 'community_members', '01a2229a-d31a-7368-a43f-9e781c6168a5', '#4', '{"id": [null, "01a2229a-d31a-7368-a43f-9e781c6168a5"], "name": [null, "Eve"], "status": [null, "not_member"], "member_id": [null, "#4"], "created_at": [null, "2026-11-28T14:41:41.658177+00:00"], "telegram_id": [null, "1004"], "primary_role": [null, "developer"], "github_verified": [null, false], "reputation_tier": [null, "Novice"], "reputation_score": [null, 0], "registration_fee_paid": [null, false]}');
INSERT INTO public.directory_audit_log VALUES (9, '2026-11-28 14:41:41.658702+00', 'manager:eva', 'Spam', 'UPDATE', 'community_members', '01a2229a-d31a-7368-a43f-9e781c6168a5', '#4', '{"status": ["not_member", "banned"]}');
INSERT INTO public.directory_audit_log VALUES (10, '2026-11-28 14:41:41.659223+00', '#2', NULL, 'INSERT', 'community_invitations', '7e78de99-d916-4dd5-b768-822307071ca5', '#2', '{"status": [null, "pending"], "created_at": [null, "2026-11-28T14:41:41.659223+00:00"], "created_by": [null, "#2"], "expires_at": [null, "2026-12-01T14:41:41.659223+00:00"], "invitation_id": [null, "7e78de99-d916-4dd5-b768-822307071ca5"], "invitation_code": [null, "KXBHAJSW3YQ6VSDG"]}');
INSERT INTO public.directory_audit_log VALUES (11, '2026-11-28 14:41:41.659736+00', '#2', NULL, 'INSERT', 'community_invitations', '9dacf7c8-89bc-48a2-8168-741b81129a3e', '#2', '{"status": [null, "pending"], "created_at": [null, "2026-11-28T14:41:41.659736+00:00"], "created_by": [null, "#2"], "expires_at": [null, "2026-12-01T14:41:41.659736+00:00"], "invitation_id": [null, "9dacf7c8-89bc-48a2-8168-741b81129a3e"], "invitation_code": [null, "YXYMYDHBZNC74ST8"]}');
INSERT INTO public.directory_audit_log VALUES (12, '2026-11-28 14:41:41.660187+00', 'manager:eva', NULL, 'UPDATE', 'community_invitations', '9dacf7c8-89bc-48a2-8168-741b81129a3e', '#2', '{"status": ["pending", "cancelled"]}');


--
-- Data for Name: member_daily_highlights; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.member_daily_highlights VALUES ('9c1b476a-1762-4235-ab1d-68a2eb073c97', '#1', '2026-11-20', 4, 0, 0, 4, '2026-11-28 14:41:41.667434+00');
INSERT INTO public.member_daily_highlights VALUES ('85279bf2-c4e9-46e5-b4e2-270ef89d1746', '#2', '2026-11-20', 0, 4, 0, 2, '2026-11-28 14:41:41.667434+00');
INSERT INTO public.member_daily_highlights VALUES ('e9d10bca-8c54-4fb2-9c98-cf226bff32e6', '#3', '2026-11-20', 0, 0, 6, 0, '2026-11-28 14:41:41.667434+00');


--
-- Data for Name: member_participation; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.member_participation VALUES ('01a2229a-d31c-769e-b4aa-75756dd0e2da', '#1', 'MESSAGE', 'telegram', '-100123', NULL, '2026-11-20 10:00:00+00', '0');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-7bfe-94cf-1102c52c1b39', '#2', 'REACTION', 'telegram', '-100123', NULL, '2026-11-20 10:01:00+00', '1');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-7224-ab04-169131d076e3', '#2', 'REACTION', 'telegram', '-100123', NULL, '2026-11-20 10:10:00+00', '10');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-7224-bcec-ca291df0e32a', '#3', 'VOICE', 'telegram', '-100123', '{"duration_seconds": 90}', '2026-11-20 10:11:00+00', '11');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-701a-aee0-3e947a5340f6', '#3', 'VOICE', 'telegram', '-100123', '{"duration_seconds": 90}', '2026-11-20 10:02:00+00', '2');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-7e68-86e8-4dac0cb1588a', '#1', 'MESSAGE', 'telegram', '-100123', NULL, '2026-11-20 10:03:00+00', '3');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-7688-a74e-1730da2fbbfc', '#2', 'REACTION', 'telegram', '-100123', NULL, '2026-11-20 10:04:00+00', '4');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-78d8-a93c-bcbd3b122808', '#3', 'VOICE', 'telegram', '-100123', '{"duration_seconds": 90}', '2026-11-20 10:05:00+00', '5');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-79fa-bf78-4735864a30b5', '#1', 'MESSAGE', 'telegram', '-100123', NULL, '2026-11-20 10:06:00+00', '6');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-7d2c-b118-f7fba35cb52d', '#2', 'REACTION', 'telegram', '-100123', NULL, '2026-11-20 10:07:00+00', '7');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-758c-b41d-62354d46f173', '#3', 'VOICE', 'telegram', '-100123', '{"duration_seconds": 90}', '2026-11-20 10:08:00+00', '8');
INSERT INTO public.member_participation VALUES ('01a2229a-d31c-708b-aec6-3c9d9a5c2aba', '#1', 'MESSAGE', 'telegram', '-100123', NULL, '2026-11-20 10:09:00+00', '9');


--
-- Data for Name: member_relationships; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.member_relationships VALUES ('423a9c77-5ced-4489-983c-af7b77d5d319', '1ab6c36e-9b0c-4b4c-9b57-0e9a0d1b9b01', '1ab6c36e-9b0c-4b4c-9b57-0e9a0d1b9b02', 'MENTORED', '{"since": 2025}', '2026-11-28 14:41:41.672298+00');


--
-- Data for Name: migration; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.migration VALUES (1, '2026-11-22T17:35:08:597298', 'community_directory', '2026-11-28 14:41:41.549912');
INSERT INTO public.migration VALUES (2, '2026-11-22T17:35:10:574764', 'community_directory', '2026-11-28 14:41:41.568074');
INSERT INTO public.migration VALUES (3, '2026-11-22T18:40:00:000000', 'community_directory', '2026-11-28 14:41:41.578475');
INSERT INTO public.migration VALUES (4, '2026-11-22T20:40:00:000000', 'community_directory', '2026-11-28 14:41:41.582711');
INSERT INTO public.migration VALUES (5, '2026-11-22T21:30:00:000000', 'community_directory', '2026-11-28 14:41:41.586529');
INSERT INTO public.migration VALUES (6, '2026-11-22T21:40:00:000000', 'community_directory', '2026-11-28 14:41:41.590225');
INSERT INTO public.migration VALUES (7, '2026-11-22T23:50:00:000000', 'community_directory', '2026-11-28 14:41:41.611256');
INSERT INTO public.migration VALUES (8, '2026-11-23T00:20:56:506040', 'community_directory', '2026-11-28 14:41:41.613561');
INSERT INTO public.migration VALUES (9, '2019-11-14T21:52:21', 'user', '2026-11-28 14:41:41.623474');
INSERT INTO public.migration VALUES (10, '2020-06-11T21:38:55', 'user', '2026-11-28 14:41:41.624567');
INSERT INTO public.migration VALUES (11, '2021-04-30T16:14:15', 'user', '2026-11-28 14:41:41.625568');
INSERT INTO public.migration VALUES (12, '2019-11-12T20:47:17', 'session_auth', '2026-11-28 14:41:41.630899');
INSERT INTO public.migration VALUES (13, '2026-05-27T16:15:06:677127', 'session_auth', '2026-11-28 14:41:41.631326');
INSERT INTO public.migration VALUES (14, '2024-08-08T21:41:46:837552', 'mfa_authenticator', '2026-11-28 14:41:41.638933');
INSERT INTO public.migration VALUES (15, '2026-11-22T21:20:00:000000', 'directory_panel', '2026-11-28 14:41:41.644907');


--
-- Data for Name: panel_attempts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.panel_attempts VALUES ('\x00', 1, '2026-11-21 10:00:00+00');


--
-- Data for Name: piccolo_user; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.piccolo_user VALUES (1, 'eva', 'no password', 'eva@example.org', true, true, '', '', true, NULL);


--
-- Data for Name: sessions; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Name: authenticator_secret_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.authenticator_secret_id_seq', 1, false);


--
-- Name: community_member_number; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.community_member_number', 4, true);


--
-- Name: directory_audit_log_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.directory_audit_log_id_seq', 12, true);


--
-- Name: migration_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.migration_id_seq', 15, true);


--
-- Name: piccolo_user_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.piccolo_user_id_seq', 1, true);


--
-- Name: sessions_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.sessions_id_seq', 1, false);


--
-- Name: authenticator_secret authenticator_secret_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.authenticator_secret
    ADD CONSTRAINT authenticator_secret_pkey PRIMARY KEY (id);


--
-- Name: community_invitations community_invitations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_invitations
    ADD CONSTRAINT community_invitations_pkey PRIMARY KEY (invitation_id);


--
-- Name: community_members community_members_member_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_members
    ADD CONSTRAINT community_members_member_id_key UNIQUE (member_id);


--
-- Name: community_members community_members_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_members
    ADD CONSTRAINT community_members_pkey PRIMARY KEY (id);


--
-- Name: directory_audit_log directory_audit_log_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.directory_audit_log
    ADD CONSTRAINT directory_audit_log_pkey PRIMARY KEY (id);


--
-- Name: member_daily_highlights highlight_member_date_idx; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_daily_highlights
    ADD CONSTRAINT highlight_member_date_idx UNIQUE (member_id, highlight_date);


--
-- Name: community_invitations invitation_code_idx; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_invitations
    ADD CONSTRAINT invitation_code_idx UNIQUE (invitation_code);


--
-- Name: member_daily_highlights member_daily_highlights_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_daily_highlights
    ADD CONSTRAINT member_daily_highlights_pkey PRIMARY KEY (id);


--
-- Name: member_participation member_participation_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_participation
    ADD CONSTRAINT member_participation_pkey PRIMARY KEY (id);


--
-- Name: member_relationships member_relationships_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_relationships
    ADD CONSTRAINT member_relationships_pkey PRIMARY KEY (id);


--
-- Name: community_members member_telegram_id_idx; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_members
    ADD CONSTRAINT member_telegram_id_idx UNIQUE (telegram_id);


--
-- Name: migration migration_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (id);


--
-- Name: panel_attempts panel_attempts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.panel_attempts
    ADD CONSTRAINT panel_attempts_pkey PRIMARY KEY (key);


--
-- Name: member_participation participation_source_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_participation
    ADD CONSTRAINT participation_source_id_key UNIQUE (platform, room_id, source_id, event_type, member_id);


--
-- Name: piccolo_user piccolo_user_email_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.piccolo_user
    ADD CONSTRAINT piccolo_user_email_key UNIQUE (email);


--
-- Name: piccolo_user piccolo_user_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.piccolo_user
    ADD CONSTRAINT piccolo_user_pkey PRIMARY KEY (id);


--
-- Name: piccolo_user piccolo_user_username_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.piccolo_user
    ADD CONSTRAINT piccolo_user_username_key UNIQUE (username);


--
-- Name: member_relationships relationship_entity_a_idx; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_relationships
    ADD CONSTRAINT relationship_entity_a_idx UNIQUE (entity_id_a, entity_id_b, relationship_type);


--
-- Name: sessions sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);


--
-- Name: audit_member_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_member_id_idx ON public.directory_audit_log USING btree (member_id, id DESC);


--
-- Name: audit_member_status_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX audit_member_status_idx ON public.directory_audit_log USING btree (changed_at) WHERE (((table_name)::text = 'community_members'::text) AND ((action)::text = 'UPDATE'::text) AND (changes ? 'status'::text));


--
-- Name: highlight_date_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX highlight_date_idx ON public.member_daily_highlights USING btree (highlight_date DESC, member_id DESC) INCLUDE (message_count, reaction_count, voice_minutes);


--
-- Name: invitation_accepted_by_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX invitation_accepted_by_idx ON public.community_invitations USING btree (accepted_by) WHERE (accepted_by IS NOT NULL);


--
-- Name: invitation_created_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX invitation_created_at_idx ON public.community_invitations USING btree (created_at DESC, invitation_id DESC);


--
-- Name: invitation_created_by_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX invitation_created_by_idx ON public.community_invitations USING btree (created_by, created_at DESC);


--
-- Name: invitation_open_username_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX invitation_open_username_idx ON public.community_invitations USING btree (lower((invited_telegram_username)::text)) WHERE (((status)::text = 'pending'::text) AND (invited_telegram_username IS NOT NULL));


--
-- Name: invitation_pending_expires_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX invitation_pending_expires_at_idx ON public.community_invitations USING btree (expires_at) WHERE ((status)::text = 'pending'::text);


--
-- Name: invitation_status_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX invitation_status_idx ON public.community_invitations USING btree (status, created_at DESC) INCLUDE (expires_at, accepted_at);


--
-- Name: member_banned_and_erased_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_banned_and_erased_idx ON public.community_members USING btree (telegram_id) WHERE ((telegram_id)::text ~~ 'banned:%'::text);


--
-- Name: member_created_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_created_at_idx ON public.community_members USING btree (created_at DESC, id DESC) WHERE (deleted_at IS NULL);


--
-- Name: member_directory_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_directory_idx ON public.community_members USING btree (primary_role, country, reputation_score DESC, id DESC) WHERE (((status)::text = 'active'::text) AND (deleted_at IS NULL));


--
-- Name: member_discord_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_discord_id_idx ON public.community_members USING btree (((profile_data ->> 'discord_id'::text))) WHERE ((profile_data ->> 'discord_id'::text) IS NOT NULL);


--
-- Name: member_github_username_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_github_username_idx ON public.community_members USING btree (github_username);


--
-- Name: member_github_verified_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX member_github_verified_idx ON public.community_members USING btree (lower((github_username)::text)) WHERE github_verified;


--
-- Name: member_invited_by_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_invited_by_idx ON public.community_members USING btree (invited_by) INCLUDE (member_id);


--
-- Name: member_reputation_score_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_reputation_score_idx ON public.community_members USING btree (reputation_score DESC, id DESC) INCLUDE (status, primary_role, country, deleted_at, search_text);


--
-- Name: member_search_0_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_search_0_idx ON public.community_members USING gin (search_text public.gin_trgm_ops) WHERE (reputation_score <= 0);


--
-- Name: member_search_1001_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_search_1001_idx ON public.community_members USING gin (search_text public.gin_trgm_ops) WHERE (reputation_score > 1000);


--
-- Name: member_search_101_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_search_101_idx ON public.community_members USING gin (search_text public.gin_trgm_ops) WHERE ((reputation_score >= 101) AND (reputation_score <= 1000));


--
-- Name: member_search_1_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_search_1_idx ON public.community_members USING gin (search_text public.gin_trgm_ops) WHERE ((reputation_score >= 1) AND (reputation_score <= 100));


--
-- Name: member_status_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX member_status_idx ON public.community_members USING btree (status, created_at DESC);


--
-- Name: participation_event_type_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX participation_event_type_idx ON public.member_participation USING btree (event_type);


--
-- Name: participation_member_id_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX participation_member_id_idx ON public.member_participation USING btree (member_id, occurred_at DESC) INCLUDE (event_type);


--
-- Name: participation_occurred_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX participation_occurred_at_idx ON public.member_participation USING btree (occurred_at) INCLUDE (member_id);


--
-- Name: relationship_created_at_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX relationship_created_at_idx ON public.member_relationships USING btree (created_at DESC, id DESC);


--
-- Name: relationship_entity_b_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX relationship_entity_b_idx ON public.member_relationships USING btree (entity_id_b);


--
-- Name: relationship_type_idx; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX relationship_type_idx ON public.member_relationships USING btree (relationship_type);


--
-- Name: community_invitations community_invitations_audit; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_invitations_audit AFTER INSERT OR DELETE OR UPDATE ON public.community_invitations FOR EACH ROW EXECUTE FUNCTION public.directory_audit_log_write('community_invitations', 'invitation_id', 'created_by');


--
-- Name: community_invitations community_invitations_before_write; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_invitations_before_write BEFORE UPDATE ON public.community_invitations FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION public.community_invitations_before_write();


--
-- Name: community_invitations community_invitations_check_status; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_invitations_check_status BEFORE UPDATE ON public.community_invitations FOR EACH ROW WHEN ((((old.status)::text = ANY ((ARRAY['accepted'::character varying, 'cancelled'::character varying])::text[])) AND ((((old.status)::text IS DISTINCT FROM (new.status)::text) OR ((old.accepted_by)::text IS DISTINCT FROM (new.accepted_by)::text)) OR (old.accepted_at IS DISTINCT FROM new.accepted_at)))) EXECUTE FUNCTION public.community_invitations_check_status();


--
-- Name: community_members community_members_audit; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_members_audit AFTER INSERT OR DELETE OR UPDATE ON public.community_members FOR EACH ROW EXECUTE FUNCTION public.directory_audit_log_write('community_members', 'id', 'member_id');


--
-- Name: community_members community_members_before_write; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_members_before_write BEFORE INSERT OR UPDATE ON public.community_members FOR EACH ROW EXECUTE FUNCTION public.community_members_before_write();


--
-- Name: community_members community_members_check_inviter; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_members_check_inviter BEFORE UPDATE ON public.community_members FOR EACH ROW WHEN ((((new.invited_by)::text IS DISTINCT FROM (old.invited_by)::text) AND (new.invited_by IS NOT NULL))) EXECUTE FUNCTION public.community_members_check_inviter();


--
-- Name: community_members community_members_check_new_inviter; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_members_check_new_inviter BEFORE INSERT ON public.community_members FOR EACH ROW WHEN ((new.invited_by IS NOT NULL)) EXECUTE FUNCTION public.community_members_check_inviter();


--
-- Name: community_members community_members_check_status; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER community_members_check_status BEFORE UPDATE ON public.community_members FOR EACH ROW WHEN (((old.status)::text <> (new.status)::text)) EXECUTE FUNCTION public.community_members_check_status();


--
-- Name: directory_audit_log directory_audit_log_append_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER directory_audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.directory_audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.directory_audit_log_append_only();


--
-- Name: piccolo_user panel_user_changed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER panel_user_changed AFTER DELETE OR UPDATE OF password, active, admin, superuser ON public.piccolo_user FOR EACH ROW EXECUTE FUNCTION public.panel_user_changed();


--
-- Name: community_invitations community_invitations_accepted_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_invitations
    ADD CONSTRAINT community_invitations_accepted_by_fkey FOREIGN KEY (accepted_by) REFERENCES public.community_members(member_id) ON UPDATE RESTRICT ON DELETE RESTRICT;


--
-- Name: community_invitations community_invitations_created_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_invitations
    ADD CONSTRAINT community_invitations_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.community_members(member_id) ON UPDATE RESTRICT ON DELETE RESTRICT;


--
-- Name: community_members community_members_invited_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.community_members
    ADD CONSTRAINT community_members_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES public.community_members(member_id) ON UPDATE RESTRICT ON DELETE RESTRICT;


--
-- Name: member_daily_highlights member_daily_highlights_member_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_daily_highlights
    ADD CONSTRAINT member_daily_highlights_member_id_fkey FOREIGN KEY (member_id) REFERENCES public.community_members(member_id) ON UPDATE RESTRICT ON DELETE RESTRICT;


--
-- Name: member_participation member_participation_member_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.member_participation
    ADD CONSTRAINT member_participation_member_id_fkey FOREIGN KEY (member_id) REFERENCES public.community_members(member_id) ON UPDATE RESTRICT ON DELETE RESTRICT;


--
-- PostgreSQL database dump complete
--


