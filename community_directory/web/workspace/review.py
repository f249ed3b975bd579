"""Review: the people who wait for approval, whom managers approve or decline."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import FormData
from starlette.responses import Response
from starlette.routing import Route

from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput, UserError
from community_directory.queries import acts
from community_directory.queries.acts import Act, ActKind, LeftOut, LeftOutCode
from community_directory.queries.values import check_text
from community_directory.tables import MemberStatus
from community_directory.web.pages import (
    Endpoint,
    Handle,
    PageContent,
    Pages,
    Role,
    Visit,
    clean_name,
)
from community_directory.web.workspace import newcomers
from community_directory.web.workspace.act_forms import (
    MAX_WITHOUT_COUNT,
    check_count,
    needs_count,
)
from community_directory.web.workspace.newcomers import Decision

PATH = "/review/"
PAGE_SIZE = 20
MAX_AT_ONCE = 1000
"""The most newcomers whom "all" means: those who wait longest."""
SHOWN_NAMES = 8
"""The names that a question shows at once; the others can be opened."""
MAX_TOLD = 3
"""The most people left out whom a notice names."""
MAX_REASON_LENGTH = 300

REASONS = {
    "unknown": gettext_noop("The inviter doesn't know them"),
    "automated": gettext_noop("Looks automated"),
    "double": gettext_noop("Has another account here"),
    "silent": gettext_noop("Didn't answer"),
}
"""The reasons to choose from; the log has them in English."""

STATUS_AFTER = {ActKind.APPROVE: MemberStatus.ACTIVE, ActKind.DECLINE: MemberStatus.NOT_MEMBER}
"""The acts of this page, and the status that each gives."""

APPROVED = gettext_noop("{actor} has approved {name} already.")
DECLINED = gettext_noop("{actor} has declined {name} already.")
DECIDED_TEXTS = {
    (LeftOutCode.ALREADY_ACTIVE, MemberStatus.ACTIVE): APPROVED,
    (LeftOutCode.IS_ACTIVE, MemberStatus.ACTIVE): APPROVED,
    (LeftOutCode.ALREADY_DECLINED, MemberStatus.NOT_MEMBER): DECLINED,
    (LeftOutCode.CONTACT, MemberStatus.NOT_MEMBER): DECLINED,
}
"""Who decided before the visitor, by why the act leaves somebody out and the last decision."""


@dataclass(frozen=True, slots=True)
class Question:
    """An act on several newcomers that waits to be confirmed.

    Attributes:
        preview: Whom the act would affect.
        is_counted: Whether the number of people has to be typed.
    """

    preview: acts.ActPreview
    is_counted: bool

    @property
    def numbers(self) -> str:
        """The numbers of exactly those whom the act affects, for a field of the form."""
        return " ".join(member.member_id[1:] for member in self.preview.affected)


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the page."""

    def act(handle: Handle) -> Endpoint:
        return pages.act(handle, again=build_review)

    return [
        Route(PATH, pages.page(build_review)),
        Route(f"{PATH}approve/", act(approve), methods=["POST"]),
        Route(f"{PATH}decline/", act(decline), methods=["POST"]),
        Route(f"{PATH}several/", act(answer_several), methods=["POST"]),
        Route(f"{PATH}undo/", act(undo), methods=["POST"]),
    ]


async def build_review(visit: Visit) -> PageContent:
    """Build the page. Its address says what it shows.

    - `after`: the page of the list;
    - `decline`: the number of the newcomer under whom the reasons are open;
    - `ask`, with `pick` or `all`: the act on several newcomers that is to be confirmed;
    - `done`: the act that was done last, and may be undone.

    A form that was refused has the same fields.
    """
    waiting, done, question = await asyncio.gather(
        newcomers.list_waiting(after=_read(visit, "after") or None, limit=PAGE_SIZE),
        _find_done(_read(visit, "done")),
        _find_question(visit),
    )
    kept = {name: value for name in ("after", "done") if (value := _read(visit, name))}

    def address(**state: object) -> str:
        query = urlencode({name: value for name, value in {**kept, **state}.items() if value})
        return f"{visit.root}{PATH}" + (f"?{query}" if query else "")

    return PageContent(
        "review.html",
        {
            "address": address,
            "after": kept.get("after"),
            "waiting_people": waiting,
            "declined": _read(visit, "decline"),
            "question": question,
            "done": done,
            "is_own": done is not None and done.actor == visit.user.username,
            "reasons": REASONS,
            "typed": visit.typed,
            "max_reason_length": MAX_REASON_LENGTH,
            "max_at_once": MAX_AT_ONCE,
            "max_without_count": MAX_WITHOUT_COUNT,
            "shown_names": SHOWN_NAMES,
            "may_act": visit.may(Role.MANAGER),
        },
    )


async def approve(visit: Visit) -> Response:
    """Approve those who were picked."""
    return await _answer(visit, ActKind.APPROVE, None)


async def decline(visit: Visit) -> Response:
    """Decline those who were picked, with a reason."""
    return await _answer(visit, ActKind.DECLINE, _read_reason(visit))


async def answer_several(visit: Visit) -> Response:
    """Approve those who were picked, or ask for the reason to decline them."""
    if visit.typed("do") == ActKind.APPROVE:
        return await approve(visit)
    if visit.typed("do") != ActKind.DECLINE:
        raise InvalidInput("There is no such act.", field="do")
    picks = [("pick", number.removeprefix("#")) for number in _read_numbers(visit.form)]
    asked = [("after", visit.typed("after")), ("ask", ActKind.DECLINE.value), *picks]
    return visit.redirect(f"{PATH}?{urlencode([field for field in asked if field[1]])}")


async def undo(visit: Visit) -> Response:
    """Undo an act: those whom it affected wait again."""
    undone = await acts.undo(visit.typed("done"), actor=visit.user.username)
    count, left_out = len(undone.members), len(undone.left_out)
    sentences = []
    if count == 1:
        name = clean_name(undone.members[0].name)
        sentences.append(visit.gettext("Undone: {name} waits again.", name=name))
    elif count:
        sentences.append(
            visit.ngettext(
                "Undone: {number} person waits again.",
                "Undone: {number} people wait again.",
                count,
                number=count,
            )
        )
    if left_out:
        sentences.append(
            visit.ngettext(
                "{number} person stays as they are, because somebody has changed them since.",
                "{number} people stay as they are, because somebody has changed them since.",
                left_out,
                number=left_out,
            )
        )
    return visit.redirect(_path(visit), notice=" ".join(sentences))


async def _answer(visit: Visit, kind: ActKind, reason: str | None) -> Response:
    numbers = _read_numbers(visit.form)
    check_count(visit, len(numbers))
    act = await acts.apply(kind, numbers, actor=visit.user.username, reason=reason)
    notice, done = None, act.id if act.members else None
    if act.left_out:
        decisions = await newcomers.find_decisions([member.member_id for member in act.left_out])
        notice = _tell_left_out(visit, act.left_out, decisions)
        if done is None:
            done = _find_repeated(visit, kind, decisions)
            notice = None if done else notice
    return visit.redirect(_path(visit, done=done), notice=notice)


def _find_repeated(visit: Visit, kind: ActKind, decisions: Mapping[str, Decision]) -> UUID | None:
    """Return the act that the visitor sends a second time, such as by a double click."""
    repeated = {
        decision.act_id
        for decision in decisions.values()
        if (decision.actor, decision.status) == (visit.user.username, STATUS_AFTER[kind])
    }
    return repeated.pop() if len(repeated) == 1 else None


def _tell_left_out(
    visit: Visit, left_out: Sequence[LeftOut], decisions: Mapping[str, Decision]
) -> str:
    """Return the sentences that say why people were left out, such as who has decided already."""
    sentences = []
    for member in left_out[:MAX_TOLD]:
        name = clean_name(member.name or member.member_id)
        decision = decisions.get(member.member_id)
        text = decision and DECIDED_TEXTS.get((member.code, decision.status))
        if decision and text:
            sentences.append(visit.gettext(text, actor=clean_name(decision.author), name=name))
        else:
            sentences.append(f"{name}: {visit.gettext(member.sentence)}.")
    if (others := len(left_out) - MAX_TOLD) > 0:
        sentences.append(
            visit.ngettext(
                "{number} more person was left out.",
                "{number} more people were left out.",
                others,
                number=others,
            )
        )
    return " ".join(sentences)


async def _find_done(act_id: str) -> Act | None:
    """Return the act of an address; None if there is none that can be undone."""
    if not act_id:
        return None
    try:
        act = await acts.get(act_id)
    except UserError:
        return None
    return act if act.kind in STATUS_AFTER else None


async def _find_question(visit: Visit) -> Question | None:
    """Return the act that is to be confirmed, if one is."""
    kind = _read(visit, "ask")
    if kind not in STATUS_AFTER or not visit.may(Role.MANAGER):
        return None
    numbers = _read_numbers(visit.form) or visit.query.getlist("pick")
    if visit.query.get("all"):
        numbers = await newcomers.list_numbers(MAX_AT_ONCE)
    if not numbers:
        return None
    preview = await acts.preview(kind, numbers)
    return Question(preview, is_counted=needs_count(len(preview.affected)))


def _read(visit: Visit, name: str) -> str:
    """Return a field of the form or of the address; "" if it is missing."""
    return visit.typed(name) or visit.query.get(name, "")


def _read_numbers(form: FormData) -> list[str]:
    """Return the numbers of a form: those of the rows, or the list that somebody has confirmed."""
    given = [*form.getlist("pick"), *form.getlist("numbers")]
    numbers = [number for text in given if isinstance(text, str) for number in text.split()]
    return list(dict.fromkeys(numbers))


def _read_reason(visit: Visit) -> str:
    """Return the reason that was typed, or else the chosen one.

    Raises:
        InvalidInput: There is none, or it is too long.
    """
    reason = visit.typed("other") or REASONS.get(visit.typed("reason"), "")
    if not reason:
        raise InvalidInput("The reason can't be empty.", field="reason", code="value_missing")
    check_text("reason", reason, MAX_REASON_LENGTH)
    return reason


def _path(visit: Visit, **state: object) -> str:
    """Return the path of the page of the list at which the visitor is."""
    fields = {"after": visit.typed("after"), **state}
    query = urlencode({name: value for name, value in fields.items() if value})
    return f"{PATH}?{query}" if query else PATH
