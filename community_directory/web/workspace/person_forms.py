"""The acts of the page of a person: each is a form, and leads back to the page."""

import json
from urllib.parse import quote

from starlette.responses import Response

from community_directory.database import transaction
from community_directory.error_texts import LEFT_OUT_TEXTS
from community_directory.errors import (
    ConfigurationError,
    InvalidInput,
    MemberNotFound,
    StatusChangeRefused,
)
from community_directory.queries import accounts, acts, members, notes, permissions
from community_directory.queries.acts import Act
from community_directory.queries.values import MEMBER_NUMBER_PATTERN, member_number
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus, Permission
from community_directory.web.pages import FormRefused, Role, Visit, clean_name
from community_directory.web.workspace.act_forms import read_end
from community_directory.web.workspace.person_actions import ACTIONS, CHANGE_END, RESTORE
from community_directory.web.workspace.person_rows import Person, find_person

EDITABLE_FIELDS = ("name", "primary_role", "organization", "country", "telegram_username")
"""The columns that are edited in place; the profile has further fields."""
PROFILE_FIELD = "profile_data"
"""The name of the field for a key of the profile."""


def path_number(visit: Visit) -> str:
    """Return the number of the person in the address.

    Raises:
        MemberNotFound: It is no number.
    """
    typed = visit.request.path_params["number"]
    if not MEMBER_NUMBER_PATTERN.fullmatch(typed):
        raise MemberNotFound(typed)
    return member_number(typed)


def person_path(member_id: str, part: str = "") -> str:
    """Return the path of the page of a person."""
    return f"/people/{member_id.removeprefix('#')}/{part}"


async def require_person(visit: Visit) -> Person:
    """Return the person in the address.

    Raises:
        MemberNotFound: There is none.
    """
    number = path_number(visit)
    person = await find_person(number)
    if person is None:
        raise MemberNotFound(number)
    return person


def shown_name(person: Person) -> str:
    """Return the name of a person for a notice."""
    return clean_name(person.member.name)


def typed_reason(visit: Visit) -> str | None:
    """Return the reason of a form, in the person's own words or one of the choices."""
    return visit.typed("other") or visit.typed("reason") or None


def required_reason(visit: Visit) -> str:
    """Return the reason of a form.

    Raises:
        InvalidInput: There is none.
    """
    if reason := typed_reason(visit):
        return reason
    raise InvalidInput("The reason can't be empty.", field="reason", code="value_missing")


async def act(visit: Visit) -> Response:
    """Approve, suspend or ban the person, or whatever else a button of the head says."""
    action = next(
        (each for each in ACTIONS if each.name == visit.request.path_params["action"]), None
    )
    if action is None:
        raise MemberNotFound(path_number(visit))
    person = await require_person(visit)
    number, actor = person.member.member_id, visit.user.username
    reason = required_reason(visit) if action.reasons else typed_reason(visit)
    path = person_path(number)
    if action.name == RESTORE:
        await members.restore(number, actor=actor, reason=reason)
    elif action.name == CHANGE_END:
        await _change_end(visit, number)
    else:
        done = await acts.apply(
            action.name,
            {number: visit.typed("before")},
            actor=actor,
            reason=reason,
            including_managers=visit.may(Role.SUPERUSER),
            until=read_end(visit) if action.has_end else None,
        )
        if done.left_out:
            raise _refuse_act(visit, person, done)
        if done.undoable_until is not None:
            path += f"?act={done.id}"
    return visit.redirect(path, notice=visit.gettext(action.done, name=shown_name(person)))


def _refuse_act(visit: Visit, person: Person, done: Act) -> FormRefused:
    """Return the error for an act that has left the person out."""
    return FormRefused(
        visit.gettext(
            "Nothing was changed. {name}: {reason}.",
            name=shown_name(person),
            reason=visit.gettext(LEFT_OUT_TEXTS[done.left_out[0].code]),
        )
    )


async def _change_end(visit: Visit, number: str) -> None:
    """Give the suspension of a member the end of the form.

    Raises:
        FormRefused: It has this end, or the form has no day that can be one.
        StatusChangeRefused: The member is not suspended any more.
    """
    try:
        await members.set_status(
            number,
            MemberStatus.SUSPENDED,
            before=[MemberStatus.SUSPENDED],
            until=read_end(visit),
            actor=visit.user.username,
            reason=typed_reason(visit),
        )
    except StatusChangeRefused as error:
        if error.before != MemberStatus.SUSPENDED:
            raise
        text = visit.gettext("Nothing was changed: the suspension has this end already.")
        raise FormRefused(text) from None


async def undo(visit: Visit) -> Response:
    """Take back an approval or a refusal of the last ten minutes."""
    person = await require_person(visit)
    undone = await acts.undo(visit.typed("act"), actor=visit.user.username)
    if undone.left_out:
        raise _refuse_act(visit, person, undone)
    notice = visit.gettext("{name} waits for approval again.", name=shown_name(person))
    return visit.redirect(person_path(person.member.member_id), notice=notice)


async def edit_profile(visit: Visit) -> Response:
    """Store one field of the profile, unless somebody else has changed it since the form."""
    number = path_number(visit)
    field, key, typed = visit.typed("field"), visit.typed("key"), visit.typed("value")
    before = _parse_before(visit.typed("before"))
    if field == PROFILE_FIELD and key:
        value: object = typed or None
        if isinstance(before, list):
            value = [part.strip() for part in typed.split(",") if part.strip()]
        changes: dict[str, object] = {field: {key: value}}
        before = {key: before}
    elif field in EDITABLE_FIELDS:
        changes = {field: typed if field in ("name", "primary_role") else typed or None}
    else:
        raise InvalidInput("There is no such field.", field="field")
    await members.update_profile(
        number,
        **changes,  # type: ignore[arg-type]  # the values of these fields are texts or None
        before={field: before},
        actor=visit.user.username,
    )
    return visit.redirect(person_path(number, "#profile"), notice=visit.gettext("Saved."))


def _parse_before(text: str) -> object:
    """Return the value that the form was filled with; it is JSON.

    Raises:
        InvalidInput: It is not.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("The earlier value is missing.", field="before") from None


async def add_note(visit: Visit) -> Response:
    """Write a note about the person."""
    number = path_number(visit)
    await notes.add(number, visit.typed("note"), actor=visit.user.username)
    return visit.redirect(
        person_path(number, "#notes"), notice=visit.gettext("The note is stored.")
    )


async def remove_note(visit: Visit) -> Response:
    """Remove a note."""
    await notes.remove(visit.typed("id"), actor=visit.user.username)
    return visit.redirect(
        person_path(path_number(visit), "#notes"), notice=visit.gettext("The note is removed.")
    )


async def change_permissions(visit: Visit) -> Response:
    """Grant and revoke what differs from the boxes that the form was filled with.

    What a colleague has changed since, and this form has not, stays.
    """
    number, actor = path_number(visit), visit.user.username
    chosen, before = set(visit.form.getlist("may")), set(visit.form.getlist("before"))
    reason = typed_reason(visit)
    async with transaction():
        for permission in Permission:
            if permission in chosen - before:
                await permissions.grant(number, permission, actor=actor, reason=reason)
            elif permission in before - chosen:
                await permissions.revoke(number, permission, actor=actor, reason=reason)
    return visit.redirect(
        person_path(number, "#permissions"), notice=visit.gettext("The permissions are saved.")
    )


async def link_account(visit: Visit) -> Response:
    """Link another account to the person."""
    number = path_number(visit)
    linked = await accounts.link(
        number,
        visit.typed("platform").lower(),
        visit.typed("account_id"),
        username=visit.typed("username") or None,
        actor=visit.user.username,
        reason=required_reason(visit),
    )
    notice = visit.gettext("The {platform} account is linked.", platform=linked.platform)
    return visit.redirect(person_path(number, "#accounts"), notice=notice)


async def split_account(visit: Visit) -> Response:
    """Take an account from the person: it belongs to nobody then."""
    number = path_number(visit)
    platform, account_id = visit.typed("platform"), visit.typed("account_id")
    owned = {(each.platform, each.account_id) for each in await accounts.of(number)}
    if (platform, account_id) not in owned:
        raise FormRefused(visit.gettext("This person does not have the account any more."))
    await accounts.unlink(
        platform, account_id, actor=visit.user.username, reason=required_reason(visit)
    )
    notice = visit.gettext("The {platform} account belongs to nobody now.", platform=platform)
    return visit.redirect(person_path(number, "#accounts"), notice=notice)


async def export(visit: Visit) -> Response:
    """Send everything that is stored about the person, as a file."""
    number = path_number(visit)
    stored = await members.export(number)
    name = quote(f"member-{number.removeprefix('#')}.json")
    return Response(
        json.dumps(stored, ensure_ascii=False, indent=2),
        media_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


async def erase(visit: Visit) -> Response:
    """Erase the personal data of the person, if their number was typed again."""
    person = await require_person(visit)
    number = person.member.member_id
    if member_number(visit.typed("number_again")) != number:
        raise FormRefused(
            visit.gettext("Nothing was erased. To confirm it, type {number}.", number=number)
        )
    try:
        await members.erase(number, actor=visit.user.username, reason=required_reason(visit))
    except ConfigurationError:
        # A superuser has to read what is missing; the general sentence asks to try again.
        raise FormRefused(
            visit.gettext(
                "Nothing was erased. A banned person can be erased only if the setting "
                "DIRECTORY_SECRET_KEY is set: it recognizes them if they come back."
            )
        ) from None
    notices = [visit.gettext("{number} was erased.", number=number)]
    if load_settings().secret_key is None:
        notices.append(
            visit.gettext(
                "An import of an old export would add this person again, because the setting "
                "DIRECTORY_SECRET_KEY is not set."
            )
        )
    return visit.redirect(person_path(number), notice=" ".join(notices))
