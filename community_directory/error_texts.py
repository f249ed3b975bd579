"""The texts of the errors that people read, with their data in braces, for translators.

An English error is its own message. A text here equals that message, unless the message has parts
that the error does not keep; `language.Translation.error` translates it and fills in the data.
"""

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.errors import (
    DirectoryError,
    InvalidInput,
    InvitationQuotaExceeded,
    OperatorError,
    StatusChangeRefused,
)


def gettext_noop(text: str) -> str:
    """Return a text unchanged, and mark it for the catalogs: it is translated where it is shown."""
    return text


def ngettext_noop(one: str, many: str) -> tuple[str, str]:
    """Return the texts for one and for several things, and mark them for the catalogs."""
    return one, many


UNKNOWN_ERROR = gettext_noop("This can't be done.")
UNAVAILABLE = gettext_noop("The directory is not available at the moment. Please try again later.")
INVALID_FIELD = gettext_noop("The {field} can't have this value.")
INVALID_VALUE = gettext_noop("This value can't be stored or understood.")
SAME_STATUS = gettext_noop("The status of member {member_id} is already {after}.")
NO_QUOTA = gettext_noop("Member {member_id} can't invite anybody. Ask a community manager.")
OPEN_QUOTA = gettext_noop(
    "Member {member_id} has {limit} open invitations, and can't have more. The next one is free on "
    "{next_at}, or when one is used or cancelled."
)
WEEKLY_QUOTA = gettext_noop(
    "Member {member_id} has created {limit} invitations in {period} days, and can't create more. "
    "The next one is free on {next_at}."
)

ERROR_TEXTS = {
    "account_taken": gettext_noop(
        "This account belongs to member {member_id}. "
        "If both are the same person, ask a community manager to merge them."
    ),
    "act_not_found": gettext_noop("There is no such act in the log."),
    "act_not_undoable": gettext_noop("Only approving and declining can be undone."),
    "act_undone": gettext_noop("This was undone already."),
    "already_member": gettext_noop("You are already a member."),
    "ambiguous_member": gettext_noop(
        "Several members match: {member_ids}. Give the number of the one you mean."
    ),
    "bot_refused": gettext_noop(
        "This account is known as a bot, and bots can't invite or join. "
        "If that is a mistake, ask a community manager."
    ),
    "count_differs": gettext_noop("Type {limit}, the number of people, to confirm."),
    "event_archived": gettext_noop(
        "This event is older than the events that are kept: those before {closed_before} are "
        "archived."
    ),
    "invalid_cursor": gettext_noop(
        "This page can't be continued. Start again with the first page."
    ),
    "invitation_cancelled": gettext_noop(
        "This code is no longer valid. Ask whoever invited you for a new one."
    ),
    "invitation_expired": gettext_noop(
        "This code has expired. Ask whoever invited you for a new one."
    ),
    "invitation_for_someone_else": gettext_noop(
        "This code is meant for somebody else. Ask whoever invited you for one of your own."
    ),
    "invitation_not_found": gettext_noop(
        "There is no invitation with this code. Check it for typing mistakes."
    ),
    "invitation_used": gettext_noop(
        "This code has already been used. Ask whoever invited you for a new one."
    ),
    "link_code_invalid": gettext_noop(
        "This code is wrong or has expired. Ask for a new one on your other account."
    ),
    "member_banned": gettext_noop(
        "This person is banned. If that is a mistake, ask a community manager."
    ),
    "member_exists": gettext_noop("This account already belongs to a member."),
    "member_merged": gettext_noop("{member_id} was merged into {merged_into}. Use {merged_into}."),
    "member_not_active": gettext_noop(
        "Only an active member can do this. The status of member {member_id} is {status}."
    ),
    "member_not_found": gettext_noop("There is no member {member_id}."),
    "merge_refused": gettext_noop(
        "{member_id} can't be merged, or the merge can't be undone. Look at both members."
    ),
    "new_inviter_unclear": gettext_noop(
        "Name the new inviter by their number, or by a name that nobody else has."
    ),
    "nobody_picked": gettext_noop("Pick at least one person."),
    "not_merged": gettext_noop("{member_id} is not merged into another member."),
    "note_not_found": gettext_noop("This note does not exist any more."),
    "permission_required": gettext_noop(
        "This needs the permission {permission}, which member {member_id} does not have."
    ),
    "profile_changed": gettext_noop(
        "Somebody else has changed the {field} in the meantime. "
        "Look at the present value, and save again if yours is to replace it."
    ),
    "status_change_refused": gettext_noop(
        "The status of member {member_id} can't change from {before} to {after}."
    ),
    "text_too_long": gettext_noop(
        "The {field} is too long; at most {limit} characters are allowed."
    ),
    "too_many_people": gettext_noop("At most {limit} people can be changed at once."),
    "too_many_tries": gettext_noop("There were too many wrong codes. Try again in ten minutes."),
    "undo_expired": gettext_noop(
        "This can't be undone any more. Change the status of each person instead."
    ),
    "value_missing": gettext_noop("The {field} can't be empty."),
}
"""The text of each code. Codes of constraints have the messages of `CONSTRAINT_MESSAGES`."""

LEFT_OUT_TEXTS = {
    "already_active": gettext_noop("Is active already"),
    "already_banned": gettext_noop("Is banned already"),
    "already_declined": gettext_noop("Is a contact already"),
    "already_there": gettext_noop("Has this inviter already"),
    "already_suspended": gettext_noop("Is suspended already"),
    "banned": gettext_noop("Is banned"),
    "bot": gettext_noop("Is a bot"),
    "changed": gettext_noop("Was changed by somebody else since the preview"),
    "circle": gettext_noop("Invited the new inviter, directly or through others"),
    "contact": gettext_noop("Is a contact, not a member"),
    "is_active": gettext_noop("Is active, and does not wait"),
    "is_suspended": gettext_noop("Is suspended, and does not wait"),
    "elsewhere": gettext_noop("Is not in this branch any more"),
    "manager": gettext_noop("Is a manager: only a superuser may do this"),
    "merged": gettext_noop("Was merged into another member"),
    "no_invitations": gettext_noop("Has no open invitation"),
    "pending": gettext_noop("Waits for approval"),
    "removed": gettext_noop("Was removed"),
    "unknown": gettext_noop("There is no member with this number"),
}
"""Why an act on many members leaves one of them out, by `LeftOutCode`."""

WORDS = {
    "not_member": gettext_noop("contact"),
    "pending": gettext_noop("pending"),
    "active": gettext_noop("active"),
    "suspended": gettext_noop("suspended"),
    "banned": gettext_noop("banned"),
    "removed": gettext_noop("removed"),
    "gone": gettext_noop("gone"),
    "sent": gettext_noop("sent"),
    "accepted": gettext_noop("accepted"),
    "expired": gettext_noop("expired"),
    "cancelled": gettext_noop("cancelled"),
    "invite": gettext_noop("invite"),
    "review": gettext_noop("review"),
    "moderate": gettext_noop("moderate"),
    "manage": gettext_noop("manage"),
    "Novice": gettext_noop("Novice"),
    "Contributor": gettext_noop("Contributor"),
    "Active Developer": gettext_noop("Active Developer"),
    "Experienced": gettext_noop("Experienced"),
    "Expert": gettext_noop("Expert"),
    "name": gettext_noop("name"),
    "primary_role": gettext_noop("role"),
    "organization": gettext_noop("organization"),
    "country": gettext_noop("country"),
    "telegram_id": gettext_noop("Telegram id"),
    "telegram_username": gettext_noop("Telegram username"),
    "github_username": gettext_noop("GitHub username"),
    "invited_telegram_username": gettext_noop("invited Telegram username"),
    "invitation_code": gettext_noop("code"),
    "code": gettext_noop("code"),
    "viewer": gettext_noop("viewer"),
    "manager": gettext_noop("manager"),
    "superuser": gettext_noop("superuser"),
    "profile_data": gettext_noop("profile"),
    "reason": gettext_noop("reason"),
    "text": gettext_noop("search text"),
    "since": gettext_noop("first day"),
    "until": gettext_noop("last day"),
    "member_from": gettext_noop("first day of joining"),
    "member_to": gettext_noop("last day of joining"),
    "invited_from": gettext_noop("first day of the invitation"),
    "invited_to": gettext_noop("last day of the invitation"),
    "contributions_from": gettext_noop("lowest number of contributions"),
    "contributions_to": gettext_noop("highest number of contributions"),
    "active_week": gettext_noop("week"),
    "inactive_week": gettext_noop("week"),
    "active_month": gettext_noop("month"),
    "inactive_month": gettext_noop("month"),
    "activity": gettext_noop("activity"),
    "room": gettext_noop("room"),
    "reached": gettext_noop("step"),
    "stuck": gettext_noop("step"),
}
"""The words for names in the code: statuses, outcomes, permissions, tiers, and fields."""


def find_error_text(error: DirectoryError) -> str:
    """Return the English text of an error, with the names of the error's attributes in braces."""
    if isinstance(error, OperatorError):
        return UNAVAILABLE
    if error.code in CONSTRAINT_MESSAGES:
        return CONSTRAINT_MESSAGES[error.code].message
    if isinstance(error, InvitationQuotaExceeded):
        return _find_quota_text(error)
    if isinstance(error, StatusChangeRefused) and error.before == error.after:
        return SAME_STATUS
    return ERROR_TEXTS.get(error.code) or _find_general_text(error)


def _find_quota_text(error: InvitationQuotaExceeded) -> str:
    if error.next_at is None:
        return NO_QUOTA
    return OPEN_QUOTA if error.period is None else WEEKLY_QUOTA


def _find_general_text(error: DirectoryError) -> str:
    if not isinstance(error, InvalidInput):
        return UNKNOWN_ERROR
    return INVALID_VALUE if error.field is None else INVALID_FIELD
