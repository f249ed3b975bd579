"""The tree of who invited whom, compared with one in plain Python."""

from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.database import connect, engine
from community_directory.errors import InvalidInput, MemberNotFound
from community_directory.queries import invitations, members
from community_directory.queries.invitations import TreeCounts, TreeNode
from community_directory.queries.pages import Page
from tests.queries.cases import undone
from tests.tables import rows

# The triggers write further rows of each member, which take most of the time.
LOAD = """
SET session_replication_role = replica;
INSERT INTO community_members (member_id, telegram_id, name, primary_role, invited_by)
SELECT '#' || number, number::text, 'Member ' || number, 'developer', '#' || inviter
FROM ({}) AS given(number, inviter)
"""


async def test_a_tree_lists_all_descendants_by_depth_and_number(directory: asyncpg.Pool) -> None:
    pairs = {"#1": None, "#2": "#1", "#3": "#2", "#10": "#1", "#9": "#1", "#11": "#3", "#12": None}
    for number, invited_by in pairs.items():
        await rows.member(
            directory, member_id=number, invited_by=invited_by, name=f"Member {number}"
        )
    assert (await invitations.tree("#1")).items == [
        TreeNode("#1", "Member #1", None, 0),
        TreeNode("#2", "Member #2", "#1", 1),
        TreeNode("#9", "Member #9", "#1", 1),
        TreeNode("#10", "Member #10", "#1", 1),
        TreeNode("#3", "Member #3", "#2", 2),
        TreeNode("#11", "Member #11", "#3", 3),
    ]
    assert (await invitations.tree("#2")).items == [
        TreeNode("#2", "Member #2", "#1", 0),
        TreeNode("#3", "Member #3", "#2", 1),
        TreeNode("#11", "Member #11", "#3", 2),
    ]
    assert (
        (await invitations.tree("#12")).items
        == await invitations.lineage("#12")
        == [TreeNode("#12", "Member #12", None, 0)]
    )
    assert await invitations.lineage("#11") == [
        TreeNode("#11", "Member #11", "#3", 0),
        TreeNode("#3", "Member #3", "#2", 1),
        TreeNode("#2", "Member #2", "#1", 2),
        TreeNode("#1", "Member #1", None, 3),
    ]


async def test_a_removed_member_stays_in_the_tree(directory: asyncpg.Pool) -> None:
    for number, invited_by in {"#1": None, "#2": "#1", "#3": "#2"}.items():
        await rows.member(directory, member_id=number, invited_by=invited_by)
    await members.remove("#2", actor="test")
    assert [node.member_id for node in (await invitations.tree("#1")).items] == ["#1", "#2", "#3"]
    assert [node.member_id for node in await invitations.lineage("#3")] == ["#3", "#2", "#1"]
    assert [node.member_id for node in (await invitations.tree("#2")).items] == ["#2", "#3"]


async def test_a_merged_member_is_in_no_tree_and_leads_to_the_other_one(
    directory: asyncpg.Pool,
) -> None:
    for number, invited_by in {"#1": None, "#2": "#1", "#3": "#2"}.items():
        await rows.member(directory, member_id=number, invited_by=invited_by)
    await rows.merged_member(directory, member_id="#4", invited_by="#1", merged_into="#2")
    assert [node.member_id for node in (await invitations.tree("#1")).items] == ["#1", "#2", "#3"]
    assert (await invitations.tree("#4")).items == (await invitations.tree("#2")).items
    assert await invitations.lineage("#4") == await invitations.lineage("#2")


@pytest.mark.parametrize(
    ("inviters", "lineage", "tree"),
    [
        # #1 and #2 invited each other, #3 was invited by them.
        ({1: 2, 2: 1, 3: 2}, ["#3", "#2", "#1"], ["#3"]),
        ({1: 3, 2: 1, 3: 2}, ["#3", "#2", "#1"], ["#3", "#1", "#2"]),
        ({1: None, 2: 1, 3: 3}, ["#3"], ["#3"]),
    ],
)
async def test_a_circle_of_inviters_in_a_restored_backup_ends(
    directory_url: str, inviters: dict[int, int | None], lineage: list[str], tree: list[str]
) -> None:
    async with connect(directory_url, min_size=0), undone() as current:  # as superuser
        for number in inviters:
            await rows.member(current.connection, member_id=f"#{number}")
        await current.connection.execute(
            "SET LOCAL session_replication_role = replica; SET LOCAL statement_timeout = '30s';"
            "ALTER TABLE community_members DROP CONSTRAINT member_invited_by_check"
        )
        for number, inviter in inviters.items():
            await current.connection.execute(
                "UPDATE community_members SET invited_by = $2 WHERE member_id = $1",
                f"#{number}",
                inviter and f"#{inviter}",
            )
        for ask, expected in ((invitations.lineage, lineage), (invitations.tree, tree)):
            answer = await ask(3)
            listed = answer.items if isinstance(answer, Page) else answer
            found = [(node.member_id, node.depth) for node in listed]
            assert found == [(number, depth) for depth, number in enumerate(expected)]


@pytest.mark.parametrize("number", ["#999", "", "1", "x" * 10_000, "#1\0"])
async def test_an_unknown_member_has_no_tree(directory: asyncpg.Pool, number: str) -> None:
    for ask in (invitations.tree, invitations.lineage):
        with pytest.raises(InvalidInput if "\0" in number else MemberNotFound):
            await ask(number)


SHAPES = {
    "a chain of two hundred with fifty leaves each": (
        "SELECT number, CASE"
        " WHEN number > 200 THEN (number - 1) % 200 + 1 WHEN number > 1 THEN number - 1 END",
        200,
    ),
    "all invited by one": ("SELECT number, CASE WHEN number > 1 THEN 1 END", 1),
    "each invited ten": ("SELECT number, nullif((number + 8) / 10, 0)", 4),
}


@pytest.mark.parametrize(("shape", "depth"), SHAPES.values(), ids=SHAPES.keys())
async def test_ten_thousand_descendants_are_read_by_one_statement(
    database: str, directory: asyncpg.Pool, shape: str, depth: int
) -> None:
    await directory.execute(LOAD.format(f"{shape} FROM generate_series(1, 10001) AS number"))
    await directory.execute("ANALYZE community_members")  # as autovacuum does in time
    statements: list[str] = []

    def record(logged: Any) -> None:
        statements.append(logged.query)

    current = engine.transaction()
    async with current:
        current.connection.add_query_logger(record)
        tree = (await invitations.tree("#1", limit=20_000)).items
        lineage = await invitations.lineage(tree[-1].member_id)
        current.connection.remove_query_logger(record)
    assert statements == [
        invitations.INVITATION_TREE.first.sql,
        invitations.LIST_LINEAGE.sql,
    ]
    assert len(tree) == len({node.member_id for node in tree}) == 10_001
    assert max(node.depth for node in tree) == depth == len(lineage) - 1
    assert lineage[-1].member_id == "#1"


@st.composite
def forests(draw: st.DrawFn) -> dict[int, int | None]:
    """Draw numbers and their inviters, an earlier number or none; then shuffle the numbers."""
    size = draw(st.integers(1, 25))
    inviters = [
        draw(st.none() | st.integers(0, number - 1)) if number else None for number in range(size)
    ]
    names = draw(st.permutations(range(1, size + 1)))
    return {
        names[number]: None if inviter is None else names[inviter]
        for number, inviter in enumerate(inviters)
    }


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(forest=forests())
async def test_a_random_forest_gives_the_same_result_as_plain_python(
    directory: asyncpg.Pool, forest: dict[int, int | None]
) -> None:
    await directory.execute("TRUNCATE community_members CASCADE")
    pairs = ", ".join(f"({number}, {inviter or 'NULL'}::int)" for number, inviter in forest.items())
    await directory.execute(LOAD.format(f"VALUES {pairs}"))

    for member in forest:
        up = [member]
        while (inviter := forest[up[-1]]) is not None:
            up.append(inviter)
        lineage = await invitations.lineage(f"#{member}")
        assert [(node.member_id, node.depth) for node in lineage] == [
            (f"#{ancestor}", depth) for depth, ancestor in enumerate(up)
        ]
    root = min(forest)
    expected, level, depth = [], [root], 0
    while level:
        expected += [(f"#{number}", depth) for number in sorted(level)]
        level, depth = [number for number, inviter in forest.items() if inviter in level], depth + 1
    assert [
        (node.member_id, node.depth) for node in (await invitations.tree(f"#{root}")).items
    ] == expected


async def test_a_tree_comes_in_pages_that_together_are_the_whole(directory: asyncpg.Pool) -> None:
    pairs = {1: None, 2: 1, 3: 2, 9: 1, 10: 1, 11: 3, 12: 10, 13: 10, 14: 12}
    for number, inviter in pairs.items():
        await rows.member(directory, member_id=f"#{number}", invited_by=inviter and f"#{inviter}")
    await members.mark_bot("#10", actor="Luis")
    await rows.merged_member(directory, member_id="#15", invited_by="#2", merged_into="#3")
    whole = (await invitations.tree(1)).items
    assert [node.member_id for node in whole] == [
        "#1",
        "#2",
        "#9",
        "#3",
        "#12",
        "#13",
        "#11",
        "#14",
    ]
    for limit in range(1, len(whole) + 2):
        page = await invitations.tree(1, limit=limit)
        listed = page.items
        while page.next_cursor is not None:
            assert len(page.items) == limit
            page = await invitations.tree(1, after=page.next_cursor, limit=limit)
            listed += page.items
        assert listed == whole
    assert (await invitations.tree(1, max_depth=1)).items == whole[:3]
    assert (await invitations.tree(1, max_depth=0)).items == whole[:1]
    cursor = (await invitations.tree(1, limit=1)).next_cursor
    with pytest.raises(MemberNotFound):
        await invitations.tree(99, after=cursor)


async def test_the_members_of_a_tree_are_counted_by_level(directory: asyncpg.Pool) -> None:
    pairs = {1: None, 2: 1, 3: 2, 9: 1, 10: 1, 11: 3, 12: 10, 13: 10, 14: 12}
    for number, inviter in pairs.items():
        await rows.member(directory, member_id=f"#{number}", invited_by=inviter and f"#{inviter}")
    await members.mark_bot("#10", actor="Luis")
    await rows.merged_member(directory, member_id="#15", invited_by="#2", merged_into="#3")
    assert await invitations.tree_counts(1) == TreeCounts([2, 3, 2], is_complete=True)
    assert await invitations.tree_counts(15) == TreeCounts([1], is_complete=True)
    assert await invitations.tree_counts(14) == TreeCounts([], is_complete=True)
    assert await invitations.tree_counts(1, max_depth=1) == TreeCounts([2], is_complete=False)
    assert await invitations.tree_counts(1, max_members=3) == TreeCounts([2], is_complete=False)
    assert await invitations.tree_counts(1, max_members=4) == TreeCounts([2, 3], is_complete=False)
    with pytest.raises(MemberNotFound):
        await invitations.tree_counts(99)


async def test_the_line_of_inviters_is_cut_at_its_limit(directory: asyncpg.Pool) -> None:
    for number in range(1, 5):
        inviter = f"#{number - 1}" if number > 1 else None
        await rows.member(directory, member_id=f"#{number}", invited_by=inviter)
    assert [node.member_id for node in await invitations.lineage(4, limit=2)] == ["#4", "#3"]


@pytest.mark.parametrize(
    ("helper", "arguments"),
    [
        (invitations.tree, {"limit": 0}),
        (invitations.tree, {"limit": 20_001}),
        (invitations.tree, {"max_depth": -1}),
        (invitations.tree_counts, {"max_depth": 2**31}),
        (invitations.tree_counts, {"max_members": 0}),
        (invitations.lineage, {"limit": "2"}),
    ],
)
async def test_a_tree_refuses_arguments_out_of_range(
    directory: asyncpg.Pool, helper: Any, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await helper("#1", **arguments)
