-- Links between two accounts of one person, proved by a one-time code.

-- The codes: a member has at most one, and a new one replaces it.
CREATE TABLE public.directory_link_codes (
    member_id varchar(20) PRIMARY KEY,
    -- The SHA-256 of the code. The code itself is stored nowhere.
    code_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT link_code_hash_idx UNIQUE (code_hash),
    CONSTRAINT directory_link_codes_member_id_fkey FOREIGN KEY (member_id)
        REFERENCES public.community_members (member_id) ON UPDATE RESTRICT ON DELETE RESTRICT
);

-- The wrong codes that each account has typed, until ends_at.
CREATE TABLE public.directory_link_tries (
    platform varchar(50) NOT NULL,
    account_id varchar(255) NOT NULL,
    wrong integer NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (platform, account_id),
    CONSTRAINT link_tries_wrong_check CHECK (wrong > 0)
);

-- Two members whose accounts were proved to belong to one person, the smaller number (as a text)
-- first.
CREATE TABLE public.directory_proved_pairs (
    member_a varchar(20) NOT NULL,
    member_b varchar(20) NOT NULL,
    proved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (member_a, member_b),
    CONSTRAINT proved_pair_order_check CHECK (member_a < member_b COLLATE "C"),
    CONSTRAINT directory_proved_pairs_member_a_fkey FOREIGN KEY (member_a)
        REFERENCES public.community_members (member_id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT directory_proved_pairs_member_b_fkey FOREIGN KEY (member_b)
        REFERENCES public.community_members (member_id) ON UPDATE RESTRICT ON DELETE RESTRICT
);

-- find the pairs of a member by their second number
CREATE INDEX proved_pair_member_b_idx ON public.directory_proved_pairs (member_b);
