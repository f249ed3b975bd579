"""The message for each constraint of the database, by the constraint's name."""

from typing import NamedTuple


class ConstraintMessage(NamedTuple):
    """The message that a person reads when a constraint refuses a value.

    Attributes:
        message: One sentence.
        field: The column that the message is about, if it is about one.
    """

    message: str
    field: str | None = None


_NO_MEMBER = "There is no such member."
_NO_STATUS = "There is no such status."
_TELEGRAM_ID = (
    "A Telegram id is a number without leading zeros: check that no spreadsheet changed it."
)
_TELEGRAM_USERNAME = "A Telegram username has up to 32 letters, digits and underscores."
_ONE_LINE = "This can't contain line breaks, or characters that control the direction of a text."
_OBJECT = "This must be a JSON object."
_NEGATIVE = "This can't be negative."
_RANGE = "A date must lie in the years 2000 to 2199."
_UNREADABLE = "This contains a number that is too large, or is nested too deeply."
_ENTITY = "An entity's id can't be empty or contain spaces."
_PLATFORM = "A platform must be a lower-case name such as telegram."
_ROOM = "A room's id can't be blank."
_SAME_COUNT = "This count is already stored."
_SAME_EVENT = "This event is already stored."
_SAME_RELATIONSHIP = "This relationship already exists."

CONSTRAINT_MESSAGES = {
    # community_members
    "community_members_invited_by_fkey": ConstraintMessage(_NO_MEMBER, "invited_by"),
    "community_members_member_id_key": ConstraintMessage(
        "This number belongs to another member.", "member_id"
    ),
    "community_members_pkey": ConstraintMessage("This member already exists.", "id"),
    "member_bot_reputation_check": ConstraintMessage(
        "A bot has no points, and only a bot has points that don't count.", "is_bot"
    ),
    "member_created_at_range_check": ConstraintMessage(_RANGE, "created_at"),
    "member_deleted_at_range_check": ConstraintMessage(_RANGE, "deleted_at"),
    "member_discord_id_check": ConstraintMessage(
        "A Discord id is a number of up to 20 digits without leading zeros.", "profile_data"
    ),
    "member_github_profile_data_check": ConstraintMessage(_OBJECT, "github_profile_data"),
    "member_github_profile_data_readable_check": ConstraintMessage(
        _UNREADABLE, "github_profile_data"
    ),
    "member_github_username_format_check": ConstraintMessage(
        "A GitHub username has up to 39 letters, digits, hyphens and underscores.",
        "github_username",
    ),
    "member_github_verified_at_range_check": ConstraintMessage(_RANGE, "github_verified_at"),
    "member_github_verified_check": ConstraintMessage(
        "A verified GitHub account needs a username and the time of its verification.",
        "github_verified",
    ),
    "member_github_verified_idx": ConstraintMessage(
        "This GitHub account belongs to another member.", "github_username"
    ),
    "member_invited_by_acyclic": ConstraintMessage(
        "This member invited the chosen inviter, directly or through others: choose another one.",
        "invited_by",
    ),
    "member_invited_by_check": ConstraintMessage("Members can't invite themselves.", "invited_by"),
    "member_last_active_at_range_check": ConstraintMessage(_RANGE, "last_active_at"),
    "community_members_merged_into_fkey": ConstraintMessage(_NO_MEMBER, "merged_into"),
    "member_merged_check": ConstraintMessage(
        "A merged member is removed, and has no account.", "merged_into"
    ),
    "member_merged_into_check": ConstraintMessage(
        "A member can't be merged into itself.", "merged_into"
    ),
    "member_name_one_line_check": ConstraintMessage(_ONE_LINE, "name"),
    "member_name_visible_check": ConstraintMessage("The name can't be blank.", "name"),
    "member_number_check": ConstraintMessage("A member's number must look like #247.", "member_id"),
    "member_number_never_changes": ConstraintMessage(
        "The number of a member can't be changed.", "member_id"
    ),
    "member_primary_role_one_line_check": ConstraintMessage(_ONE_LINE, "primary_role"),
    "member_primary_role_visible_check": ConstraintMessage(
        "The role can't be blank.", "primary_role"
    ),
    "member_profile_data_check": ConstraintMessage(_OBJECT, "profile_data"),
    "member_profile_data_readable_check": ConstraintMessage(_UNREADABLE, "profile_data"),
    "member_reputation_score_check": ConstraintMessage(_NEGATIVE, "reputation_score"),
    "member_reputation_shortfall_check": ConstraintMessage(_NEGATIVE, "reputation_shortfall"),
    "member_reputation_tier_check": ConstraintMessage("There is no such tier.", "reputation_tier"),
    "member_status_check": ConstraintMessage(_NO_STATUS, "status"),
    "member_status_transition": ConstraintMessage(
        "The status of a member can't change in this way.", "status"
    ),
    "member_suspended_until_check": ConstraintMessage(
        "Only a suspended member has an end of the suspension.", "suspended_until"
    ),
    "member_suspended_until_range_check": ConstraintMessage(_RANGE, "suspended_until"),
    "member_telegram_id_format_check": ConstraintMessage(_TELEGRAM_ID, "telegram_id"),
    "member_telegram_id_idx": ConstraintMessage(
        "This Telegram account is already in the directory.", "telegram_id"
    ),
    "member_telegram_username_format_check": ConstraintMessage(
        _TELEGRAM_USERNAME, "telegram_username"
    ),
    "member_updated_at_range_check": ConstraintMessage(_RANGE, "updated_at"),
    # community_invitations
    "community_invitations_accepted_by_fkey": ConstraintMessage(_NO_MEMBER, "accepted_by"),
    "community_invitations_created_by_fkey": ConstraintMessage(_NO_MEMBER, "created_by"),
    "community_invitations_pkey": ConstraintMessage(
        "This invitation already exists.", "invitation_id"
    ),
    "invitation_accepted_at_check": ConstraintMessage(
        "Fill in both who accepted the invitation and when, or neither.", "accepted_at"
    ),
    "invitation_accepted_at_range_check": ConstraintMessage(_RANGE, "accepted_at"),
    "invitation_accepted_by_check": ConstraintMessage(
        "Set the status to accepted and fill in who accepted the invitation, or do neither.",
        "accepted_by",
    ),
    "invitation_code_check": ConstraintMessage(
        "A code must have 8 to 16 letters and digits.", "invitation_code"
    ),
    "invitation_code_idx": ConstraintMessage(
        "This code is taken: choose another one.", "invitation_code"
    ),
    "invitation_created_at_range_check": ConstraintMessage(_RANGE, "created_at"),
    "invitation_expires_at_range_check": ConstraintMessage(_RANGE, "expires_at"),
    "invitation_open_username_idx": ConstraintMessage(
        "This person already has an open invitation: extend that one.", "invited_telegram_username"
    ),
    "invitation_self_check": ConstraintMessage(
        "Members can't accept their own invitation.", "accepted_by"
    ),
    "invitation_status_check": ConstraintMessage(_NO_STATUS, "status"),
    "invitation_status_transition": ConstraintMessage(
        "An accepted or cancelled invitation can't be changed: create a new one.", "status"
    ),
    "invitation_updated_at_range_check": ConstraintMessage(_RANGE, "updated_at"),
    "invitation_username_format_check": ConstraintMessage(
        _TELEGRAM_USERNAME, "invited_telegram_username"
    ),
    # member_participation
    "member_participation_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "member_participation_pkey": ConstraintMessage(_SAME_EVENT, "id"),
    "participation_event_metadata_check": ConstraintMessage(_OBJECT, "event_metadata"),
    "participation_event_metadata_readable_check": ConstraintMessage(_UNREADABLE, "event_metadata"),
    "participation_event_type_check": ConstraintMessage(
        "An event type must be an upper-case name such as MESSAGE.", "event_type"
    ),
    "participation_occurred_at_range_check": ConstraintMessage(_RANGE, "occurred_at"),
    "participation_platform_check": ConstraintMessage(_PLATFORM, "platform"),
    "participation_room_id_check": ConstraintMessage(_ROOM, "room_id"),
    "participation_source_id_check": ConstraintMessage(
        "An event's id on its platform can't be blank.", "source_id"
    ),
    "participation_day_archived": ConstraintMessage(
        "This event is older than the events that are kept: its day is archived.", "occurred_at"
    ),
    "participation_source_id_key": ConstraintMessage(_SAME_EVENT, "source_id"),
    # directory_erased_accounts
    "directory_erased_accounts_pkey": ConstraintMessage(
        "This account is already known as erased.", "fingerprint"
    ),
    "erased_account_erased_at_range_check": ConstraintMessage(_RANGE, "erased_at"),
    "erased_account_fingerprint_check": ConstraintMessage(
        "A fingerprint has 64 hexadecimal digits.", "fingerprint"
    ),
    "erased_account_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    # directory_archive
    "archive_days_check": ConstraintMessage(
        "The last archived day needs its end, which must not be after closed_before.",
        "archived_before",
    ),
    "archive_one_row_check": ConstraintMessage("The table has one row.", "id"),
    "archive_only_forwards": ConstraintMessage(
        "An archived day stays archived: its events are deleted.", "archived_until"
    ),
    "archive_only_old_days": ConstraintMessage(
        "The events of the last 90 days can't be archived.", "closed_before"
    ),
    "directory_archive_pkey": ConstraintMessage("The table has one row.", "id"),
    # directory_audit_consumers
    "directory_audit_consumers_pkey": ConstraintMessage(
        "There is a consumer with this name already.", "name"
    ),
    "audit_consumer_name_check": ConstraintMessage(
        "The name of a consumer has lower-case letters, digits, dots, dashes and underscores, and "
        "begins with a letter.",
        "name",
    ),
    "audit_consumer_last_id_check": ConstraintMessage(
        "The id of a change can't be negative.", "last_id"
    ),
    # directory_moved_rooms
    "directory_moved_rooms_pkey": ConstraintMessage("This room has moved already.", "room_id"),
    "moved_room_id_check": ConstraintMessage(_ROOM, "room_id"),
    "moved_room_not_itself_check": ConstraintMessage("A room can't move to itself.", "moved_to"),
    "moved_room_platform_check": ConstraintMessage(_PLATFORM, "platform"),
    "moved_room_target_check": ConstraintMessage(_ROOM, "moved_to"),
    "participation_voice_duration_check": ConstraintMessage(
        "The duration of a voice stay must be a number of seconds, at most 2,678,400 (31 days).",
        "event_metadata",
    ),
    # member_daily_highlights
    "highlight_created_at_range_check": ConstraintMessage(_RANGE, "created_at"),
    "highlight_date_range_check": ConstraintMessage(
        "A day must lie between 1999-12-31 and 2200-01-01.", "highlight_date"
    ),
    "highlight_member_date_idx": ConstraintMessage(
        "This member already has a highlight of that day.", "highlight_date"
    ),
    "highlight_message_count_check": ConstraintMessage(_NEGATIVE, "message_count"),
    "highlight_reaction_count_check": ConstraintMessage(_NEGATIVE, "reaction_count"),
    "highlight_reputation_earned_check": ConstraintMessage(_NEGATIVE, "reputation_earned"),
    "highlight_voice_minutes_check": ConstraintMessage(_NEGATIVE, "voice_minutes"),
    "member_daily_highlights_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "member_daily_highlights_pkey": ConstraintMessage("This highlight already exists.", "id"),
    # member_monthly_highlights, member_daily_rooms, member_monthly_rooms, member_rooms,
    # member_milestones, directory_hourly_counts
    "daily_room_pkey": ConstraintMessage(_SAME_COUNT, "room_id"),
    "hourly_count_pkey": ConstraintMessage(_SAME_COUNT, "event_type"),
    "member_room_pkey": ConstraintMessage(_SAME_COUNT, "room_id"),
    "milestone_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "milestone_pkey": ConstraintMessage("This member already has milestones.", "member_id"),
    "monthly_highlight_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "monthly_highlight_pkey": ConstraintMessage(_SAME_COUNT, "month"),
    "monthly_room_pkey": ConstraintMessage(_SAME_COUNT, "room_id"),
    # member_relationships
    "member_relationships_pkey": ConstraintMessage(_SAME_RELATIONSHIP, "id"),
    "relationship_content_check": ConstraintMessage(_OBJECT, "content"),
    "relationship_content_readable_check": ConstraintMessage(_UNREADABLE, "content"),
    "relationship_created_at_range_check": ConstraintMessage(_RANGE, "created_at"),
    "relationship_entities_check": ConstraintMessage(
        "An entity can't have a relationship with itself.", "entity_id_b"
    ),
    "relationship_entity_a_check": ConstraintMessage(_ENTITY, "entity_id_a"),
    "relationship_entity_a_idx": ConstraintMessage(_SAME_RELATIONSHIP, "relationship_type"),
    "relationship_entity_b_check": ConstraintMessage(_ENTITY, "entity_id_b"),
    "relationship_type_check": ConstraintMessage(
        "A type must be an upper-case name such as MENTORED.", "relationship_type"
    ),
    # directory_bots
    "bot_created_at_range_check": ConstraintMessage(_RANGE, "created_at"),
    "bot_name_check": ConstraintMessage("The name can't be blank.", "name"),
    "bot_telegram_id_check": ConstraintMessage(_TELEGRAM_ID, "telegram_id"),
    "bot_telegram_id_idx": ConstraintMessage("This account is already known.", "telegram_id"),
    "directory_bots_pkey": ConstraintMessage("This bot is already known.", "id"),
    # member_accounts
    "member_account_details_check": ConstraintMessage(_OBJECT, "details"),
    "member_account_details_readable_check": ConstraintMessage(_UNREADABLE, "details"),
    "member_account_id_check": ConstraintMessage(
        "The id of an account must be spelled as its platform spells it.", "account_id"
    ),
    "member_account_idx": ConstraintMessage(
        "This account belongs to another member.", "account_id"
    ),
    "member_account_of_erased": ConstraintMessage(
        "This member was erased, and can have no account.", "member_id"
    ),
    "member_account_in_column": ConstraintMessage(
        "The member's own fields name this account: change those first.", "account_id"
    ),
    "member_account_linked_at_range_check": ConstraintMessage(_RANGE, "linked_at"),
    "member_account_platform_check": ConstraintMessage(_PLATFORM, "platform"),
    "member_account_proof_check": ConstraintMessage("There is no such proof.", "proof"),
    "member_account_proved_at_check": ConstraintMessage(
        "Fill in the time of the proof, unless the account is only stated.", "proved_at"
    ),
    "member_account_proved_at_range_check": ConstraintMessage(_RANGE, "proved_at"),
    "member_account_username_check": ConstraintMessage(
        "A username can't be empty or contain spaces.", "username"
    ),
    "member_accounts_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "member_accounts_pkey": ConstraintMessage("This account is already linked.", "id"),
    # member_notes
    "member_note_text_check": ConstraintMessage("A note can't be blank.", "text"),
    "member_note_written_at_range_check": ConstraintMessage(_RANGE, "written_at"),
    "member_notes_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "member_notes_pkey": ConstraintMessage("This note already exists.", "id"),
    # member_requests
    "member_request_asked_at_range_check": ConstraintMessage(_RANGE, "asked_at"),
    "member_request_idx": ConstraintMessage("The member has asked for this already.", "kind"),
    "member_request_kind_check": ConstraintMessage("There is no such kind of request.", "kind"),
    "member_requests_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "member_requests_pkey": ConstraintMessage("This request already exists.", "id"),
    # directory_segments
    "directory_segments_pkey": ConstraintMessage("This segment already exists.", "id"),
    "segment_created_at_range_check": ConstraintMessage(_RANGE, "created_at"),
    "segment_filters_check": ConstraintMessage(
        "The filters must be a JSON object of texts.", "filters"
    ),
    "segment_name_idx": ConstraintMessage("Another segment has this name.", "name"),
    "segment_name_one_line_check": ConstraintMessage(_ONE_LINE, "name"),
    "segment_name_visible_check": ConstraintMessage("The name can't be blank.", "name"),
    # directory_bot_chats, directory_bot_notices
    "bot_chat_account_fkey": ConstraintMessage("No member has this account.", "account_id"),
    "bot_chat_language_check": ConstraintMessage(
        "A language is a tag such as es or pt-br.", "language_code"
    ),
    "bot_chat_platform_check": ConstraintMessage("The bot has chats on Telegram.", "platform"),
    "bot_notice_manager_id_fkey": ConstraintMessage(_NO_MEMBER, "manager_id"),
    "bot_notice_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "bot_notice_message_id_check": ConstraintMessage(
        "This is no id of a message on Telegram.", "message_id"
    ),
    "bot_notice_sent_at_range_check": ConstraintMessage(_RANGE, "sent_at"),
    "directory_bot_chats_pkey": ConstraintMessage("This chat is already known.", "account_id"),
    "directory_bot_notices_pkey": ConstraintMessage(
        "This manager has a message about the member already.", "member_id"
    ),
    # member_permissions
    "member_permission_check": ConstraintMessage("There is no such permission.", "permission"),
    "member_permission_granted_at_range_check": ConstraintMessage(_RANGE, "granted_at"),
    "member_permission_holder": ConstraintMessage(
        "Only an active member can hold a permission.", "member_id"
    ),
    "member_permission_idx": ConstraintMessage(
        "The member holds this permission already.", "permission"
    ),
    "member_permissions_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "member_permissions_pkey": ConstraintMessage("This permission already exists.", "id"),
    "member_merged_flat": ConstraintMessage(
        "One of the two was merged before: merge into the member who has everything.",
        "merged_into",
    ),
    # directory_merges, directory_merged_rows
    "directory_merged_rows_merge_id_fkey": ConstraintMessage("There is no such merge.", "merge_id"),
    "directory_merged_rows_pkey": ConstraintMessage("This row is already stored.", "row_id"),
    "directory_merges_duplicate_id_fkey": ConstraintMessage(_NO_MEMBER, "duplicate_id"),
    "directory_merges_into_id_fkey": ConstraintMessage(_NO_MEMBER, "into_id"),
    "directory_merges_pkey": ConstraintMessage("This merge is already stored.", "id"),
    "merge_before_check": ConstraintMessage(_OBJECT, "before"),
    "merge_before_readable_check": ConstraintMessage(_UNREADABLE, "before"),
    "merge_members_check": ConstraintMessage("A member can't be merged into itself.", "into_id"),
    "merge_merged_at_range_check": ConstraintMessage(_RANGE, "merged_at"),
    "merge_standing_idx": ConstraintMessage(
        "This member is already merged into another one.", "duplicate_id"
    ),
    "merge_undone_at_range_check": ConstraintMessage(_RANGE, "undone_at"),
    # directory_dismissed_merges
    "directory_dismissed_merges_pkey": ConstraintMessage("This pair is already stored.", "id"),
    "dismissed_merge_dismissed_at_range_check": ConstraintMessage(_RANGE, "dismissed_at"),
    "dismissed_merge_idx": ConstraintMessage("This suggestion was dismissed before.", "member_b"),
    "dismissed_merge_member_a_fkey": ConstraintMessage(_NO_MEMBER, "member_a"),
    "dismissed_merge_member_b_fkey": ConstraintMessage(_NO_MEMBER, "member_b"),
    "dismissed_merge_order_check": ConstraintMessage(
        "The lower of the two numbers comes first.", "member_a"
    ),
    # directory_link_codes, directory_link_tries, directory_proved_pairs
    "directory_link_codes_member_id_fkey": ConstraintMessage(_NO_MEMBER, "member_id"),
    "directory_link_codes_pkey": ConstraintMessage(
        "This member already has a code: replace it.", "member_id"
    ),
    "directory_link_tries_pkey": ConstraintMessage(
        "The tries of this account are counted already.", "account_id"
    ),
    "directory_proved_pairs_member_a_fkey": ConstraintMessage(_NO_MEMBER, "member_a"),
    "directory_proved_pairs_member_b_fkey": ConstraintMessage(_NO_MEMBER, "member_b"),
    "directory_proved_pairs_pkey": ConstraintMessage("This pair is already stored.", "member_b"),
    "link_code_hash_idx": ConstraintMessage("This code is taken: choose another one.", "code_hash"),
    "link_tries_wrong_check": ConstraintMessage(
        "The number of wrong tries must be positive.", "wrong"
    ),
    "proved_pair_order_check": ConstraintMessage(
        "A pair has two members, the smaller number (as a text) first.", "member_b"
    ),
    # directory_bot_states
    "bot_state_data_check": ConstraintMessage(_OBJECT, "data"),
    "bot_state_size_check": ConstraintMessage(
        "This conversation is too long: send /cancel and start again.", "data"
    ),
    "bot_state_telegram_id_check": ConstraintMessage(_TELEGRAM_ID, "telegram_id"),
    "directory_bot_states_pkey": ConstraintMessage(
        "This conversation is already stored.", "conversation"
    ),
    # directory_audit_log
    "audit_action_check": ConstraintMessage(
        "An action must be INSERT, UPDATE or DELETE.", "action"
    ),
    "audit_changed_at_range_check": ConstraintMessage(_RANGE, "changed_at"),
    "audit_changes_check": ConstraintMessage(_OBJECT, "changes"),
    "audit_log_append_only": ConstraintMessage(
        "Entries of the audit log can't be changed or deleted."
    ),
    "directory_audit_log_pkey": ConstraintMessage("This entry already exists.", "id"),
    # piccolo_user, the users of the panel
    "panel_session_own_password": ConstraintMessage(
        "Somebody else set this user's password: choose a new one first.", "user_id"
    ),
    "panel_user_last_superuser": ConstraintMessage(
        "This is the last superuser: make somebody else a superuser first.", "superuser"
    ),
    "panel_user_own_access": ConstraintMessage(
        "You can't take away your own access: ask another superuser to do it.", "active"
    ),
    "piccolo_user_email_key": ConstraintMessage(
        "This e-mail address belongs to another user.", "email"
    ),
    "piccolo_user_username_key": ConstraintMessage(
        "This username is taken: choose another one.", "username"
    ),
}
"""The message of each constraint, and of each rule that a trigger enforces, by its name."""
