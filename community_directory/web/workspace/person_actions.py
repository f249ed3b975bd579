"""What a manager can do to a person: which actions are possible now, and their texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from community_directory.error_texts import gettext_noop
from community_directory.queries.acts import ActKind
from community_directory.web.workspace.person_rows import Person

RESTORE = "restore"
CHANGE_END = "end"
"""Gives a suspension another end."""

OPTIONAL_REASON = gettext_noop("Reason, for the log (optional)")


@dataclass(frozen=True, slots=True)
class PersonAction:
    """A button in the head of the page, and the dialog that it opens.

    The texts are English, and have the name of the person as `{name}`.

    Attributes:
        name: The kind of the act, "restore", or "end".
        states: The states in which a person must be.
        label: The text of the button.
        heading: The question of the dialog.
        effect: What happens then.
        done: The notice afterwards.
        reasons: Reasons to choose from. With some, a reason is required.
        has_end: Whether the dialog asks for a day on which the action ends.
        is_dangerous: Whether it takes something from the person.
    """

    name: str
    states: frozenset[str]
    label: str
    heading: str
    effect: str
    done: str
    reasons: tuple[str, ...] = ()
    has_end: bool = False
    is_dangerous: bool = False


ACTIONS = (
    PersonAction(
        ActKind.APPROVE,
        frozenset({"pending"}),
        gettext_noop("Approve"),
        gettext_noop("Approve {name}?"),
        gettext_noop("They become an active member. It can be undone for ten minutes."),
        gettext_noop("{name} is an active member now."),
    ),
    PersonAction(
        ActKind.DECLINE,
        frozenset({"pending"}),
        gettext_noop("Decline"),
        gettext_noop("Decline {name}?"),
        gettext_noop(
            "They become a contact again, who can be invited later. "
            "It can be undone for ten minutes."
        ),
        gettext_noop("{name} was declined, and is a contact again."),
        reasons=(
            gettext_noop("Nobody here knows them"),
            gettext_noop("Looks like spam"),
            gettext_noop("Asked for it"),
        ),
        is_dangerous=True,
    ),
    PersonAction(
        ActKind.REINSTATE,
        frozenset({"suspended", "banned"}),
        gettext_noop("Reinstate"),
        gettext_noop("Reinstate {name}?"),
        gettext_noop("They become an active member again."),
        gettext_noop("{name} is an active member again."),
    ),
    PersonAction(
        ActKind.SUSPEND,
        frozenset({"active"}),
        gettext_noop("Suspend"),
        gettext_noop("Suspend {name}?"),
        gettext_noop(
            "They keep their place in the tree, and come back on the day that you choose. "
            "Their invitations can't be used until then."
        ),
        gettext_noop("{name} is suspended now."),
        reasons=(
            gettext_noop("Asked for a pause"),
            gettext_noop("Broke the rules"),
            gettext_noop("The account was taken over"),
        ),
        has_end=True,
    ),
    PersonAction(
        CHANGE_END,
        frozenset({"suspended"}),
        gettext_noop("Change the end"),
        gettext_noop("When does the suspension of {name} end?"),
        gettext_noop("They come back on the day that you choose; without a day, by hand."),
        gettext_noop("The end of the suspension of {name} is changed."),
        has_end=True,
    ),
    PersonAction(
        ActKind.BAN,
        frozenset({"not_member", "pending", "active", "suspended", "removed"}),
        gettext_noop("Ban"),
        gettext_noop("Ban {name}?"),
        gettext_noop(
            "They can't join again, with any of their accounts. "
            "Their invitations can't be used any more."
        ),
        gettext_noop("{name} is banned now."),
        reasons=(
            gettext_noop("Spam"),
            gettext_noop("Harassment"),
            gettext_noop("Broke the rules again"),
        ),
        is_dangerous=True,
    ),
    PersonAction(
        ActKind.REMOVE,
        frozenset({"not_member", "pending", "active", "suspended", "banned"}),
        gettext_noop("Remove"),
        gettext_noop("Remove {name}?"),
        gettext_noop("They leave every list. Nothing is deleted, and they can be restored."),
        gettext_noop("{name} was removed."),
        reasons=(
            gettext_noop("Asked for it"),
            gettext_noop("Left the community"),
            gettext_noop("The account does not exist any more"),
        ),
        is_dangerous=True,
    ),
    PersonAction(
        RESTORE,
        frozenset({"removed"}),
        gettext_noop("Restore"),
        gettext_noop("Restore {name}?"),
        gettext_noop("They come back to the lists with the status and the data that they had."),
        gettext_noop("{name} is back."),
    ),
)
"""The actions in the order of their buttons."""


def find_actions(person: Person) -> Sequence[PersonAction]:
    """Return the actions that are possible for a person now."""
    return [action for action in ACTIONS if is_possible(action, person)]


def is_possible(action: PersonAction, person: Person) -> bool:
    """Tell whether an action is possible for a person now."""
    if action.name == ActKind.BAN and person.member.status == "banned":
        return False  # a removed member who is banned
    if action.name == ActKind.APPROVE and person.member.is_bot:
        return False
    return person.state in action.states
