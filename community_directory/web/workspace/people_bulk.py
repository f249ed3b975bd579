"""What is done to many people at once: a preview, an act on the frozen list, and an export."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from starlette.responses import Response
from starlette.routing import Route

from community_directory.calendar import today
from community_directory.error_texts import gettext_noop, ngettext_noop
from community_directory.errors import ActNotFound, InvalidInput
from community_directory.imports.members_csv import CSV_COLUMNS
from community_directory.queries import acts, people
from community_directory.queries.acts import Act, ActKind
from community_directory.queries.people import MAX_SELECTION
from community_directory.queries.people_filters import check_people_filters
from community_directory.web.admin.download import FileResponse, format_parts
from community_directory.web.pages import Build, FormRefused, PageContent, Pages, Role, Visit
from community_directory.web.workspace.act_forms import (
    BAN_TEXTS,
    MAX_WITHOUT_COUNT,
    SUSPEND_TEXTS,
    freeze,
    lacks_count,
    needs_count,
    read_end,
    read_frozen,
)
from community_directory.web.workspace.people_address import PATH, read_address

SHOWN_NAMES = 8
"""The number of affected people whose names are in sight at once."""
EXPORT = "export"

UNDONE = ngettext_noop(
    "{number} person waits for approval again.", "{number} people wait for approval again."
)


@dataclass(frozen=True, slots=True)
class BulkAct:
    """The texts of an act on many people, in English: for one person, and for more.

    Attributes:
        question: What the manager is asked.
        affected: The heading of the list of those whom the act affects.
        button: The text of the button that does it.
        done: The notice afterwards.
        reasons: Reasons to choose from; any other one can be typed.
        needs_reason: Whether a reason must be given.
        is_dangerous: Whether it takes something from people.
    """

    question: tuple[str, str]
    affected: tuple[str, str]
    button: tuple[str, str]
    done: tuple[str, str]
    reasons: tuple[str, ...]
    needs_reason: bool = True
    is_dangerous: bool = True


BULK_ACTS: Mapping[str, BulkAct] = {
    ActKind.APPROVE: BulkAct(
        ngettext_noop("Approve {number} person?", "Approve {number} people?"),
        ngettext_noop("This person is approved", "These {number} are approved"),
        ngettext_noop("Approve {number} person", "Approve {number} people"),
        ngettext_noop("{number} person is approved.", "{number} people are approved."),
        (gettext_noop("Known to us"), gettext_noop("Met in person")),
        needs_reason=False,
        is_dangerous=False,
    ),
    ActKind.SUSPEND: BulkAct(
        *SUSPEND_TEXTS,
        (
            gettext_noop("Quiet for a long time"),
            gettext_noop("Broke the rules"),
            gettext_noop("Asked for it"),
        ),
    ),
    ActKind.BAN: BulkAct(
        *BAN_TEXTS,
        (gettext_noop("Spam"), gettext_noop("Broke the rules")),
    ),
    ActKind.REMOVE: BulkAct(
        ngettext_noop("Remove {number} person?", "Remove {number} people?"),
        ngettext_noop("This person is removed", "These {number} are removed"),
        ngettext_noop("Remove {number} person", "Remove {number} people"),
        ngettext_noop("{number} person is removed.", "{number} people are removed."),
        (gettext_noop("Left the community"), gettext_noop("Added by mistake")),
    ),
}


class BulkPages:
    """The preview of an act on many people, the act, and the export of people as a file."""

    def __init__(self, pages: Pages, *, again: Build) -> None:
        self._pages, self._build_list = pages, again

    def routes(self) -> list[Route]:
        """Return the routes."""
        preview = self._pages.act(self.answer_picked, again=self._build_list)
        act = self._pages.act(self.perform, again=self.build_preview)
        return [
            Route(f"{PATH}preview/", preview, methods=["POST"]),
            Route(f"{PATH}act/", act, methods=["POST"]),
            Route(f"{PATH}undo/", self._pages.act(undo, again=self._build_list), methods=["POST"]),
        ]

    async def answer_picked(self, visit: Visit) -> Response:
        """Show whom an act would affect, or send the file with those who were picked."""
        if visit.typed("do") == EXPORT:
            return await export(visit)
        if visit.typed("do") not in BULK_ACTS:
            raise InvalidInput("There is no such act.", field="do")
        picked = await _find_picked(visit)
        if not picked:
            raise FormRefused(visit.gettext("Nobody is picked. Pick at least one person."))
        return await self._pages.render(visit, await _build_preview(visit, picked))

    async def build_preview(self, visit: Visit) -> PageContent:
        """Build the preview again, of those who are in its form."""
        return await _build_preview(visit, list(read_frozen(visit)))

    async def perform(self, visit: Visit) -> Response:
        """Do to those in the form, and to nobody else, what the preview has shown."""
        kind, frozen = visit.typed("do"), read_frozen(visit)
        if kind not in BULK_ACTS or not frozen:
            raise InvalidInput("There is no such act.", field="do")
        _check_form(visit, BULK_ACTS[kind], len(frozen))
        address = read_address(visit.form, [])
        act = await acts.apply(
            kind,
            frozen,
            actor=visit.user.username,
            reason=visit.typed("reason") or None,
            including_managers=visit.may(Role.SUPERUSER),
            until=read_end(visit) if kind == ActKind.SUSPEND else None,
        )
        return visit.redirect(PATH + address.query(done=str(act.id) if act.members else "none"))


async def export(visit: Visit) -> Response:
    """Return the file of the picked people, or of all whom the filters let through."""
    address = read_address(visit.form, [])
    check_people_filters(**address.filters)
    if visit.typed("all"):
        rows = people.batches(CSV_COLUMNS, **address.filters)
    else:
        rows = people.batches(CSV_COLUMNS, selected=_picked_numbers(visit))
    parts = format_parts(CSV_COLUMNS, rows, ",")
    return FileResponse(visit.request, parts, f"people-{today()}.csv")


async def undo(visit: Visit) -> Response:
    """Undo an act, and lead to the one that did so."""
    undone = await acts.undo(visit.typed("act"), actor=visit.user.username)
    return visit.redirect(f"{PATH}?done={undone.id}")


@dataclass(frozen=True, slots=True)
class Done:
    """What the act before the page did.

    Attributes:
        text: The sentence about it.
        act: The act, or None if it affected nobody.
        can_undo: Whether it can be undone now.
    """

    text: str
    act: Act | None = None
    can_undo: bool = False


async def find_done(visit: Visit) -> Done | None:
    """Return what the act of this page did whose id is in the address; None if there is none."""
    wanted = visit.query.get("done")
    if not wanted:
        return None
    try:
        act = await acts.get(UUID(wanted))
    except (ValueError, ActNotFound):
        return Done(visit.gettext("Nothing was changed: nobody could be affected any more."))
    if act.kind not in (*BULK_ACTS, ActKind.UNDO):
        return None
    number = len(act.members)
    one, many = UNDONE if act.kind is ActKind.UNDO else BULK_ACTS[act.kind].done
    can_undo = act.undoable_until is not None and act.undoable_until > datetime.now(
        act.undoable_until.tzinfo
    )
    return Done(
        visit.ngettext(one, many, number, number=number),
        act,
        can_undo and act.undone_by is None and visit.may(Role.MANAGER),
    )


async def _build_preview(visit: Visit, numbers: list[str]) -> PageContent:
    kind = visit.typed("do")
    if kind not in BULK_ACTS:
        raise InvalidInput("There is no such act.", field="do")
    texts = BULK_ACTS[kind]
    found = await acts.preview(kind, numbers, including_managers=visit.may(Role.SUPERUSER))
    number = len(found.affected)

    def say(text: tuple[str, str]) -> str:
        return visit.ngettext(*text, number, number=number)

    return PageContent(
        "people_preview.html",
        {
            "address": read_address(visit.form, []),
            "affected": found.affected,
            "frozen": freeze(found.states),
            "heading": say(texts.affected),
            "button": say(texts.button),
            "kind": kind,
            "left_out": found.left_out,
            "must_confirm": needs_count(number),
            "confirmed": MAX_WITHOUT_COUNT,
            "question": say(texts.question),
            "shown": SHOWN_NAMES,
            "texts": texts,
        },
    )


async def _find_picked(visit: Visit) -> list[str]:
    """Return the numbers of those who are picked, or of all whom the filters let through."""
    if visit.typed("all"):
        filters = read_address(visit.form, []).filters
        if await people.count(**filters) > MAX_SELECTION:
            text = visit.gettext(
                "These are more than {number} people. Choose more filters.", number=MAX_SELECTION
            )
            raise FormRefused(text)
        return await people.numbers(**filters)
    return _picked_numbers(visit)


def _picked_numbers(visit: Visit) -> list[str]:
    picked = [value for value in visit.form.getlist("pick") if isinstance(value, str)]
    return list(dict.fromkeys(f"#{value.removeprefix('#')}" for value in picked))[:MAX_SELECTION]


def _check_form(visit: Visit, texts: BulkAct, number: int) -> None:
    """Check that the form has a reason, and the number of people if they are many.

    Raises:
        FormRefused: It lacks one of them.
    """
    if texts.needs_reason and not visit.typed("reason"):
        raise FormRefused(visit.gettext("Write a reason, for the log."))
    if lacks_count(visit, number):
        text = visit.gettext("Type the number of people, {number}, to confirm.", number=number)
        raise FormRefused(text)
