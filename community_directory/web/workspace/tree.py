"""The tree of who invited whom, and acts on everybody below a member."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from community_directory.error_texts import gettext_noop, ngettext_noop
from community_directory.errors import AmbiguousMember, InvalidInput, MemberNotFound
from community_directory.queries import branches, invitations, members
from community_directory.queries.acts import Act, ActKind, ActPreview
from community_directory.queries.branches import BRANCH_KINDS
from community_directory.queries.members import Member
from community_directory.queries.values import (
    check_text,
    parse_choice,
)
from community_directory.tables import MemberStatus
from community_directory.web.pages import PageContent, Pages, Role, Visit
from community_directory.web.typed_members import find_member, find_members
from community_directory.web.workspace.act_forms import (
    BAN_TEXTS,
    MAX_WITHOUT_COUNT,
    SUSPEND_TEXTS,
    check_count,
    freeze,
    needs_count,
    read_end,
    read_frozen,
)
from community_directory.web.workspace.person_forms import path_number
from community_directory.web.workspace.tree_rows import Drawing, Node, draw, list_inviters

PATH = "/tree/"
SHOWN_NAMES = 8
"""The names that a question shows at once; the others can be opened."""
MAX_REASON_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class BranchAct:
    """The texts of an act on a branch, in English: for one person, and for more.

    Attributes:
        choice: What the manager chooses.
        question: What the manager is asked.
        affected: The heading of the list of those whom the act affects.
        button: The text of the button that does it.
        done: The notice afterwards.
    """

    choice: str
    question: tuple[str, str]
    affected: tuple[str, str]
    button: tuple[str, str]
    done: tuple[str, str]


BRANCH_ACTS: Mapping[ActKind, BranchAct] = {
    ActKind.SUSPEND: BranchAct(gettext_noop("Suspend"), *SUSPEND_TEXTS),
    ActKind.BAN: BranchAct(gettext_noop("Ban"), *BAN_TEXTS),
    ActKind.CANCEL_INVITATIONS: BranchAct(
        gettext_noop("Only cancel their invitations"),
        ngettext_noop(
            "Cancel the invitations of {number} person?",
            "Cancel the invitations of {number} people?",
        ),
        ngettext_noop("This person has open invitations", "These {number} have open invitations"),
        ngettext_noop(
            "Cancel the invitations of {number} person", "Cancel the invitations of {number} people"
        ),
        ngettext_noop(
            "The invitations of {number} person are cancelled.",
            "The invitations of {number} people are cancelled.",
        ),
    ),
    ActKind.MOVE: BranchAct(
        gettext_noop("Give the children to another inviter"),
        ngettext_noop(
            "Give {number} person to another inviter?", "Give {number} people to another inviter?"
        ),
        ngettext_noop("This person gets the new inviter", "These {number} get the new inviter"),
        ngettext_noop("Move {number} person", "Move {number} people"),
        ngettext_noop(
            "{number} person has the new inviter.", "{number} people have the new inviter."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """An act on a branch that waits to be confirmed.

    Attributes:
        preview: Whom the act would affect, and whom it would leave out.
        texts: The texts of the act.
        new_inviter: Who gets the children, for an act that moves them.
        must_confirm: Whether the number of people has to be typed.
    """

    preview: ActPreview
    texts: BranchAct
    new_inviter: Member | None
    must_confirm: bool

    @property
    def frozen(self) -> str:
        """Exactly those whom the act affects, with their states, for a field of the form."""
        return freeze(self.preview.states)


@dataclass(frozen=True, slots=True)
class Picks:
    """What the ticks of a drawn tree mean, as numbers that follow them.

    Attributes:
        spared: The numbers of those who are not ticked.
        counts: The numbers of affected people or invitations by kind.
    """

    spared: frozenset[str]
    counts: Mapping[str, int]


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the pages."""

    async def preview(visit: Visit) -> Response:
        return await pages.render(visit, await _build_question(visit, await _find_picked(visit)))

    ask, act = pages.act(preview, again=build_tree), pages.act(perform, again=build_question)
    return [
        Route(PATH, pages.page(build_start)),
        Route(f"{PATH}{{number}}/", pages.page(build_tree)),
        Route(f"{PATH}{{number}}/preview/", ask, methods=["POST"]),
        Route(f"{PATH}{{number}}/act/", act, methods=["POST"]),
    ]


async def build_start(visit: Visit) -> PageContent:
    """Build the page without a member: it finds one by `from`, a number, an account or a name."""
    # Links to the tree had `member` when it was a page of Insights.
    wanted = (visit.query.get("from") or visit.query.get("member", "")).strip()
    if not wanted:
        return _make_page(found=None, inviters=await list_inviters())
    found = await find_members(wanted)
    if len(found) == 1:
        return await _build_tree(visit, found[0].member_id)
    return _make_page(found=found, wanted=wanted)


async def build_tree(visit: Visit) -> PageContent:
    """Build the page of a member's tree."""
    return await _build_tree(visit, path_number(visit))


async def build_question(visit: Visit) -> PageContent:
    """Build the question again, about those who are in its form."""
    return await _build_question(visit, read_frozen(visit))


async def perform(visit: Visit) -> Response:
    """Do to those in the form, and to nobody else, what the question has shown."""
    kind, frozen = _read_kind(visit), read_frozen(visit)
    reason = visit.typed("reason")
    if not reason:
        raise InvalidInput("The reason can't be empty.", field="reason", code="value_missing")
    check_text("reason", reason, MAX_REASON_LENGTH)
    check_count(visit, len(frozen))
    new_inviter = await _find_new_inviter(visit, kind)
    act = await branches.apply(
        path_number(visit),
        kind,
        frozen,
        actor=visit.user.username,
        reason=reason,
        invited_by=new_inviter.member_id if new_inviter else None,
        including_managers=visit.may(Role.SUPERUSER),
        cancel_invitations=bool(visit.typed("cancel")),
        until=read_end(visit) if kind is ActKind.SUSPEND else None,
    )
    return visit.redirect(f"{PATH}{path_number(visit)[1:]}/", notice=_describe_done(visit, act))


def _describe_done(visit: Visit, act: Act) -> str:
    number = len(act.members)
    if not number:
        return visit.gettext("Nothing was changed: nobody could be affected any more.")
    one, many = BRANCH_ACTS[act.kind].done
    sentences = [visit.ngettext(one, many, number, number=number)]
    if act.invitations and act.kind is not ActKind.CANCEL_INVITATIONS:
        sentences.append(
            visit.ngettext(
                "{number} invitation is cancelled.",
                "{number} invitations are cancelled.",
                act.invitations,
                number=act.invitations,
            )
        )
    if act.left_out:
        sentences.append(
            visit.ngettext(
                "{number} person was left out: somebody else has changed them since.",
                "{number} people were left out: somebody else has changed them since.",
                len(act.left_out),
                number=len(act.left_out),
            )
        )
    return " ".join(sentences)


async def _build_tree(
    visit: Visit, member_id: str, question: Question | None = None
) -> PageContent:
    drawing = await draw(member_id)
    if drawing is None:
        raise MemberNotFound(member_id)
    inviter = await members.find(drawing.root.invited_by) if drawing.root.invited_by else None
    total, is_total = len(drawing.nodes) - 1, True
    if not drawing.is_complete:
        counts = await invitations.tree_counts(drawing.root.member_id)
        total, is_total = sum(counts.levels), counts.is_complete
    return _make_page(
        acts=BRANCH_ACTS,
        drawing=drawing,
        inviter=inviter,
        is_total=is_total,
        max_without_count=MAX_WITHOUT_COUNT,
        may_act=visit.may(Role.MANAGER) and drawing.root.member_id == member_id,
        picks=_read_picks(visit, drawing),
        question=question,
        shown_names=SHOWN_NAMES,
        total=total,
        weigh=weigh,
    )


async def _build_question(visit: Visit, picked: Mapping[str, str]) -> PageContent:
    kind = _read_kind(visit)
    new_inviter = await _find_new_inviter(visit, kind)
    preview = await branches.preview_act(
        path_number(visit),
        kind,
        picked,
        invited_by=new_inviter.member_id if new_inviter else None,
        including_managers=visit.may(Role.SUPERUSER),
    )
    must_confirm = needs_count(len(preview.affected))
    question = Question(preview, BRANCH_ACTS[kind], new_inviter, must_confirm)
    return await _build_tree(visit, path_number(visit), question)


def _make_page(**variables: object) -> PageContent:
    defaults: dict[str, object] = {
        "drawing": None,
        "found": None,
        "inviters": (),
        "may_act": False,
        "picks": None,
        "question": None,
        "wanted": "",
    }
    return PageContent("tree.html", defaults | variables)


async def _find_new_inviter(visit: Visit, kind: ActKind) -> Member | None:
    """Return the member to whom the children are given; None for another kind of act.

    Raises:
        InvalidInput: Nobody is named, or the text means several members or nobody.
    """
    if kind is not ActKind.MOVE:
        return None
    try:
        return await find_member(visit.typed("inviter"))
    except (MemberNotFound, AmbiguousMember):
        raise InvalidInput(
            "Name the new inviter by their number, or by a name that nobody else has.",
            field="inviter",
            code="new_inviter_unclear",
        ) from None


async def _find_picked(visit: Visit) -> dict[str, str]:
    """Return the states of those in the branch who are not spared, by their numbers.

    Those who are not drawn can't be spared.
    """
    branch = await branches.preview(path_number(visit))
    spared = _read_spared(visit)
    people = (
        [member for member in branch.members if member.invited_by == branch.root.member_id]
        if _read_kind(visit) is ActKind.MOVE
        else [branch.root, *branch.members]
    )
    return {member.member_id: member.state for member in people if member.member_id not in spared}


def _read_spared(visit: Visit) -> frozenset[str]:
    ticked = {value for value in visit.form.getlist("member") if isinstance(value, str)}
    return frozenset(
        f"#{number}" for number in visit.typed("shown").split() if number not in ticked
    )


def _read_picks(visit: Visit, drawing: Drawing) -> Picks:
    spared = _read_spared(visit)
    ticked = [node for node in drawing.nodes if node.member_id not in spared]
    counts: dict[str, int] = {
        kind: sum(weigh(visit, drawing.root, node)[kind] for node in ticked)
        for kind in BRANCH_KINDS
    }
    return Picks(spared, {**counts, "ticked": len(ticked), "spared": len(spared)})


def weigh(visit: Visit, root: Node, node: Node) -> Mapping[str, int]:
    """Return what a drawn member counts for, if an act of each kind affects them."""
    is_spared = node.is_manager and not visit.may(Role.SUPERUSER)
    return {
        ActKind.SUSPEND: int(node.state == MemberStatus.ACTIVE and not is_spared),
        ActKind.BAN: int(node.state != MemberStatus.BANNED and not is_spared),
        ActKind.CANCEL_INVITATIONS: node.open_invitations,
        ActKind.MOVE: int(node.invited_by == root.member_id),
    }


def _read_kind(visit: Visit) -> ActKind:
    """Return what the form asks for.

    Raises:
        InvalidInput: There is no such act on a branch.
    """
    kind = parse_choice(ActKind, visit.typed("do"), "kind")
    if kind not in BRANCH_ACTS:
        raise InvalidInput("An act on a branch can't do this.", field="kind")
    return kind
