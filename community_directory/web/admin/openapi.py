"""The OpenAPI document of the panel's API: every table and every form, as the server answers.

Piccolo Admin's own document describes its stock endpoints, which `DirectoryCRUD` replaces.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from importlib.metadata import version
from typing import Any
from uuid import UUID

from piccolo.columns import JSON, BigInt, BigSerial, Column, ForeignKey
from piccolo_admin.endpoints import FormConfig

from community_directory.web.admin.download import DELIMITERS
from community_directory.web.admin.listing import (
    FILTER_OPERATORS,
    LIKE_PATTERNS,
    MAX_LIST_PAGES,
    MAX_LIST_ROWS,
    NULL_OPERATORS,
    RANGE_OPERATORS,
)
from community_directory.web.admin.values import TEXT_COLUMNS
from community_directory.web.admin.writing import DirectoryCRUD

Schema = dict[str, Any]
"""A JSON Schema, or another object of an OpenAPI document."""

DESCRIPTION = (
    "The API behind the panel. A program may use it with the session of a user who has the right "
    "“admin”: send the cookies `id` and `csrftoken`, and repeat the latter in the header "
    "`X-CSRFToken` of every request that is not a GET."
)
STORABLE_TEXT = r"^[^\u0000]*$"
"""The pattern of a text that PostgreSQL can store: without NUL."""

STRING: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": STRING}
TEXTS_BY_NAME: Schema = {"type": "object", "additionalProperties": STRING}

SESSION: Schema = {"session": []}
SESSION_AND_TOKEN: Schema = {**SESSION, "csrf_cookie": [], "csrf_token": []}
SECURITY_SCHEMES: Schema = {
    "session": {"type": "apiKey", "in": "cookie", "name": "id"},
    "csrf_cookie": {"type": "apiKey", "in": "cookie", "name": "csrftoken"},
    "csrf_token": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
}


def build_document(
    title: str, tables: Sequence[DirectoryCRUD], forms: Sequence[FormConfig]
) -> Schema:
    """Return the document of the API that serves these tables and forms."""
    paths, schemas = _menu_paths(), dict(SHARED_SCHEMAS)
    for table in tables:
        paths |= _table_paths(table)
        schemas |= _table_schemas(table)
    for form in forms:
        paths |= _form_paths(form)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version("community-directory"),
            "description": DESCRIPTION,
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": ERRORS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _menu_paths() -> Schema:
    answers: dict[str, tuple[str, Schema]] = {
        "/tables/": ("The tables", TEXTS),
        "/tables/grouped/": ("The tables in the menu", _grouped(STRING)),
        "/links/": ("The links in the menu", TEXTS_BY_NAME),
        "/user/": ("The signed-in user", _object({"username": STRING, "user_id": STRING})),
        "/forms/": ("The forms", {"type": "array", "items": _ref("Form")}),
        "/forms/grouped/": ("The forms in the menu", _grouped(_ref("Form"))),
    }
    return {path: {"get": _get("menu", *answer)} for path, answer in answers.items()}


def _table_paths(table: DirectoryCRUD) -> Schema:
    """Return the paths of a table, without the actions that its policy refuses."""
    name = table.table._meta.tablename
    refused, filters = table.policy.refusals, _filter_parameters(table)
    # Validators keep tables from managers who are no superusers.
    errors = [403] if table.validators and table.validators.every else []

    def get(summary: str, schema: Schema, *parameters: Schema) -> Schema:
        return _get(name, summary, schema, [*errors, 400], parameters)

    rows: Schema = {"get": get("A page of rows", _rows(name), *filters, *_page_parameters(table))}
    row: Schema = {
        "parameters": [_row_id_parameter(table)],
        "get": _get(name, "A row", _ref(name), [*errors, 404]),
    }
    if "add" not in refused:
        key = _object({table.key: _stored_value(table.columns[table.key])})
        added = _json("Its key", {"type": "array", "items": key})
        rows["post"] = _write(name, "Add a row", {"201": added}, _ref(f"{name}.new"))
    if "edit" not in refused:
        edited = _json("The row as it is now", _ref(name))
        row["patch"] = _write(name, "Edit a row", {"200": edited}, _ref(f"{name}.changes"), [404])
    if "delete" not in refused:
        deleted = {"204": {"description": "It is deleted"}}
        row["delete"] = _write(name, "Delete a row", deleted, None, [404])
    root = f"/tables/{name}/"
    file = get("The list as a CSV file", STRING, *filters, *_file_parameters(table))
    file["responses"]["200"]["content"] = {"text/csv": {"schema": STRING}}
    return {
        root: rows,
        f"{root}csv/": {"get": file},
        f"{root}count/": {"get": get("The number of rows", _ref("Count"), *filters)},
        f"{root}ids/": {
            "get": get("Rows to refer to, by key", TEXTS_BY_NAME, *_choice_parameters(table))
        },
        f"{root}new/": {"get": _get(name, "The form for a new row", _ref(f"{name}.form"), errors)},
        f"{root}schema/": {"get": _get(name, "The columns", _ref("TableSchema"), errors)},
        f"{root}references/": {"get": _get(name, "References", _ref("References"), errors)},
        f"{root}{{row_id}}/": row,
    }


def _form_paths(form: FormConfig) -> Schema:
    fields = form.pydantic_model.model_json_schema()
    for name, field in fields["properties"].items():
        if field.get("type") == "string" and "format" not in field:
            # The front end sends the text "null" as null.
            fields["properties"][name] = {**field, "type": ["string", "null"]}
    answer = _json("What was done", _object({"custom_form_success": STRING}))
    sent = _write("forms", form.name, {"200": answer}, fields) | {"description": form.description}
    show = _get("forms", f"The form “{form.name}”", _ref("Form"))
    describe = _get("forms", f"The fields of “{form.name}”", {"type": "object"})
    path = f"/forms/{form.slug}/"
    return {path: {"get": show, "post": sent}, f"{path}schema/": {"get": describe}}


# Operations


def _get(
    tag: str,
    summary: str,
    schema: Schema,
    errors: Iterable[int] = (),
    parameters: Iterable[Schema] = (),
) -> Schema:
    return {
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "security": [SESSION],
        "responses": {"200": _json(summary, schema), **_errors(401, *errors, 503)},
    }


def _write(
    tag: str, summary: str, answer: Schema, body: Schema | None, errors: Iterable[int] = ()
) -> Schema:
    operation: Schema = {
        "tags": [tag],
        "summary": summary,
        "security": [SESSION_AND_TOKEN],
        "responses": answer | _errors(401, 403, *errors, 422, 503),
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
        operation["responses"] |= _errors(413)
    return operation


def _errors(*statuses: int) -> Schema:
    return {
        str(status): {"$ref": f"#/components/responses/{status}"}
        for status in sorted(set(statuses))
    }


# Parameters


def _row_id_parameter(table: DirectoryCRUD) -> Schema:
    schema = _sent_value(table.columns[table.key])
    return {"name": "row_id", "in": "path", "required": True, "schema": schema}


def _filter_parameters(table: DirectoryCRUD) -> list[Schema]:
    parameters = []
    for name in table.readable:
        column = table.columns[name]
        parameters.append(_query(f"{name}__operator", {"enum": _operators(column)}))
        if not isinstance(column, JSON):
            values = {"type": "array", "items": _sent_value(column)}
            parameters.append(_query(name, values, "The values of which one must match"))
        if isinstance(column, TEXT_COLUMNS):
            parameters.append(_query(f"{name}__match", {"enum": list(LIKE_PATTERNS)}))
    return parameters


def _operators(column: Column) -> list[str]:
    if isinstance(column, JSON):
        return list(NULL_OPERATORS)
    if isinstance(column, (ForeignKey, *TEXT_COLUMNS)):
        return [operator for operator in FILTER_OPERATORS if operator not in RANGE_OPERATORS]
    return list(FILTER_OPERATORS)


def _page_parameters(table: DirectoryCRUD) -> list[Schema]:
    return [
        _query("__page", _integer(1, MAX_LIST_PAGES)),
        _query("__page_size", _integer(1, MAX_LIST_ROWS)),
        *_column_parameters(table),
    ]


def _file_parameters(table: DirectoryCRUD) -> list[Schema]:
    return [
        *_column_parameters(table),
        _query("__delimiter", {"enum": list(DELIMITERS)}),
        _query("__readable", {"type": "boolean"}, "Add the names of the members referred to"),
    ]


def _column_parameters(table: DirectoryCRUD) -> list[Schema]:
    column = "|".join(table.readable)
    order = {"type": "string", "pattern": f"^(-?({column})(,-?({column}))*)?$"}
    visible = {"type": "string", "pattern": f"^(({column})(,({column}))*)?$"}
    return [
        _query("__order", order, "Columns, separated by commas; with - in descending order"),
        _query("__visible_fields", visible, "Columns, separated by commas"),
    ]


def _choice_parameters(table: DirectoryCRUD) -> list[Schema]:
    pages = [
        _query("limit", _integer(1, MAX_LIST_ROWS)),
        _query("offset", _integer(0, MAX_LIST_ROWS)),
    ]
    search = _query("search", {"type": "string", "pattern": STORABLE_TEXT})
    return [search, *pages] if table.policy.searched else pages


def _query(name: str, schema: Schema, description: str = "") -> Schema:
    parameter = {"name": name, "in": "query", "schema": schema}
    return parameter | ({"description": description} if description else {})


# Schemas


def _table_schemas(table: DirectoryCRUD) -> Schema:
    """Return the schemas of a table's rows: stored, listed, in a form, and sent by it."""
    name, policy = table.table._meta.tablename, table.policy
    stored: Schema = {}
    for column_name in table.readable:
        column = table.columns[column_name]
        stored[column_name] = _nullable(_stored_value(column), null=column._meta.null)
        if isinstance(column, ForeignKey):
            stored[f"{column_name}_readable"] = {"type": ["string", "null"]}
    listed = {
        column_name: {"type": ["string", "null"]} if _is_time(table, column_name) else schema
        for column_name, schema in stored.items()
    }
    form = {
        column_name: _nullable(_stored_value(table.columns[column_name]), null=True)
        for column_name in table.readable
        if column_name != table.key
    }
    return {
        name: _object(stored),
        f"{name}.listed": _object(listed, required=[]),
        f"{name}.form": _object(form),
        f"{name}.new": _sent_row(table, policy.locked_when_new, is_new=True),
        f"{name}.changes": _sent_row(table, table.locked, is_new=False),
    }


def _sent_row(table: DirectoryCRUD, locked: Iterable[str], *, is_new: bool) -> Schema:
    columns = {
        name: column
        for name, column in table.columns.items()
        if name not in locked and name != table.key
    }
    values = {
        name: _nullable(_sent_value(column), null=not column._meta.required)
        for name, column in columns.items()
    }
    required = [name for name, column in columns.items() if is_new and column._meta.required]
    return {"type": "object", "properties": values, "required": required}


def _is_time(table: DirectoryCRUD, name: str) -> bool:
    return name in table.columns and table.columns[name].value_type is datetime


def _stored_value(column: Column) -> Schema:
    """Return the schema of a value that the server sends."""
    if isinstance(column, ForeignKey):
        return {"type": "string", "format": "uuid"}
    if isinstance(column, JSON):
        return {"type": "string", "contentMediaType": "application/json"}
    if column._meta.choices:
        return {"type": "string", "enum": _choices(column)}
    return dict(_VALUES[column.value_type])


def _sent_value(column: Column) -> Schema:
    """Return the schema of a value that a form or a filter sends."""
    if isinstance(column, ForeignKey):
        return {
            "type": "string",
            "pattern": STORABLE_TEXT,
            "description": "The id of a member, or a number such as #247",
        }
    if column.value_type is int:
        limit = 2 ** (63 if isinstance(column, (BigInt, BigSerial)) else 31) - 1
        return _integer(-limit, limit)
    if isinstance(column, TEXT_COLUMNS) and not column._meta.choices:
        length = getattr(column, "length", None)
        longest = {"maxLength": length} if length else {}
        return {"type": "string", "pattern": STORABLE_TEXT, **longest}
    if column.value_type is datetime:
        return {"type": "string", "format": "date-time"}
    return _stored_value(column)


def _choices(column: Column) -> list[str]:
    choices = column._meta.choices or ()
    return [str(choice.value) for choice in choices]


def _nullable(schema: Schema, *, null: bool) -> Schema:
    if not null:
        return schema
    nullable = {**schema, "type": [schema["type"], "null"]}
    return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable


def _rows(name: str) -> Schema:
    return _object({"rows": {"type": "array", "items": _ref(f"{name}.listed")}})


def _grouped(item: Schema) -> Schema:
    items = {"type": "array", "items": item}
    return _object(
        {"grouped": {"type": "object", "additionalProperties": items}, "ungrouped": items}
    )


def _object(properties: Schema, required: Iterable[str] | None = None) -> Schema:
    """Return the schema of an object that has no other property."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
        "additionalProperties": False,
    }


def _integer(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_VALUES: dict[type, Schema] = {
    str: STRING,
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    datetime: STRING,
    date: {"type": "string", "format": "date"},
    UUID: {"type": "string", "format": "uuid"},
}
"""The schema of each type of value that needs no more knowledge of its column."""

SHARED_SCHEMAS: Schema = {
    "Form": _object({"name": STRING, "slug": STRING, "description": {"type": ["string", "null"]}}),
    "Count": _object({"count": {"type": "integer"}, "page_size": {"type": "integer"}}),
    "TableSchema": {
        "type": "object",
        "properties": {"properties": {"type": "object"}, "extra": {"type": "object"}},
        "required": ["properties", "extra"],
        "description": "A JSON Schema, with what the front end needs under `extra`",
    },
    "References": _object(
        {
            "references": {
                "type": "array",
                "items": _object({"tableName": STRING, "columnName": STRING}),
            }
        }
    ),
    "Message": _object({"detail": STRING}),
    "FieldErrors": _object({"detail": {"type": "array", "items": _ref("FieldError")}}),
    "FieldError": {
        "type": "object",
        "properties": {"loc": {"type": "array"}, "msg": STRING, "type": STRING},
        "required": ["loc", "msg", "type"],
    },
    "FormError": _object({"custom_form_error": STRING}),
}

_MESSAGE_OR_TEXT: Schema = {"anyOf": [_ref("Message"), STRING]}
_REFUSED: Schema = {"anyOf": [_ref("FieldErrors"), _ref("FormError")]}
ERRORS: Schema = {
    "400": _json("A parameter is unknown, repeated or out of range", _ref("Message")),
    "401": _json("There is no session with the right to use the panel", _object({"error": STRING})),
    # The refusal of a request without the CSRF token is a text that has no Content-Type.
    "403": {"description": "Only superusers may do this, or the CSRF token is missing"},
    "404": _json("There is no such row", _ref("Message")),
    "413": {"description": "The body is too large"},
    "422": _json("A value is refused, and nothing was changed", _REFUSED),
    "503": _json("The database is not available now", _MESSAGE_OR_TEXT),
}
"""The error responses, as components of the document."""
