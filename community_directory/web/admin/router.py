"""The panel's app, and the forms in it: what stock Piccolo Admin answers with a 500 is a sentence here."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from piccolo_admin.endpoints import AdminRouter, FormConfig, FormResponse, GroupedFormsResponseModel
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from community_directory.database import CONNECTION_ERRORS, transaction
from community_directory.errors import OperatorError, UserError, database_errors
from community_directory.web.outage import LOOK_FIRST, report

Fields = TypeVar("Fields", bound=BaseModel)
Handler = Callable[[Fields, str], Awaitable[FormResponse]]
"""What a form does with what was filled in, in the name of a manager; its docstring is the form's help."""


class SuperuserRequired(UserError):
    """Only a superuser may send this form."""

    code = "superuser_required"


class DirectoryForm(FormConfig):
    """A form whose handler runs in one transaction; some are for superusers only."""

    def __init__(
        self, name: str, group: str, handler: Handler[Any], *, superusers_only: bool
    ) -> None:
        async def endpoint(request: Request, data: BaseModel) -> FormResponse:
            if superusers_only and not request.user.user.superuser:
                raise SuperuserRequired("Only a superuser may do this.")
            async with transaction():
                return await handler(data, request.user.user.username)

        description = " ".join((handler.__doc__ or "").split())
        super().__init__(name, handler.__annotations__["data"], endpoint, description, group)


class DirectoryRouter(AdminRouter):
    """`AdminRouter` that answers whatever is sent to a form, and says so when the database is away.

    The front end prints a 422 with `custom_form_error`, and a JSON string of any other status.
    """

    def __init__(self, *tables: Any, **options: Any) -> None:
        super().__init__(*tables, **options)
        for kind in (*CONNECTION_ERRORS, OperatorError):  # raised when a session is looked up
            self.add_exception_handler(kind, _away)

    def get_grouped_forms(self) -> GroupedFormsResponseModel:
        """The menu's groups in the order of the forms: what is done most often comes first."""
        menu = super().get_grouped_forms()
        order = dict.fromkeys(form.form_group for form in self.forms if form.form_group)
        menu.grouped = {group: menu.grouped[group] for group in order}
        return menu

    async def post_single_form(self, request: Request, form_slug: str) -> Any:
        """Check what was sent, and run the form: all of it is done, or nothing and a sentence says why."""
        if not await _is_plain_json_object(request):
            return _refusal("This holds something that can't be stored.")
        try:
            with database_errors():
                return await super().post_single_form(request, form_slug)
        except OperatorError as error:
            return _unavailable(error)
        except SuperuserRequired as error:
            return JSONResponse(str(error), status_code=403)
        except UserError as error:
            return _refusal(str(error))


async def _is_plain_json_object(request: Request) -> bool:
    """Whether the body is a JSON object that can be sent back in an error: no NaN, no half of a surrogate pair."""
    try:
        data = await request.json()
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict)


def _refusal(sentence: str) -> JSONResponse:
    return JSONResponse({"custom_form_error": sentence}, status_code=422)


def _away(_: Request, error: Exception) -> Response:
    try:
        with database_errors():
            raise error
    except OperatorError as meaning:
        return _unavailable(meaning)


def _unavailable(error: OperatorError) -> JSONResponse:
    return JSONResponse(f"{report(error)} {LOOK_FIRST}", status_code=503)
