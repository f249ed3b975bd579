"""Entries of the audit log as sentences in words, for Home, a person's page and the Log.

All changes of one transaction, and so of one act, are one line: "Ana approved Yerlan and 3 more".
A change that another one brings about, such as the account of a new member, is told by that one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from markupsafe import Markup

from community_directory.queries.audit import Change, ChangeKind
from community_directory.tables import AuditAction, InvitationStatus, RequestKind
from community_directory.web.pages import Visit, clean_name
from community_directory.web.workspace import story_texts as texts
from community_directory.web.workspace.story_names import Names
from community_directory.web.workspace.story_texts import (
    CHANGED_THINGS,
    CONSEQUENCES,
    EVENTS,
    KIND_RANKS,
    PROGRAMS,
    SENTENCES,
    SHOWN_FIELDS,
    STATE_CLASSES,
    Sentence,
)

__all__ = ["StoryLine", "tell"]

Counts = Mapping[tuple[datetime, ChangeKind], int]


@dataclass(frozen=True, slots=True)
class StoryLine:
    """A line of a story.

    Attributes:
        moment: The time, aware and in UTC.
        state_class: The CSS class of the dot before the line, or nothing.
        text: The sentence, with links to the people.
        detail: What there is to add, such as the reason.
        link: The path and query of the Log with everything that was changed.
        entries: The entries that the line tells, newest first.
    """

    moment: datetime
    state_class: str
    text: Markup
    detail: str | None
    link: str
    entries: tuple[Change, ...]


class Group(NamedTuple):
    """The changes of one line, newest first.

    Attributes:
        kind: The kind of the changes that the line names.
        entries: The changes of this kind.
        consequences: The other ones.
        number: The number of the people, or of the invitations.
    """

    kind: ChangeKind
    entries: list[Change]
    consequences: list[Change]
    number: int


async def tell(
    visit: Visit,
    entries: Sequence[Change],
    *,
    about: str | None = None,
    counts: Counts | None = None,
    one_by_one: bool = False,
) -> list[StoryLine]:
    """Return entries of the audit log as lines in words, in the order of the entries.

    Args:
        visit: The request to the page, whose language and links the lines have.
        entries: The entries, newest first, those of one transaction after each other.
        about: The number of the member whose page shows the lines, who is then not named.
        counts: The numbers of entries by time and kind, where `entries` has a part of them.
        one_by_one: Whether each entry is a line.
    """
    if one_by_one:
        groups = [Group(entry.kind, [entry], [], 1) for entry in entries]
    else:
        groups = group_changes(entries, counts or {})
    if about is not None:
        # Their invitations are told once, when they are sent, with what became of them.
        told = (ChangeKind.INVITATION_REDEEMED, ChangeKind.INVITATION_EXPIRED)
        groups = [group for group in groups if group.kind not in told]
    names = await Names.find(visit, [entry for group in groups for entry in group.entries])
    teller = Teller(visit, names, about)
    return [teller.tell(group) for group in groups]


def group_changes(entries: Sequence[Change], counts: Counts) -> list[Group]:
    """Return changes as groups, each of which is a line."""
    groups: list[Group] = []
    for _, transaction in groupby(entries, lambda entry: (entry.changed_at, entry.actor)):
        for group in _group_transaction(list(transaction), counts):
            last = groups[-1] if groups else None
            if last is None or not _continues(last, group):
                groups.append(group)
                continue
            groups[-1] = Group(
                group.kind,
                last.entries + group.entries,
                last.consequences + group.consequences,
                last.number + group.number,
            )
    return groups


def _continues(last: Group, group: Group) -> bool:
    """Tell whether a program worked through one list in several transactions."""
    actor = group.entries[0].actor
    return actor in PROGRAMS and (last.kind, last.entries[0].actor) == (group.kind, actor)


def _group_transaction(entries: list[Change], counts: Counts) -> list[Group]:
    kinds: dict[ChangeKind, list[Change]] = {}
    for entry in entries:
        kinds.setdefault(entry.kind, []).append(entry)
    groups = []
    for kind in sorted(kinds, key=KIND_RANKS.__getitem__):
        if kind not in kinds:  # another kind has brought it about
            continue
        found = kinds[kind]
        brought = [other for other in CONSEQUENCES.get(kind, ()) if other in kinds]
        consequences = [entry for other in brought if other != kind for entry in kinds.pop(other)]
        different = {entry.invitation_id or entry.member_id for entry in found}
        number = max(len(different), counts.get((found[0].changed_at, kind), 0))
        groups.append(Group(kind, found, consequences, number))
    return groups


class Teller:
    """Writes the lines of a story, with the names at hand."""

    def __init__(self, visit: Visit, names: Names, about: str | None) -> None:
        self._visit = visit
        self._names = names
        self._about = about

    def tell(self, group: Group) -> StoryLine:
        """Return the line of a group."""
        entry = group.entries[0]
        text = detail = None
        if len(group.entries) == group.number == 1 and group.kind in WRITERS:
            text, detail = WRITERS[group.kind](self, entry)
        if text is None:
            text, detail = self._tell_several(group)
        return StoryLine(
            moment=entry.changed_at,
            state_class=STATE_CLASSES.get(group.kind, ""),
            text=text,
            detail=detail or _quote(entry.reason),
            link=f"/log/?act={entry.act_id}" if entry.act_id else f"/log/?entry={entry.id}",
            entries=(*group.entries, *group.consequences),
        )

    def _say(self, sentence: Sentence, entry: Change, **values: object) -> Markup:
        """Return a sentence: that for the page of the person, or the one that names them."""
        return self._visit.rich(
            sentence.about if self._about == entry.member_id else sentence.text,
            actor=self._names.show_actor(entry.actor),
            person=self._names.show_member(entry.member_id),
            **values,
        )

    def _say_own(self, sentence: Sentence, entry: Change, **values: object) -> Markup:
        """Return a sentence, which names the person once if they changed what is theirs."""
        if self._names.is_own(entry):
            sentence = Sentence(sentence.about, sentence.about)
        return self._say(sentence, entry, **values)

    # Several people, or one of whom there is nothing more to tell.

    def _tell_several(self, group: Group) -> tuple[Markup, str | None]:
        entry = group.entries[0]
        if entry.invitation_id:
            return self._tell_invitations(group)
        people = self._names.show_people(entry.member_id, group.number - 1)
        if group.kind in EVENTS and (group.kind not in SENTENCES or self._is_event(entry)):
            return self._say(EVENTS[group.kind], entry, people=people), None
        sentence = SENTENCES.get(group.kind, SENTENCES[ChangeKind.OTHER])
        things = self._names.show_things(_find_things(entry))
        return self._say_own(sentence, entry, people=people, things=things), None

    def _is_event(self, entry: Change) -> bool:
        """Tell whether somebody left by themselves, or was brought back by the clock."""
        if entry.kind is ChangeKind.MEMBER_REMOVED:
            return self._names.is_own(entry)
        return entry.actor in PROGRAMS

    def _tell_invitations(self, group: Group) -> tuple[Markup, str | None]:
        kind = group.kind if group.kind in texts.INVITATION_SENTENCES else ChangeKind.OTHER
        one, many = texts.INVITATION_SENTENCES[kind]
        text = self._visit.nrich(
            one,
            many,
            group.number,
            actor=self._names.show_actor(group.entries[0].actor),
            number=group.number,
        )
        accepted = sum(
            self._names.find_invitation(entry).get("status") == InvitationStatus.ACCEPTED
            for entry in group.entries
        )
        if group.kind is not ChangeKind.INVITATION_CREATED or not accepted:
            return text, None
        return text, self._visit.ngettext(
            "{number} of them is accepted",
            "{number} of them are accepted",
            accepted,
            number=accepted,
        )

    # One change: what there is to tell of it beyond who did it to whom.

    def _tell_joined(self, entry: Change) -> tuple[Markup | None, None]:
        inviter = _after(entry, "invited_by") or self._names.find_inviter(entry.member_id)
        if inviter is None:
            return None, None
        shown = self._names.show_member(inviter)
        return self._say(texts.JOINED_BY_INVITATION, entry, inviter=shown), None

    def _tell_suspended(self, entry: Change) -> tuple[Markup | None, None]:
        until = _after(entry, "suspended_until")
        if until is None:
            return None, None
        day = self._visit.translation.format_short_date(datetime.fromisoformat(until))
        return self._say(texts.UNTIL_SENTENCES[entry.kind], entry, day=day), None

    def _tell_reinstated(self, entry: Change) -> tuple[Markup | None, str | None]:
        if entry.actor not in PROGRAMS:
            return None, None
        detail = self._visit.gettext("It ended on the date that was set")
        people = self._names.show_member(entry.member_id)
        return self._say(EVENTS[entry.kind], entry, people=people), detail

    def _tell_merged(self, entry: Change) -> tuple[Markup | None, None]:
        other = _either(entry, "merged_into")
        if other is None:
            return None, None
        shown = self._names.show_member(other)
        return self._say(texts.MERGE_SENTENCES[entry.kind], entry, other=shown), None

    def _tell_tier(self, entry: Change) -> tuple[Markup | None, None]:
        tier, points = _after(entry, "reputation_tier"), _after(entry, "reputation_score")
        if _is_proof(entry):
            return self._tell_proof(entry)
        if tier is None:
            return None, None
        sentence = texts.TIER_SENTENCES[entry.kind, points is not None]
        shown = self._visit.translation.word(tier)
        return self._say(sentence, entry, tier=shown, points=points), None

    def _tell_proof(self, entry: Change) -> tuple[Markup, None]:
        account = _after(entry, "github_username")
        if account is None:
            return self._say(texts.PROVED, entry), None
        return self._say(texts.PROVED_ACCOUNT, entry, account=self._names.show_value(account)), None

    def _tell_profile(self, entry: Change) -> tuple[Markup | None, None]:
        if _is_proof(entry):
            return self._tell_proof(entry)
        field, *others = _find_things(entry)
        before, after = entry.changes.get(field, (None, None))
        sentence = texts.FIELD_SENTENCES.get((before is not None, after is not None))
        if others or field not in SHOWN_FIELDS or sentence is None:
            sentence = texts.CHANGED_THINGS_OF_ONE
        return self._say_own(
            sentence,
            entry,
            things=self._names.show_things([field, *others]),
            before=self._names.show_value(before, field),
            after=self._names.show_value(after, field),
        ), None

    def _tell_account(self, entry: Change) -> tuple[Markup | None, None]:
        platform = _either(entry, "platform")
        account = _either(entry, "username") or _either(entry, "account_id")
        if platform is None or account is None:
            return None, None
        shown = self._names.show_value(f"{platform.capitalize()} {account}")
        return self._say_own(texts.ACCOUNT_SENTENCES[entry.kind], entry, account=shown), None

    def _tell_permission(self, entry: Change) -> tuple[Markup | None, None]:
        word = self._visit.translation.word(_either(entry, "permission"))
        return self._say(texts.PERMISSION_SENTENCES[entry.kind], entry, permission=word), None

    def _tell_note(self, entry: Change) -> tuple[Markup | None, str | None]:
        people = self._names.show_member(entry.member_id)
        sentence = self._say(SENTENCES[entry.kind], entry, people=people)
        is_shown = self._about == entry.member_id
        return sentence, _quote(_after(entry, "text")) if is_shown else None

    def _tell_other(self, entry: Change) -> tuple[Markup | None, None]:
        if entry.table_name == "member_requests":
            return self._tell_request(entry)
        if entry.table_name == "directory_dismissed_merges":
            return self._tell_dismissal(entry)
        if (is_bot := _after(entry, "is_bot")) is not None:
            return self._say(texts.BOT_SENTENCES[is_bot], entry), None
        if inviter := _after(entry, "invited_by"):
            shown = self._names.show_member(inviter)
            return self._say(texts.MOVED, entry, inviter=shown), None
        return None, None

    def _tell_request(self, entry: Change) -> tuple[Markup, None]:
        if entry.action is AuditAction.DELETE:
            return self._say(texts.REQUEST_SETTLED, entry), None
        return self._say(texts.REQUEST_SENTENCES[RequestKind(_after(entry, "kind"))], entry), None

    def _tell_dismissal(self, entry: Change) -> tuple[Markup, None]:
        numbers = {_either(entry, "member_a"), _either(entry, "member_b")} - {entry.member_id}
        other = self._names.show_member(numbers.pop() or entry.member_id)
        return self._say(texts.TWO_PEOPLE, entry, other=other), None

    def _tell_created(self, entry: Change) -> tuple[Markup, None]:
        found = self._names.find_invitation(entry)
        values: dict[str, object] = {"whom": self._names.show_invited(entry)}
        if self._about != entry.member_id:
            is_own = self._names.is_own(entry)
            return self._say(texts.INVITED if is_own else texts.INVITED_FOR, entry, **values), None
        outcome = found.get("status", InvitationStatus.PENDING)
        if outcome == InvitationStatus.ACCEPTED:
            values["whom"] = self._names.show_member(found["accepted_by"])
            values["duration"] = self._names.show_duration(found["waited"])
        elif outcome == InvitationStatus.EXPIRED:
            values["duration"] = self._names.show_duration(found["open_for"])
        return self._visit.rich(texts.OUTCOMES[InvitationStatus(outcome)], **values), None

    def _tell_invitation(self, entry: Change) -> tuple[Markup, None]:
        whom = self._names.show_invited(entry)
        return self._say(texts.CHANGED_INVITATIONS[entry.kind], entry, whom=whom), None

    def _tell_redeemed(self, entry: Change) -> tuple[Markup | None, None]:
        accepted_by = _after(entry, "accepted_by")
        if accepted_by is None:
            return None, None
        whom = self._names.show_member(accepted_by)
        return self._say(texts.REDEEMED, entry, whom=whom), None


WRITERS: Mapping[ChangeKind, Callable[[Teller, Change], tuple[Markup | None, str | None]]] = {
    ChangeKind.MEMBER_JOINED: Teller._tell_joined,
    ChangeKind.MEMBER_SUSPENDED: Teller._tell_suspended,
    ChangeKind.SUSPENSION_CHANGED: Teller._tell_suspended,
    ChangeKind.MEMBER_REINSTATED: Teller._tell_reinstated,
    ChangeKind.MEMBER_MERGED: Teller._tell_merged,
    ChangeKind.MEMBER_UNMERGED: Teller._tell_merged,
    ChangeKind.TIER_REACHED: Teller._tell_tier,
    ChangeKind.TIER_LOST: Teller._tell_tier,
    ChangeKind.PROFILE_CHANGED: Teller._tell_profile,
    ChangeKind.ACCOUNT_LINKED: Teller._tell_account,
    ChangeKind.ACCOUNT_UNLINKED: Teller._tell_account,
    ChangeKind.PERMISSION_GRANTED: Teller._tell_permission,
    ChangeKind.PERMISSION_REVOKED: Teller._tell_permission,
    ChangeKind.NOTE_ADDED: Teller._tell_note,
    ChangeKind.NOTE_REMOVED: Teller._tell_note,
    ChangeKind.INVITATION_CREATED: Teller._tell_created,
    ChangeKind.INVITATION_EXTENDED: Teller._tell_invitation,
    ChangeKind.INVITATION_CANCELLED: Teller._tell_invitation,
    ChangeKind.INVITATION_EXPIRED: Teller._tell_invitation,
    ChangeKind.INVITATION_REDEEMED: Teller._tell_redeemed,
    ChangeKind.OTHER: Teller._tell_other,
}
"""What tells a single change; where it returns no text, the sentence of the kind does."""


def _after(entry: Change, field: str) -> Any:
    """Return the new value of a field; None if it was emptied, erased or not changed."""
    return entry.changes.get(field, (None, None))[1]


def _either(entry: Change, field: str) -> Any:
    """Return the new value of a field, or the old one of a row that was deleted."""
    before, after = entry.changes.get(field, (None, None))
    return before if after is None else after


def _is_proof(entry: Change) -> bool:
    return entry.changes.get("github_verified") == [False, True]


def _find_things(entry: Change) -> list[str]:
    """Return the changed fields that have a name in a sentence; at least one."""
    if entry.table_name == "member_accounts":
        return ["account"]
    fields = [field for field in CHANGED_THINGS if field in entry.changes]
    return fields or ["entry"]


def _quote(text: str | None) -> str | None:
    return f"“{clean_name(text)}”" if text else None
