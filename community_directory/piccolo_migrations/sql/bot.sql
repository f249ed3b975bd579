-- What the Telegram bot keeps: the languages of people, and its messages about newcomers.

-- Each open request is in the audit log, and so is its end.
CREATE TRIGGER member_requests_audit
    AFTER INSERT OR UPDATE OR DELETE ON public.member_requests
    FOR EACH ROW EXECUTE FUNCTION
    public.directory_audit_log_write('member_requests', 'id', 'member_id');

-- The people who have started the bot, so that it may write to them, in their language.
-- A row leaves the table with the account, such as when the person is erased.
CREATE TABLE public.directory_bot_chats (
    platform varchar(50) NOT NULL DEFAULT 'telegram',
    -- The id of the account, which is that of the private chat with the bot, too.
    account_id varchar(255) NOT NULL,
    -- A language tag, such as es or pt-br.
    language_code varchar(35) NOT NULL,
    PRIMARY KEY (platform, account_id),
    CONSTRAINT bot_chat_account_fkey FOREIGN KEY (platform, account_id)
        REFERENCES public.member_accounts (platform, account_id)
        ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT bot_chat_platform_check CHECK (platform = 'telegram'),
    CONSTRAINT bot_chat_language_check CHECK (language_code ~ '^[a-z]+(-[a-z0-9]+)*$')
);

-- The messages about each newcomer who waits, so that they can be edited when somebody has decided.
CREATE TABLE public.directory_bot_notices (
    member_id varchar(20) NOT NULL,
    -- The manager in whose chat with the bot the message is.
    manager_id varchar(20) NOT NULL,
    message_id bigint NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (member_id, manager_id),
    CONSTRAINT bot_notice_member_id_fkey FOREIGN KEY (member_id)
        REFERENCES public.community_members (member_id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT bot_notice_manager_id_fkey FOREIGN KEY (manager_id)
        REFERENCES public.community_members (member_id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT bot_notice_message_id_check CHECK (message_id > 0),
    CONSTRAINT bot_notice_sent_at_range_check CHECK (
        sent_at >= '2000-01-01 00:00Z' AND sent_at < '2200-01-01 00:00Z'
    )
);
