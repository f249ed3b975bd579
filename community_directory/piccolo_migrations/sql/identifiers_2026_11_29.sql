-- Give each stored identifier its one spelling, and each name a visible character, before the new
-- constraints are added. The script runs in one transaction with them.

-- The migration changes both tables.
LOCK TABLE public.community_members, public.community_invitations IN ACCESS EXCLUSIVE MODE;

SELECT set_config('community_directory.actor', 'migration', true),
    set_config('community_directory.reason', 'One spelling of each identifier', true);

-- Return a text in the form NFKC, without invisible characters and without marks around it.
CREATE FUNCTION pg_temp.clean(typed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT btrim(
        regexp_replace(
            normalize(typed, NFKC),
            '[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e'
                || '\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc]+',
            '', 'g'
        ),
        E' \t\r\n"''`‘’“”„«»<>()[]{},;:!?.'
    )
$$;

-- Return the username in a text: alone, after an @, or in a link. It is NULL for any other text.
CREATE FUNCTION pg_temp.username(typed text, link text, username text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        substring(cleaned FROM '^@?(' || username || ')$'),
        substring(cleaned FROM '(?i)^' || link || '/@?(' || username || ')/?(?:[?#].*)?$')
    )
    FROM pg_temp.clean(typed) AS cleaned
    -- A link with `start` leads to a bot.
    WHERE cleaned !~* '[?&]start(app|group|channel)?='
$$;
CREATE FUNCTION pg_temp.telegram_username(typed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.username(
        typed, '(?:https?://)?(?:www\.)?(?:t\.me|telegram\.(?:me|dog))', '[A-Za-z0-9_]{1,32}'
    )
$$;
CREATE FUNCTION pg_temp.github_username(typed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.username(
        typed, '(?:https?://)?(?:www\.)?github\.com', '[A-Za-z0-9][A-Za-z0-9_-]{0,38}'
    )
$$;

-- Return the only digits that a spelling of an id can mean, such as 1001 for user01001.
CREATE FUNCTION pg_temp.telegram_id(typed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT substring(
        pg_temp.clean(typed) FROM '^(?:user|telegram:|\+)?0*([1-9][0-9]{0,19})(?:\.0+)?$'
    )
$$;
CREATE FUNCTION pg_temp.discord_id(typed text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT substring(pg_temp.clean(typed) FROM '^(?:discord:|@!?)?0*([1-9][0-9]{0,19})$')
$$;

-- Tell whether a name has a character that people can see.
CREATE FUNCTION pg_temp.is_visible(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT name ~ (
        '[^[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff\u00ad\u034f'
        || '\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u202a-\u202e\u2060-\u206f\u3164'
        || '\ufe00-\ufe0f\uffa0\ufff0-\ufffc\u2800\U0001bca0-\U0001bca3\U0001d173-\U0001d17a'
        || '\U000e0000-\U000e0fff\U00013430-\U0001343f\U00013441\U00013442\U00016fe4\U0001d159]'
    )
$$;

-- Tell whether a name has control characters, or characters that control the text's direction.
CREATE FUNCTION pg_temp.has_controls(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT name ~ (
        '[\u0001-\u001f\u007f-\u009f\u2028\u2029'
        || '\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]'
    )
$$;
CREATE FUNCTION pg_temp.without_controls(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT btrim(regexp_replace(
        regexp_replace(name, '[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+', '', 'g'),
        '[\u0001-\u001f\u007f-\u009f\u2028\u2029]+', ' ', 'g'
    ))
$$;

-- Repair the ids of accounts. Two spellings of one account are two members, whom only a person can
-- tell apart: they stay as they are, and are reported below.
WITH spelled AS MATERIALIZED (
    SELECT id, pg_temp.telegram_id(telegram_id) AS repaired FROM public.community_members
), once AS (
    SELECT repaired FROM spelled WHERE repaired IS NOT NULL GROUP BY repaired HAVING count(*) = 1
)
UPDATE public.community_members AS member SET telegram_id = once.repaired
FROM spelled JOIN once USING (repaired)
WHERE member.id = spelled.id AND member.telegram_id <> once.repaired;

UPDATE public.community_members SET profile_data = jsonb_set(
    profile_data, '{discord_id}', to_jsonb(pg_temp.discord_id(profile_data ->> 'discord_id'))
)
WHERE profile_data ->> 'discord_id' !~ '^[1-9][0-9]{0,19}$'
    AND pg_temp.discord_id(profile_data ->> 'discord_id') IS NOT NULL;

-- Repair the usernames. A verified GitHub account belongs to one member.
UPDATE public.community_members SET telegram_username = pg_temp.telegram_username(telegram_username)
WHERE telegram_username !~ '^[A-Za-z0-9_]{1,32}$'
    AND pg_temp.telegram_username(telegram_username) IS NOT NULL;

WITH spelled AS MATERIALIZED (
    SELECT id, github_verified, pg_temp.github_username(github_username) AS repaired
    FROM public.community_members WHERE github_username IS NOT NULL
), shared AS (
    SELECT lower(repaired) AS account FROM spelled WHERE github_verified
    GROUP BY lower(repaired) HAVING count(*) > 1
)
UPDATE public.community_members AS member SET github_username = spelled.repaired
FROM spelled
WHERE member.id = spelled.id AND member.github_username <> spelled.repaired
    AND NOT (spelled.github_verified AND lower(repaired) IN (SELECT account FROM shared));

-- Nobody could redeem an invitation for a misspelled username. Of several pending ones for a person
-- an overdue one can't be redeemed either; of the others the well-spelled one stays open, or else
-- the one that is open for the longest time.
WITH open_invitation AS MATERIALIZED (
    SELECT invitation_id, row_number() OVER (
        PARTITION BY lower(pg_temp.telegram_username(invited_telegram_username))
        ORDER BY expires_at > now() DESC, invited_telegram_username ~ '^[A-Za-z0-9_]{1,32}$' DESC,
            expires_at DESC, invitation_id
    ) AS position
    FROM public.community_invitations
    WHERE status = 'pending' AND pg_temp.telegram_username(invited_telegram_username) IS NOT NULL
)
UPDATE public.community_invitations AS invitation
SET status = CASE WHEN expires_at <= now() THEN 'expired' ELSE 'cancelled' END
FROM open_invitation
WHERE invitation.invitation_id = open_invitation.invitation_id AND position > 1;

UPDATE public.community_invitations
SET invited_telegram_username = pg_temp.telegram_username(invited_telegram_username)
WHERE invited_telegram_username !~ '^[A-Za-z0-9_]{1,32}$'
    AND pg_temp.telegram_username(invited_telegram_username) IS NOT NULL;

-- Repair the names. A name that nobody can see becomes the id of the account, as in an import.
UPDATE public.community_members SET name = pg_temp.without_controls(name)
WHERE pg_temp.has_controls(name) AND pg_temp.is_visible(name);
UPDATE public.community_members SET name = telegram_id WHERE NOT pg_temp.is_visible(name);
UPDATE public.community_members SET primary_role = pg_temp.without_controls(primary_role)
WHERE pg_temp.has_controls(primary_role) AND pg_temp.is_visible(primary_role);

SELECT set_config('community_directory.actor', '', true),
    set_config('community_directory.reason', '', true);

-- Report each row that the new constraints would refuse, with its table, column and key.
DO $$
DECLARE
    added record;
    keys text;
    problems text := '';
BEGIN
    FOR added IN
        SELECT in_table, name, key, rule, replace(condition, 'VALUE', name) AS condition
        FROM (VALUES
            ('community_members', 'member_id', 'telegram_id', 'member_telegram_id_format_check',
                $c$VALUE ~ '^[1-9][0-9]{0,19}$|^discord:[1-9][0-9]{0,19}$'
                OR VALUE ~ '^(?!(discord|https?|id|tel|telegram|tg|user):)[a-z][a-z0-9_]*:[!-~]+$'$c$),
            ('community_members', 'member_id', 'telegram_username',
                'member_telegram_username_format_check', $c$VALUE ~ '^[A-Za-z0-9_]{1,32}$'$c$),
            ('community_members', 'member_id', 'github_username',
                'member_github_username_format_check',
                $c$VALUE ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,38}$'$c$),
            ('community_members', 'member_id', 'profile_data', 'member_discord_id_check',
                $c$VALUE ->> 'discord_id' ~ '^[1-9][0-9]{0,19}$'$c$),
            ('community_members', 'member_id', 'primary_role', 'member_primary_role_visible_check',
                $c$pg_temp.is_visible(VALUE)$c$),
            ('community_invitations', 'invitation_id', 'invited_telegram_username',
                'invitation_username_format_check', $c$VALUE ~ '^[A-Za-z0-9_]{1,32}$'$c$)
        ) AS rules(in_table, key, name, rule, condition)
    LOOP
        EXECUTE format(
            $select$
            SELECT string_agg(key, ', ') FROM (
                SELECT %I::text AS key FROM public.%I WHERE NOT (%s) LIMIT 10
            ) AS broken
            $select$,
            added.key, added.in_table, added.condition
        ) INTO keys;
        IF keys IS NOT NULL THEN
            problems := problems
                || format('; %s.%s (%s): %s', added.in_table, added.name, added.rule, keys);
        END IF;
    END LOOP;
    IF problems <> '' THEN
        RAISE EXCEPTION 'some rows break the new rules, and must be changed first%', problems
            USING ERRCODE = 'check_violation';
    END IF;
END $$;

DROP FUNCTION pg_temp.telegram_username(text), pg_temp.github_username(text),
    pg_temp.telegram_id(text), pg_temp.discord_id(text), pg_temp.username(text, text, text),
    pg_temp.clean(text), pg_temp.is_visible(text), pg_temp.has_controls(text),
    pg_temp.without_controls(text);
