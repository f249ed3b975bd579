"""Checks of the panel's users and sessions."""

from collections.abc import Sequence

from community_directory.database import Statement, engine
from community_directory.doctor.model import Check, Finding, Scope, Verdict
from community_directory.settings import Settings, load_settings

# Piccolo stores times without a zone. An hour or two do not matter here.
FIND_UNUSED_ACCOUNTS = Statement("""
SELECT format('user %s, last signed in on %s', id, last_login::date) AS finding
FROM piccolo_user
WHERE active AND admin AND last_login < now()::timestamp - interval '90 days' ORDER BY id
""")
FIND_OLD_SESSIONS = Statement("""
SELECT 'session ' || id AS finding FROM sessions
WHERE expiry_date < now()::timestamp - interval '30 days' ORDER BY id
""")
FIX_OLD_SESSIONS = Statement("""
DELETE FROM sessions WHERE expiry_date < now()::timestamp - interval '1 day'
""")
FIND_SUPERUSERS_WITHOUT_SECOND_FACTOR = Statement("""
SELECT 'user ' || id AS finding FROM piccolo_user
WHERE superuser AND active AND admin AND NOT EXISTS (
    SELECT FROM authenticator_secret WHERE user_id = piccolo_user.id AND revoked_at IS NULL
) ORDER BY id
""")
FIND_USERS_WITH_EMAIL = Statement("""
SELECT 'user ' || id AS finding FROM piccolo_user WHERE active AND admin AND email = :email
""")

FIND_TEMPORARY_PASSWORDS = Statement("""
SELECT 'user ' || id AS finding
FROM panel_temporary_passwords JOIN piccolo_user ON id = user_id
WHERE active AND admin ORDER BY id
""")


async def find_superusers_without_second_factor(_: Scope) -> Sequence[Finding]:
    """Find the superusers without a second factor, if DIRECTORY_MFA_KEY allows one."""
    if load_settings().mfa_key is None:
        return []
    records = await engine.fetch(FIND_SUPERUSERS_WITHOUT_SECOND_FACTOR)
    return [Finding(record["finding"]) for record in records]


async def find_default_email(_: Scope) -> Sequence[Finding]:
    """Find the users of a panel in production whose e-mail address is that of the defaults."""
    if not load_settings().production:
        return []
    default = Settings.model_fields["admin_email"].default
    records = await engine.fetch(FIND_USERS_WITH_EMAIL, email=default)
    return [Finding(record["finding"]) for record in records]


async def fix_old_sessions(_: Scope) -> None:
    """Delete the sessions that expired more than a day ago."""
    await engine.fetch(FIX_OLD_SESSIONS)


PANEL_CHECKS = (
    Check(
        id="second_factor",
        title="Every superuser has a second factor, if DIRECTORY_MFA_KEY is set",
        problem="Superusers of the panel without a second factor",
        next_step="Ask each of them to set one up on the page of their account.",
        find=find_superusers_without_second_factor,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="temporary_passwords",
        title="Every user of the panel has a password that nobody else knows",
        problem="Users of the panel who have not changed the password that somebody set for them",
        next_step="Ask each of them to sign in, which asks for a new password, or deactivate the "
        "account, under Colleagues.",
        find=FIND_TEMPORARY_PASSWORDS,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="unused_accounts",
        title="Every user of the panel has signed in within 90 days",
        problem="Users of the panel who have not signed in for 90 days",
        next_step="Switch off the accounts that nobody needs, under Colleagues.",
        find=FIND_UNUSED_ACCOUNTS,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="default_email",
        title="No user in production has the default e-mail address",
        problem="Users of the panel with the default e-mail address",
        next_step="Write a real address, in the panel under Users.",
        find=find_default_email,
        verdict=Verdict.WARNING,
    ),
    Check(
        id="sessions",
        title="No session of the panel expired more than 30 days ago",
        problem="Sessions of the panel that expired more than 30 days ago",
        next_step="Run `community-directory doctor --fix`, which deletes them.",
        find=FIND_OLD_SESSIONS,
        verdict=Verdict.WARNING,
        fix=fix_old_sessions,
    ),
)
