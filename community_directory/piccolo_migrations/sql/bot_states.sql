-- Where each person's conversation with the bot has got to, with the answers that were given. A row
-- is deleted when the conversation ends, and when it is a week old.

CREATE TABLE public.directory_bot_states (
    -- the id of the person's Telegram account
    telegram_id varchar(20) NOT NULL,
    -- the bot and the chat: a person may talk with two bots
    conversation varchar(255) NOT NULL,
    state varchar(100),
    data jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (telegram_id, conversation),
    CONSTRAINT bot_state_data_check CHECK (jsonb_typeof(data) = 'object'),
    CONSTRAINT bot_state_size_check CHECK (octet_length(data::text) <= 20000),
    CONSTRAINT bot_state_telegram_id_check CHECK (telegram_id ~ '^[1-9][0-9]*$')
);

-- find the conversations that are a week old
CREATE INDEX bot_state_updated_at_idx ON public.directory_bot_states (updated_at);
