"""The router of the panel and its forms: every failure is answered with a message for people."""

import json
import logging
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any, NoReturn, TypeVar, cast

from piccolo_admin.endpoints import (
    AdminRouter,
    FormConfig,
    FormResponse,
    GroupedFormsResponseModel,
)
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from community_directory.database import CONNECTION_ERRORS, transaction
from community_directory.errors import OperatorError, UserError, database_errors
from community_directory.web.outage import RETRY_HINT, report

logger = logging.getLogger(__name__)

Fields = TypeVar("Fields", bound=BaseModel)
Handler = Callable[[Fields, str], Awaitable[FormResponse]]
"""Handles a form's fields for a manager; the help text of the form is its docstring."""


class DirectoryForm(FormConfig):
    """A form whose handler runs in one transaction."""

    def __init__(self, name: str, group: str, handler: Handler[Any]) -> None:
        async def endpoint(request: Request, data: BaseModel) -> FormResponse:
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
        self.add_exception_handler(500, _log_server_error)

    def get_grouped_forms(self) -> GroupedFormsResponseModel:
        """Return the menu's groups in the order of the forms, instead of by name."""
        menu = super().get_grouped_forms()
        order = dict.fromkeys(form.form_group for form in self.forms if form.form_group)
        menu.grouped = {group: menu.grouped[group] for group in order}
        return menu

    async def post_single_form(self, request: Request, form_slug: str) -> Any:
        """Check the fields and run the form: either all of it succeeds or nothing is changed."""
        if form_slug in self.form_config_map and not await _is_plain_json_object(request):
            return _refuse_form("A field contains characters that can't be stored. Remove them.")
        try:
            with database_errors():
                return await super().post_single_form(request, form_slug)
        except OperatorError as error:
            return _unavailable(error)
        except UserError as error:
            return _refuse_form(str(error))


async def answer_refused_method(request: Request, error: Exception) -> Response:
    """Answer 405 with the methods of every route at the address; FastAPI names those of one."""
    refusal = cast("HTTPException", error)
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    paths = [route.path for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    headers = refusal.headers
    if paths:
        methods = {*chain(*(route.methods or () for route in routes if route.path == paths[0]))}
        headers = {"Allow": ", ".join(sorted(methods))}
    return JSONResponse({"detail": refusal.detail}, 405, headers)


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


async def _log_server_error(_: Request, error: Exception) -> NoReturn:
    """Log an error and raise it again.

    The refusal of an invalid request is not logged. Piccolo's middleware raises it outside of the
    handlers that answer it.
    """
    if not isinstance(error, HTTPException):
        logger.error("Server error", exc_info=error)
    raise error


def _answer_outage(_: Request, error: Exception) -> Response:
    try:
        with database_errors():
            raise error
    except OperatorError as translated:
        return _unavailable(translated)


def _unavailable(error: OperatorError) -> JSONResponse:
    return JSONResponse(f"{report(error)} {RETRY_HINT}", status_code=503)
