"""Two numbers of one person: merge them, undo a merge, or say that they are two persons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from community_directory.database import engine
from community_directory.error_texts import gettext_noop
from community_directory.errors import NotMerged, UserError
from community_directory.queries import members
from community_directory.queries.members import ConflictKind, Member, MergeCounts, MergePreview
from community_directory.web.pages import FormRefused, PageContent, Pages, Role, Visit, clean_name
from community_directory.web.workspace.person_forms import (
    path_number,
    person_path,
    require_person,
    typed_reason,
)
from community_directory.web.workspace.person_rows import COUNT_MERGED_ROWS, find_person

CONFLICT_TEXTS: Mapping[ConflictKind, str] = {
    ConflictKind.SAME_MEMBER: gettext_noop("This is the same number. Choose another one."),
    ConflictKind.REMOVED: gettext_noop(
        "{into} was removed. Restore that member first, or merge the other way round."
    ),
    ConflictKind.ERASED: gettext_noop(
        "One of the two was erased: nothing tells any more who that was."
    ),
    ConflictKind.MERGED: gettext_noop(
        "One of the two is merged into another member already. Undo that merge first."
    ),
    ConflictKind.BOT_AND_PERSON: gettext_noop(
        "One of the two is a bot, and the other one is a person. Correct the mark first."
    ),
    ConflictKind.STATUSES: gettext_noop(
        "{duplicate} is {duplicate_status}, and {into} is {into_status}: the person is {status} "
        "afterwards."
    ),
    ConflictKind.LINEAGE: gettext_noop("One invited the other one, directly or through others."),
    ConflictKind.INVITERS: gettext_noop("Two different members invited them: one inviter stays."),
    ConflictKind.NAMES: gettext_noop("They differ in the name: that of {into} stays."),
    ConflictKind.ROLES: gettext_noop("They differ in the role: that of {into} stays."),
    ConflictKind.PROFILES: gettext_noop("They differ in the profile: that of {into} stays."),
    ConflictKind.TELEGRAM_ACCOUNTS: gettext_noop(
        "Both have a Telegram account: {into} has two afterwards."
    ),
    ConflictKind.GITHUB_ACCOUNTS: gettext_noop(
        "Both have a verified GitHub account: {into} has two afterwards, and the points of their "
        "own."
    ),
}
"""What a merge does about each kind of conflict."""

# The tables of which a merge keeps what it moved, and the counts of which they are.
JOURNAL_TABLES = {
    "member_participation": "events",
    "member_daily_highlights": "highlights",
    "community_invitations": "invitations",
    "community_members": "children",
    "member_accounts": "accounts",
    "member_permissions": "permissions",
}


@dataclass(frozen=True, slots=True)
class MergeSide:
    """One of the two members on the page of a merge."""

    member: Member
    is_kept: bool


def describe_counts(visit: Visit, counts: Mapping[str, int]) -> list[str]:
    """Return the numbers of rows in words, such as "3 events", without those that are zero."""
    words: Mapping[str, Callable[[int], str]] = {
        "events": lambda n: visit.ngettext("{n} event", "{n} events", n, n=n),
        "highlights": lambda n: visit.ngettext(
            "{n} day with highlights", "{n} days with highlights", n, n=n
        ),
        "invitations": lambda n: visit.ngettext("{n} invitation", "{n} invitations", n, n=n),
        "children": lambda n: visit.ngettext("{n} invited person", "{n} invited people", n, n=n),
        "accounts": lambda n: visit.ngettext("{n} account", "{n} accounts", n, n=n),
        "permissions": lambda n: visit.ngettext("{n} permission", "{n} permissions", n, n=n),
        "merged_numbers": lambda n: visit.ngettext(
            "{n} number that was merged before", "{n} numbers that were merged before", n, n=n
        ),
    }
    return [describe(counts[name]) for name, describe in words.items() if counts.get(name)]


def describe_conflicts(visit: Visit, preview: MergePreview) -> list[str]:
    """Return what stands in the way of a merge, or what it does where the two differ."""
    word = visit.translation.word
    values = {
        "duplicate": preview.duplicate.member_id,
        "into": preview.into.member_id,
        "duplicate_status": word(preview.duplicate.status),
        "into_status": word(preview.into.status),
        "status": word(preview.status),
    }
    kinds = dict.fromkeys(conflict.kind for conflict in preview.conflicts)
    return [visit.gettext(CONFLICT_TEXTS[kind], **values) for kind in kinds]


async def build_merge(visit: Visit) -> PageContent | Response:
    """Build the page that asks for the other number, and then shows what a merge would do."""
    person = await require_person(visit)
    into, typed = person.member, visit.query.get("with", "") or visit.typed("with")
    variables: dict[str, object] = {
        "person": person,
        "typed": typed,
        "preview": None,
        "search_problem": None,
    }
    if typed:
        try:
            duplicate = await _find_number(typed)
            preview = await members.merge_preview(duplicate, into=into.member_id)
        except UserError as error:
            variables["search_problem"] = visit.translation.error(error)
        else:
            variables |= {
                "preview": preview,
                "sides": [MergeSide(preview.into, True), MergeSide(preview.duplicate, False)],
                "moved": describe_counts(visit, _counts(preview.counts)),
                "filled": [visit.translation.word(column) for column in preview.filled],
                "conflicts": describe_conflicts(visit, preview),
            }
    return PageContent("person_merge.html", variables)


def _counts(counts: MergeCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in MergeCounts.__dataclass_fields__}


async def _find_number(typed: str) -> str:
    """Return the number of the member whom a text means; a number may be that of a removed one."""
    person = await find_person(f"#{typed.strip().removeprefix('#')}")
    return person.member.member_id if person else (await members.resolve(typed)).member_id


async def merge(visit: Visit) -> Response:
    """Merge the other member into this one."""
    into, duplicate = path_number(visit), visit.typed("with")
    done = await members.merge(
        duplicate, into=into, actor=visit.user.username, reason=typed_reason(visit)
    )
    notice = visit.gettext(
        "{duplicate} is merged into {into}. It can be undone under Accounts.",
        duplicate=done.duplicate,
        into=done.into,
    )
    return visit.redirect(person_path(into), notice=notice)


async def dismiss(visit: Visit) -> Response:
    """Say that this person and the other one are two persons."""
    number, other = path_number(visit), visit.typed("with")
    await members.dismiss_suggestion(
        number, other, actor=visit.user.username, reason=typed_reason(visit)
    )
    notice = visit.gettext(
        "{number} and {other} are two persons: the suggestion does not come back.",
        number=number,
        other=other,
    )
    return visit.redirect(person_path(number), notice=notice)


async def build_unmerge(visit: Visit) -> PageContent | Response:
    """Build the page that shows what comes back if a merge is undone."""
    person, duplicate = await require_person(visit), await find_person(_duplicate(visit))
    records = (
        await engine.fetch(
            COUNT_MERGED_ROWS,
            duplicate=duplicate.member.member_id,
            into=person.member.member_id,
        )
        if duplicate
        else []
    )
    if not records or duplicate is None:
        raise NotMerged(_duplicate(visit))
    counts = {JOURNAL_TABLES.get(table, ""): number for _, table, number in records}
    return PageContent(
        "person_unmerge.html",
        {
            "person": person,
            "duplicate": duplicate.member,
            "merged_at": records[0]["merged_at"],
            "restored": describe_counts(visit, counts),
        },
    )


async def unmerge(visit: Visit) -> Response:
    """Undo a merge; what could not be taken back is told."""
    merged = await find_person(_duplicate(visit))
    if merged and merged.merged_into not in (None, path_number(visit)):
        raise FormRefused(visit.gettext("This number was merged into another member."))
    undone = await members.unmerge(
        _duplicate(visit), actor=visit.user.username, reason=typed_reason(visit)
    )
    member = await members.find(undone.duplicate)
    notice = visit.gettext(
        "{name} is a member of their own again.",
        name=clean_name(member.name) if member else undone.duplicate,
    )
    return visit.redirect(
        person_path(undone.duplicate), notice=" ".join([notice, *map(str, undone.left)])
    )


def _duplicate(visit: Visit) -> str:
    return f"#{visit.request.path_params['duplicate']}"


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the pages."""
    path = "/people/{number}"
    manager = Role.MANAGER
    return [
        Route(f"{path}/merge/", pages.page(build_merge, role=manager), methods=["GET"]),
        Route(f"{path}/merge/", pages.act(merge, again=build_merge), methods=["POST"]),
        Route(f"{path}/two-persons/", pages.act(dismiss, again=build_merge), methods=["POST"]),
        Route(
            f"{path}/unmerge/{{duplicate}}/",
            pages.page(build_unmerge, role=manager),
            methods=["GET"],
        ),
        Route(
            f"{path}/unmerge/{{duplicate}}/",
            pages.act(unmerge, again=build_unmerge),
            methods=["POST"],
        ),
    ]
