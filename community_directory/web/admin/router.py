"""The router of the panel and its forms: every failure is answered with a message for people."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from piccolo_admin.endpoints import AdminRouter, FormConfig, FormResponse, GroupedFormsResponseModel
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from community_directory.database import CONNECTION_ERRORS, transaction
from community_directory.errors import OperatorError, UserError, database_errors
from community_directory.web.health import LINK_LABEL, health_link_label
from community_directory.web.outage import RETRY_HINT, report

Fields = TypeVar("Fields", bound=BaseModel)
Handler = Callable[[Fields, str], Awaitable[FormResponse]]
"""Handles a form's fields for a manager; the help text of the form is its docstring."""


class SuperuserRequired(UserError):
    """Only a superuser may send this form."""

    code = "superuser_required"


class DirectoryForm(FormConfig):
    """A form whose handler runs in one transaction; some forms are for superusers only."""

    def __init__(
        self, name: str, group: str, handler: Handler[Any], *, superusers_only: bool
    ) -> None:
        async def endpoint(request: Request, data: BaseModel) -> FormResponse:
            if superusers_only and not request.user.user.superuser:
                raise SuperuserRequired("Only a superuser may do this. Ask one of them.")
            async with transaction():
                return await handler(data, request.user.user.username)

        help_text = " ".join((handler.__doc__ or "").split())
        super().__init__(name, handler.__annotations__["data"], endpoint, help_text, group)


class DirectoryRouter(AdminRouter):
    """An `AdminRouter` that answers invalid forms and an unavailable database with a message.

    The front end shows a 422 with `custom_form_error`, and a JSON string of any other status.
    """

    def __init__(self, *tables: Any, **options: Any) -> None:
        super().__init__(*tables, **options)
        # Piccolo's session middleware raises these while it looks up the session.
        for kind in (*CONNECTION_ERRORS, OperatorError):
            self.add_exception_handler(kind, _answer_outage)

    def get_grouped_forms(self) -> GroupedFormsResponseModel:
        """Return the menu's groups in the order of the forms, instead of by name."""
        menu = super().get_grouped_forms()
        order = dict.fromkeys(form.form_group for form in self.forms if form.form_group)
        menu.grouped = {group: menu.grouped[group] for group in order}
        return menu

    async def get_sidebar_links(self) -> dict[str, str]:  # type: ignore[override]
        """Return the links of the menu; that to the page Health says how many faults it has."""
        label = await health_link_label()
        return {
            label if name == LINK_LABEL else name: path for name, path in self.sidebar_links.items()
        }

    async def post_single_form(self, request: Request, form_slug: str) -> Any:
        """Check the fields and run the form: either all of it succeeds or nothing is changed."""
        if not await _is_plain_json_object(request):
            return _refuse_form("A field contains characters that can't be stored. Remove them.")
        try:
            with database_errors():
                return await super().post_single_form(request, form_slug)
        except OperatorError as error:
            return _unavailable(error)
        except SuperuserRequired as error:
            return JSONResponse(str(error), status_code=403)
        except UserError as error:
            return _refuse_form(str(error))


async def _is_plain_json_object(request: Request) -> bool:
    """Tell whether the body is a JSON object that an error response can repeat.

    It may contain neither NaN nor a lone surrogate.
    """
    try:
        data = await request.json()
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict)


def _refuse_form(message: str) -> JSONResponse:
    return JSONResponse({"custom_form_error": message}, status_code=422)


def _answer_outage(_: Request, error: Exception) -> Response:
    try:
        with database_errors():
            raise error
    except OperatorError as translated:
        return _unavailable(translated)


def _unavailable(error: OperatorError) -> JSONResponse:
    return JSONResponse(f"{report(error)} {RETRY_HINT}", status_code=503)
