-- Who may sign in besides managers, whose link waits for them, and when each user was here.

-- A user with the right "admin" is a manager, whether or not they are listed here.
CREATE TABLE public.panel_viewers (
    user_id integer CONSTRAINT panel_viewers_pkey PRIMARY KEY
        CONSTRAINT panel_viewers_user_fkey REFERENCES public.piccolo_user ON DELETE CASCADE
);
COMMENT ON TABLE public.panel_viewers IS
    'The users without the right "admin" who may read the pages of the workspace.';

-- The user exists from the invitation on, switched off and without a password that anybody knows. Whoever has the
-- link sets the password, which deletes the row: of two at the same time, one finds it.
CREATE TABLE public.panel_invitations (
    user_id integer CONSTRAINT panel_invitations_pkey PRIMARY KEY
        CONSTRAINT panel_invitations_user_fkey REFERENCES public.piccolo_user ON DELETE CASCADE,
    token_hash bytea NOT NULL
        CONSTRAINT panel_invitations_token_check CHECK (octet_length(token_hash) = 32),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE public.panel_invitations IS
    'The open links with which invited users set their passwords, as SHA-256 hashes of their tokens.';

CREATE TABLE public.panel_visits (
    user_id integer CONSTRAINT panel_visits_pkey PRIMARY KEY
        CONSTRAINT panel_visits_user_fkey REFERENCES public.piccolo_user ON DELETE CASCADE,
    seen_at timestamptz NOT NULL,
    previous_ended_at timestamptz
);
COMMENT ON TABLE public.panel_visits IS
    'When each user last opened a page, to the minute, and when the visit before this one ended.';
