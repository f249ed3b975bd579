"""A statement turns the names of its parameters into numbers, and orders the values."""

import asyncpg
import pytest

from community_directory.database import Statement, engine, transaction


def test_parameters_are_numbered_in_the_order_of_their_first_appearance() -> None:
    statement = Statement("SELECT :second, :first")
    assert statement.sql == "SELECT $1, $2"
    assert statement.parameters == ("second", "first")


def test_a_repeated_name_keeps_its_number() -> None:
    statement = Statement("SELECT :name, :other WHERE :name = :other OR :last")
    assert statement.sql == "SELECT $1, $2 WHERE $1 = $2 OR $3"
    assert statement.parameters == ("name", "other", "last")


def test_a_name_that_begins_with_another_name_is_a_parameter_of_its_own() -> None:
    statement = Statement("SELECT :member, :member_id, :member_id_2")
    assert statement.sql == "SELECT $1, $2, $3"
    assert statement.parameters == ("member", "member_id", "member_id_2")


def test_a_statement_without_parameters_stays_as_it_is() -> None:
    statement = Statement("SELECT 1")
    assert (statement.sql, statement.parameters) == ("SELECT 1", ())
    assert statement.arguments({}) == []


@pytest.mark.parametrize(
    ("sql", "numbered"),
    [
        ("SELECT :name::text", "SELECT $1::text"),
        ("SELECT :name::varchar(20)[]", "SELECT $1::varchar(20)[]"),
        ("SELECT now()::date, :name", "SELECT now()::date, $1"),
        ("SELECT (:name)", "SELECT ($1)"),
        ("SELECT ARRAY[:name]", "SELECT ARRAY[$1]"),
        ("SELECT data->:name", "SELECT data->$1"),
        ("SELECT\n:name\n", "SELECT\n$1\n"),
    ],
)
def test_a_cast_or_an_operator_beside_a_parameter_stays_as_it_is(sql: str, numbered: str) -> None:
    statement = Statement(sql)
    assert statement.sql == numbered
    assert statement.parameters == ("name",)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ':name'",
        "SELECT 'at 12:30', '{\"a\":null}'",
        "SELECT 'it''s :name'",
        "SELECT 'two\nlines :name'",
        'SELECT 1 AS ":name"',
        'SELECT 1 AS "a "":name"',
        "SELECT 1 -- :name",
        "SELECT 1 -- it's :name\n+ 1",
        "SELECT 1 /* :name,\n:other */",
        "SELECT '-- a comment', '/* another :name'",
        "SELECT '$1'",
        "SELECT 1::text",
        "SELECT values[1:2]",
        "SELECT values[low:high]",
    ],
)
def test_a_colon_that_begins_no_parameter_stays_as_it_is(sql: str) -> None:
    statement = Statement(sql)
    assert (statement.sql, statement.parameters) == (sql, ())


def test_a_parameter_after_a_string_or_a_comment_is_found() -> None:
    statement = Statement("SELECT 'a:b', :one -- it's :this\n, \"c:d\", /* ' */ :two::text")
    assert statement.sql == "SELECT 'a:b', $1 -- it's :this\n, \"c:d\", /* ' */ $2::text"
    assert statement.parameters == ("one", "two")


def test_a_numbered_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Give the parameter \$2 a name, like the others\.$"):
        Statement("SELECT :one, $2")


def test_values_are_ordered_like_their_parameters() -> None:
    statement = Statement("SELECT :second, :first, :second")
    assert statement.arguments({"first": 1, "second": 2}) == [2, 1]
    assert statement.arguments({"second": None, "first": None}) == [None, None]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "no value for one, two"),
        ({"one": 1}, "no value for two"),
        ({"one": 1, "two": 2, "three": 3}, "no parameter three"),
        ({"one": 1, "three": 3}, "no value for two; no parameter three"),
    ],
)
def test_missing_and_unknown_values_are_named(values: dict[str, object], problem: str) -> None:
    statement = Statement("SELECT :one, :two")
    with pytest.raises(TypeError) as error:
        statement.arguments(values)
    assert str(error.value) == f"The values do not fit the statement: {problem}."


async def test_a_statement_runs_with_its_values_in_their_places(directory: asyncpg.Pool) -> None:
    statement = Statement(
        "SELECT :second::text AS second, :first::int AS first, ':first' AS text -- :second\n"
        "WHERE :first = 1 AND :second <> ''"
    )
    expected = {"second": "b", "first": 1, "text": ":first"}
    assert [dict(row) for row in await engine.fetch(statement, first=1, second="b")] == [expected]
    async with transaction():
        rows = await engine.fetch(statement, second="b", first=1)
        assert [dict(row) for row in rows] == [expected]


async def test_a_parameter_may_have_the_name_of_an_argument_of_fetch(
    directory: asyncpg.Pool,
) -> None:
    statement = Statement("SELECT :self::int + :statement::int AS sum")
    [row] = await engine.fetch(statement, self=1, statement=2)
    assert row["sum"] == 3


async def test_values_that_do_not_fit_are_refused_before_anything_runs() -> None:
    statement = Statement("SELECT :one")
    with pytest.raises(TypeError, match="no value for one"):
        await engine.fetch(statement)
    with pytest.raises(TypeError, match="no parameter two"):
        await engine.fetch(statement, one=1, two=2)


async def test_positional_values_of_a_statement_are_refused() -> None:
    with pytest.raises(TypeError, match="A Statement takes named values"):
        await engine.fetch(Statement("SELECT :one"), 1)
    with pytest.raises(TypeError, match="A Statement takes named values"):
        await engine.fetch(Statement("SELECT :one"), 1, one=1)
    with pytest.raises(TypeError, match="A Statement takes named values"):
        await engine.fetch(Statement("SELECT 1"), 1)


async def test_named_values_of_plain_sql_are_refused() -> None:
    with pytest.raises(TypeError, match="Plain SQL takes positional values"):
        await engine.fetch("SELECT $1", one=1)
