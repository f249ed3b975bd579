"""The sentences of a story by the kinds of changes, and what they are made of."""

from collections.abc import Mapping
from typing import NamedTuple

from community_directory.error_texts import gettext_noop, ngettext_noop
from community_directory.queries.audit import ChangeKind
from community_directory.tables import InvitationStatus, RequestKind

PROGRAMS = {
    "bot:telegram": gettext_noop("The Telegram bot"),
    "clock": gettext_noop("The clock"),
    "demo": gettext_noop("The demo"),
    "discord": gettext_noop("Discord"),
    "doctor": gettext_noop("The doctor"),
    "elizaos": gettext_noop("ElizaOS"),
    "erased": gettext_noop("An erased person"),
    "expiry": gettext_noop("The clock"),
    "import": gettext_noop("The import"),
    "roll-up": gettext_noop("The roll-up"),
    "telegram": gettext_noop("Telegram"),
}
"""The actors that are no people, as they are called."""
COMMAND_PREFIX, LOGIN_PREFIX = "command:", "db:"

ACCOUNT_KINDS = (ChangeKind.ACCOUNT_LINKED, ChangeKind.ACCOUNT_UNLINKED)
TIER_KINDS = (ChangeKind.TIER_REACHED, ChangeKind.TIER_LOST)
LOST_WITH_STATUS = (
    ChangeKind.PERMISSION_REVOKED,
    ChangeKind.INVITATION_CANCELLED,
    ChangeKind.OTHER,
)
CONSEQUENCES: Mapping[ChangeKind, tuple[ChangeKind, ...]] = {
    ChangeKind.MEMBER_ERASED: tuple(ChangeKind),
    ChangeKind.MEMBER_MERGED: tuple(ChangeKind),
    ChangeKind.MEMBER_UNMERGED: tuple(ChangeKind),
    ChangeKind.MEMBER_JOINED: (
        ChangeKind.INVITATION_REDEEMED,
        ChangeKind.MEMBER_RESTORED,
        ChangeKind.PROFILE_CHANGED,
        *ACCOUNT_KINDS,
        *TIER_KINDS,
        ChangeKind.OTHER,
    ),
    ChangeKind.MEMBER_ADDED: (*ACCOUNT_KINDS, ChangeKind.OTHER),
    ChangeKind.MEMBER_BANNED: LOST_WITH_STATUS,
    ChangeKind.MEMBER_SUSPENDED: LOST_WITH_STATUS,
    ChangeKind.MEMBER_REMOVED: LOST_WITH_STATUS,
    ChangeKind.MEMBER_RESTORED: (*ACCOUNT_KINDS, ChangeKind.OTHER),
    ChangeKind.TIER_REACHED: (*ACCOUNT_KINDS, ChangeKind.OTHER),
    ChangeKind.PROFILE_CHANGED: (*ACCOUNT_KINDS, ChangeKind.OTHER),
    ChangeKind.INVITATION_CREATED: (
        ChangeKind.INVITATION_CANCELLED,
        ChangeKind.INVITATION_EXPIRED,
    ),
}
"""The kinds of changes that another kind brings about in the same transaction."""
KIND_RANKS = {kind: rank for rank, kind in enumerate({**CONSEQUENCES, **dict.fromkeys(ChangeKind)})}
"""The order of the lines of one transaction: first the kinds that bring others about."""

STATE_CLASSES = {
    ChangeKind.MEMBER_JOINED: "s-pending",
    ChangeKind.MEMBER_APPROVED: "s-active",
    ChangeKind.MEMBER_UNAPPROVED: "s-pending",
    ChangeKind.MEMBER_DECLINED: "s-contact",
    ChangeKind.MEMBER_UNDECLINED: "s-pending",
    ChangeKind.MEMBER_SUSPENDED: "s-suspended",
    ChangeKind.SUSPENSION_CHANGED: "s-suspended",
    ChangeKind.MEMBER_REINSTATED: "s-active",
    ChangeKind.MEMBER_BANNED: "s-banned",
    ChangeKind.MEMBER_UNBANNED: "s-active",
    ChangeKind.MEMBER_REMOVED: "s-removed",
    ChangeKind.MEMBER_ERASED: "s-removed",
    ChangeKind.MEMBER_RESTORED: "s-active",
    ChangeKind.TIER_REACHED: "s-active",
    ChangeKind.INVITATION_CREATED: "o-sent",
    ChangeKind.INVITATION_EXTENDED: "o-sent",
    ChangeKind.INVITATION_REDEEMED: "o-accepted",
    ChangeKind.INVITATION_CANCELLED: "o-cancelled",
    ChangeKind.INVITATION_EXPIRED: "o-expired",
}
"""The classes of the dot before a line; other kinds have a plain dot."""


class Sentence(NamedTuple):
    """A text that names the people, and the one for the page of the person."""

    text: str
    about: str


SENTENCES = {
    ChangeKind.MEMBER_ADDED: Sentence(
        gettext_noop("{actor} added {people}"), gettext_noop("{actor} added them")
    ),
    ChangeKind.MEMBER_APPROVED: Sentence(
        gettext_noop("{actor} approved {people}"), gettext_noop("{actor} approved them")
    ),
    ChangeKind.MEMBER_UNAPPROVED: Sentence(
        gettext_noop("{actor} took back the approval of {people}"),
        gettext_noop("{actor} took back the approval"),
    ),
    ChangeKind.MEMBER_DECLINED: Sentence(
        gettext_noop("{actor} declined {people}"), gettext_noop("{actor} declined them")
    ),
    ChangeKind.MEMBER_UNDECLINED: Sentence(
        gettext_noop("{actor} took back the refusal of {people}"),
        gettext_noop("{actor} took back the refusal"),
    ),
    ChangeKind.MEMBER_SUSPENDED: Sentence(
        gettext_noop("{actor} suspended {people}"), gettext_noop("{actor} suspended them")
    ),
    ChangeKind.SUSPENSION_CHANGED: Sentence(
        gettext_noop("{actor} suspended {people} without an end"),
        gettext_noop("{actor} suspended them without an end"),
    ),
    ChangeKind.MEMBER_REINSTATED: Sentence(
        gettext_noop("{actor} ended the suspension of {people}"),
        gettext_noop("{actor} ended the suspension"),
    ),
    ChangeKind.MEMBER_BANNED: Sentence(
        gettext_noop("{actor} banned {people}"), gettext_noop("{actor} banned them")
    ),
    ChangeKind.MEMBER_UNBANNED: Sentence(
        gettext_noop("{actor} lifted the ban of {people}"), gettext_noop("{actor} lifted the ban")
    ),
    ChangeKind.MEMBER_REMOVED: Sentence(
        gettext_noop("{actor} removed {people}"), gettext_noop("{actor} removed them")
    ),
    ChangeKind.MEMBER_RESTORED: Sentence(
        gettext_noop("{actor} restored {people}"), gettext_noop("{actor} restored them")
    ),
    ChangeKind.MEMBER_ERASED: Sentence(
        gettext_noop("{actor} erased the personal data of {people}"),
        gettext_noop("{actor} erased the personal data"),
    ),
    ChangeKind.MEMBER_MERGED: Sentence(
        gettext_noop("{actor} merged {people} into other members"),
        gettext_noop("{actor} merged {people} into other members"),
    ),
    ChangeKind.MEMBER_UNMERGED: Sentence(
        gettext_noop("{actor} took back the merge of {people}"),
        gettext_noop("{actor} took back the merge of {people}"),
    ),
    ChangeKind.PROFILE_CHANGED: Sentence(
        gettext_noop("{actor} changed the profile of {people}"),
        gettext_noop("{actor} changed the profile"),
    ),
    ChangeKind.ACCOUNT_LINKED: Sentence(
        gettext_noop("{actor} linked accounts to {people}"),
        gettext_noop("{actor} linked accounts"),
    ),
    ChangeKind.ACCOUNT_UNLINKED: Sentence(
        gettext_noop("{actor} unlinked accounts of {people}"),
        gettext_noop("{actor} unlinked accounts"),
    ),
    ChangeKind.PERMISSION_GRANTED: Sentence(
        gettext_noop("{actor} gave permissions to {people}"),
        gettext_noop("{actor} gave them permissions"),
    ),
    ChangeKind.PERMISSION_REVOKED: Sentence(
        gettext_noop("{actor} took permissions from {people}"),
        gettext_noop("{actor} took permissions from them"),
    ),
    ChangeKind.NOTE_ADDED: Sentence(
        gettext_noop("{actor} wrote a note about {people}"), gettext_noop("{actor} wrote a note")
    ),
    ChangeKind.NOTE_REMOVED: Sentence(
        gettext_noop("{actor} removed a note about {people}"),
        gettext_noop("{actor} removed a note"),
    ),
    ChangeKind.OTHER: Sentence(
        gettext_noop("{actor} changed {things} of {people}"),
        gettext_noop("{actor} changed {things}"),
    ),
}
"""The sentences of what somebody does to people."""

EVENTS = {
    ChangeKind.MEMBER_JOINED: Sentence(gettext_noop("{people} joined"), gettext_noop("Joined")),
    ChangeKind.MEMBER_REINSTATED: Sentence(
        gettext_noop("{people} came back from the suspension"),
        gettext_noop("Came back from the suspension"),
    ),
    ChangeKind.MEMBER_REMOVED: Sentence(gettext_noop("{people} left"), gettext_noop("Left")),
    ChangeKind.TIER_REACHED: Sentence(
        gettext_noop("{people} reached a higher tier"), gettext_noop("Reached a higher tier")
    ),
    ChangeKind.TIER_LOST: Sentence(
        gettext_noop("{people} fell to a lower tier"), gettext_noop("Fell to a lower tier")
    ),
}
"""The sentences of what happens to people without anybody else's doing."""

JOINED_BY_INVITATION = Sentence(
    gettext_noop("{person} joined by an invitation of {inviter}"),
    gettext_noop("Joined by an invitation of {inviter}"),
)
UNTIL_SENTENCES = {
    ChangeKind.MEMBER_SUSPENDED: Sentence(
        gettext_noop("{actor} suspended {person} until {day}"),
        gettext_noop("{actor} suspended them until {day}"),
    ),
    ChangeKind.SUSPENSION_CHANGED: Sentence(
        gettext_noop("{actor} set the end of the suspension of {person} to {day}"),
        gettext_noop("{actor} set the end of the suspension to {day}"),
    ),
}
MERGE_SENTENCES = {
    ChangeKind.MEMBER_MERGED: Sentence(
        gettext_noop("{actor} merged {person} into {other}"),
        gettext_noop("{actor} merged {person} into {other}"),
    ),
    ChangeKind.MEMBER_UNMERGED: Sentence(
        gettext_noop("{actor} separated {person} from {other}"),
        gettext_noop("{actor} separated {person} from {other}"),
    ),
}
TIER_SENTENCES = {
    (ChangeKind.TIER_REACHED, True): Sentence(
        gettext_noop("{person} became {tier} with {points} points"),
        gettext_noop("Became {tier} with {points} points"),
    ),
    (ChangeKind.TIER_REACHED, False): Sentence(
        gettext_noop("{person} became {tier}"), gettext_noop("Became {tier}")
    ),
    (ChangeKind.TIER_LOST, True): Sentence(
        gettext_noop("{person} fell to {tier} with {points} points"),
        gettext_noop("Fell to {tier} with {points} points"),
    ),
    (ChangeKind.TIER_LOST, False): Sentence(
        gettext_noop("{person} fell to {tier}"), gettext_noop("Fell to {tier}")
    ),
}
"""The sentences of a tier, by the kind and whether the score is known."""
PROVED = Sentence(
    gettext_noop("{person} proved that the GitHub account is theirs"),
    gettext_noop("Proved that the GitHub account is theirs"),
)
PROVED_ACCOUNT = Sentence(
    gettext_noop("{person} proved that the GitHub account {account} is theirs"),
    gettext_noop("Proved that the GitHub account {account} is theirs"),
)
FIELD_SENTENCES = {
    (True, True): Sentence(
        gettext_noop("{actor} changed {things} of {person} from {before} to {after}"),
        gettext_noop("{actor} changed {things} from {before} to {after}"),
    ),
    (False, True): Sentence(
        gettext_noop("{actor} set {things} of {person} to {after}"),
        gettext_noop("{actor} set {things} to {after}"),
    ),
    (True, False): Sentence(
        gettext_noop("{actor} removed {things} of {person}, {before}"),
        gettext_noop("{actor} removed {things}, {before}"),
    ),
}
"""The sentences of one field, by whether it had a value before and has one after.

An erasure takes both values.
"""
CHANGED_THINGS_OF_ONE = Sentence(
    gettext_noop("{actor} changed {things} of {person}"), gettext_noop("{actor} changed {things}")
)
ACCOUNT_SENTENCES = {
    ChangeKind.ACCOUNT_LINKED: Sentence(
        gettext_noop("{actor} linked the account {account} to {person}"),
        gettext_noop("{actor} linked the account {account}"),
    ),
    ChangeKind.ACCOUNT_UNLINKED: Sentence(
        gettext_noop("{actor} unlinked the account {account} of {person}"),
        gettext_noop("{actor} unlinked the account {account}"),
    ),
}
PERMISSION_SENTENCES = {
    ChangeKind.PERMISSION_GRANTED: Sentence(
        gettext_noop("{actor} gave {person} the permission “{permission}”"),
        gettext_noop("{actor} gave them the permission “{permission}”"),
    ),
    ChangeKind.PERMISSION_REVOKED: Sentence(
        gettext_noop("{actor} took the permission “{permission}” from {person}"),
        gettext_noop("{actor} took the permission “{permission}” from them"),
    ),
}
BOT_SENTENCES = {
    True: Sentence(
        gettext_noop("{actor} marked {person} as a bot"),
        gettext_noop("{actor} marked them as a bot"),
    ),
    False: Sentence(
        gettext_noop("{actor} marked {person} as a person"),
        gettext_noop("{actor} marked them as a person"),
    ),
}
MOVED = Sentence(
    gettext_noop("{actor} moved {person} to the inviter {inviter}"),
    gettext_noop("{actor} moved them to the inviter {inviter}"),
)
TWO_PEOPLE = Sentence(
    gettext_noop("{actor} noted that {person} and {other} are two people"),
    gettext_noop("{actor} noted that {other} is somebody else"),
)
REQUEST_SENTENCES = {
    RequestKind.ERASURE: Sentence(
        gettext_noop("{person} asked for the erasure of their data"),
        gettext_noop("Asked for the erasure of their data"),
    ),
    RequestKind.LINK: Sentence(
        gettext_noop("{person} asked for help with an account"),
        gettext_noop("Asked for help with an account"),
    ),
}
REQUEST_SETTLED = Sentence(
    gettext_noop("{actor} settled the request of {person}"),
    gettext_noop("{actor} settled the request"),
)

INVITED = Sentence(gettext_noop("{actor} invited {whom}"), gettext_noop("{actor} invited {whom}"))
INVITED_FOR = Sentence(
    gettext_noop("{actor} invited {whom} in the name of {person}"),
    gettext_noop("{actor} invited {whom} in their name"),
)
OUTCOMES = {
    InvitationStatus.PENDING: gettext_noop("Invited {whom}"),
    InvitationStatus.ACCEPTED: gettext_noop("Invited {whom}, who accepted after {duration}"),
    InvitationStatus.EXPIRED: gettext_noop("Invited {whom}, who didn’t answer in {duration}"),
    InvitationStatus.CANCELLED: gettext_noop("Invited {whom}; the invitation was cancelled"),
}
"""The sentences of an invitation on the page of the inviter, by what became of it."""
REDEEMED = Sentence(
    gettext_noop("{whom} accepted the invitation of {person}"),
    gettext_noop("{whom} accepted the invitation"),
)
CHANGED_INVITATIONS = {
    ChangeKind.INVITATION_EXTENDED: Sentence(
        gettext_noop("{actor} extended the invitation for {whom}"),
        gettext_noop("{actor} extended the invitation for {whom}"),
    ),
    ChangeKind.INVITATION_CANCELLED: Sentence(
        gettext_noop("{actor} cancelled the invitation for {whom}"),
        gettext_noop("{actor} cancelled the invitation for {whom}"),
    ),
    ChangeKind.INVITATION_EXPIRED: Sentence(
        gettext_noop("The invitation for {whom} expired"),
        gettext_noop("The invitation for {whom} expired"),
    ),
}
INVITATION_SENTENCES = {
    ChangeKind.INVITATION_CREATED: ngettext_noop(
        "{actor} sent {number} invitation", "{actor} sent {number} invitations"
    ),
    ChangeKind.INVITATION_EXTENDED: ngettext_noop(
        "{actor} extended {number} invitation", "{actor} extended {number} invitations"
    ),
    ChangeKind.INVITATION_CANCELLED: ngettext_noop(
        "{actor} cancelled {number} invitation", "{actor} cancelled {number} invitations"
    ),
    ChangeKind.INVITATION_EXPIRED: ngettext_noop(
        "{number} invitation expired", "{number} invitations expired"
    ),
    ChangeKind.INVITATION_REDEEMED: ngettext_noop(
        "{number} invitation was accepted", "{number} invitations were accepted"
    ),
    ChangeKind.OTHER: ngettext_noop(
        "{actor} changed {number} invitation", "{actor} changed {number} invitations"
    ),
}
"""The sentences of several invitations."""

SHOWN_FIELDS = frozenset(
    {"name", "primary_role", "organization", "country", "telegram_username", "github_username"}
)
"""The fields whose old and new values are in a sentence."""
CHANGED_THINGS = {
    "name": gettext_noop("the name"),
    "primary_role": gettext_noop("the role"),
    "organization": gettext_noop("the organization"),
    "country": gettext_noop("the country"),
    "telegram_username": gettext_noop("the Telegram username"),
    "github_username": gettext_noop("the GitHub username"),
    "telegram_id": gettext_noop("the Telegram id"),
    "github_verified": gettext_noop("the proof of the GitHub account"),
    "github_profile_data": gettext_noop("the data from GitHub"),
    "profile_data": gettext_noop("the other data"),
    "invited_by": gettext_noop("the inviter"),
    "registration_fee_paid": gettext_noop("the registration fee"),
    "registration_fee_tx_hash": gettext_noop("the registration fee"),
    "reputation_score": gettext_noop("the score"),
    "account": gettext_noop("an account"),
    "entry": gettext_noop("the entry"),
}
"""What was changed, by the field, with its article."""
