"""Network: who is linked with whom, and who invited whom, as a picture to walk in."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlencode

from community_directory.error_texts import gettext_noop
from community_directory.errors import (
    AmbiguousMember,
    InvalidInput,
    MemberNotFound,
    sanitize_for_message,
)
from community_directory.queries import members
from community_directory.queries.members import Member
from community_directory.queries.values import MEMBER_NUMBER_PATTERN
from community_directory.web.insights.layout import (
    PERIOD_PARAMETERS,
    ChartTable,
    InsightsPage,
    to_people,
)
from community_directory.web.insights.network_drawing import HEIGHT, WIDTH, place_on_rings
from community_directory.web.insights.network_links import (
    GROUP_SQL,
    INVITATIONS,
    MAX_NODES,
    RELATIONSHIPS,
    SAMPLE_SIZE,
    Groups,
    Link,
    NetworkQuery,
    People,
    has_type,
    list_types,
    load_network,
)
from community_directory.web.insights.period import ALL, Period
from community_directory.web.pages import Visit, clean_name
from community_directory.web.typed_members import find_member

KIND_LABELS = {
    INVITATIONS: gettext_noop("Invitations"),
    RELATIONSHIPS: gettext_noop("Relationships"),
}
GROUP_LABELS = {
    "role": gettext_noop("Role"),
    "country": gettext_noop("Country"),
    "organization": gettext_noop("Organization"),
    "tier": gettext_noop("Tier"),
    "year": gettext_noop("Year of joining"),
}
STEPS = ("1", "2", "3")
MAX_NAMED = 25
"""The number of nodes whose names are always shown, those with most links."""
MAX_DRAWN_LINKS = 2_000
"""The most links in the picture and in the table; the CSV file has all."""
MAX_WIDTH = 6
"""The width in pixels of the line of most links."""
MIN_YEAR, MAX_YEAR = 1900, 2199


@dataclass(frozen=True, slots=True)
class Node:
    """A drawn person or group.

    Attributes:
        key: The number of the person, or the value of the group.
        name: What is written beside it.
        x: The distance to the right of the middle.
        y: The distance below the middle.
        radius: The radius in pixels.
        state: The status of a person; "sent" for a group.
        text: What is known of it, in a sentence.
        path: The query of the picture around the person, or inside the group.
        people: The address of the person, or of the people in the group.
    """

    key: str
    name: str
    x: int
    y: int
    radius: int
    state: str
    text: str
    path: str
    people: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """All links that are drawn with one width, because a browser draws few paths fast.

    Attributes:
        width: The width in pixels.
        path: The links as an SVG path.
        ends: For each link the places of its nodes in the list of nodes, such as "0-7".
    """

    width: int
    path: str
    ends: str


async def build(visit: Visit, period: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    matches: list[Member] = []
    try:
        query = _read_query(visit, period, await _find_around(visit))
        found = await _load(visit, query)
    except (AmbiguousMember, MemberNotFound) as error:
        visit.problem = visit.explain(error)
        if isinstance(error, AmbiguousMember):
            matches = [await members.get(number) for number in error.member_ids]
        query = _read_query(visit, period)
        found = await _load(visit, query)
    names = [*(name for name in GROUP_SQL if not visit.query.get(name))]
    is_relationships = query.kind == RELATIONSHIPS
    nodes, links = _draw(visit, query, found)
    start = next((node for node in nodes if node.key == _find_start(found)), None)
    return {
        "kind": query.kind,
        "kinds": KIND_LABELS,
        "types": await list_types() if is_relationships else [],
        "type": query.type,
        "around": query.around,
        "typed": visit.query.get("around", ""),
        "start": start,
        "matches": matches,
        "walk_from": _make_walk_addresses(visit),
        "steps": str(query.steps),
        "all_steps": STEPS,
        "groups": found if isinstance(found, Groups) else None,
        "people": found if isinstance(found, People) else None,
        "by": _read_grouping(visit),
        "groupings": {name: GROUP_LABELS[name] for name in names},
        "chips": _list_chips(visit, start),
        "kept_here": _list_kept(visit),
        "nodes": nodes,
        "strokes": _draw_links(nodes, links),
        "drawn_links": min(len(links), MAX_DRAWN_LINKS),
        "links": links,
        "shown_names": {node.key: node for node in nodes},
        "left_out": found.left_out,
        "max_nodes": MAX_NODES,
        "sample_size": SAMPLE_SIZE,
        "max_named": MAX_NAMED,
        "size": (WIDTH, HEIGHT),
    }


async def load_nodes(visit: Visit, period: Period) -> ChartTable:
    """Return the people or groups of the picture as a table."""
    found = await _load(visit, _read_query(visit, period, await _find_around(visit)))
    if isinstance(found, Groups):
        return ChartTable(
            [_read_grouping(visit), "people", "links_inside", "links_across"],
            [(group.value, group.people, group.inside, group.across) for group in found.groups],
        )
    return ChartTable(
        ["member_id", "name", "status", "role", "country", "links"],
        [
            (
                person.member_id,
                person.name,
                person.status,
                person.primary_role,
                person.country,
                person.links,
            )
            for person in found.people
        ],
    )


async def load_links(visit: Visit, period: Period) -> ChartTable:
    """Return the links of the picture as a table."""
    found = await _load(visit, _read_query(visit, period, await _find_around(visit)))
    return ChartTable(
        ["source", "target", "types", "links"],
        [(link.source, link.target, " ".join(link.types), link.count) for link in found.links],
    )


async def _find_around(visit: Visit) -> str | None:
    """Return the number of the person from whom to walk, whom the address can name.

    Raises:
        MemberNotFound: Nobody has the name or account.
        AmbiguousMember: Several members have it.
        InvalidInput: The text is too long.
    """
    text = visit.query.get("around", "").strip()
    if not text or MEMBER_NUMBER_PATTERN.fullmatch(text):
        return text or None
    return (await find_member(text)).member_id


def _read_query(visit: Visit, period: Period, around: str | None = None) -> NetworkQuery:
    """Return what the address asks for, around a person or around nobody.

    Raises:
        InvalidInput: There is no such choice.
    """
    asked = visit.query
    kind = _check_choice("show", asked.get("show") or INVITATIONS, KIND_LABELS)
    filters = {name: asked[name] for name in GROUP_SQL if asked.get(name)} if not around else {}
    if year := filters.pop("year", None):
        if not (year.isascii() and year.isdigit() and MIN_YEAR <= int(year[:5]) <= MAX_YEAR):
            raise InvalidInput("There is no such year.", field="year")
        filters |= _filters_of_year(year)
    return NetworkQuery(
        kind,
        None if period.name == ALL else period.starts_at,
        period.ends_at,
        type=(asked.get("type") or None) if kind == RELATIONSHIPS else None,
        filters=filters,
        around=around,
        steps=int(_check_choice("steps", asked.get("steps") or "2", STEPS)),
    )


def _read_grouping(visit: Visit) -> str:
    """Return by what the people are grouped if there are too many: nothing that is chosen yet."""
    free = [name for name in GROUP_SQL if not visit.query.get(name)]
    wanted = _check_choice("by", visit.query.get("by") or (free or list(GROUP_SQL))[0], GROUP_SQL)
    return wanted if wanted in free or not free else free[0]


def _check_choice(field: str, value: str, choices: Iterable[str]) -> str:
    if value not in choices:
        raise InvalidInput("There is no such choice.", field=field)
    return value


def _filters_of_year(year: str) -> dict[str, str]:
    """Return the filters of the page People of those who became members in a year."""
    return {"member_from": date(int(year), 1, 1).isoformat(), "member_to": f"{year}-12-31"}


async def _load(visit: Visit, query: NetworkQuery) -> People | Groups:
    """Return the people, or groups of them if there are too many to draw.

    Raises:
        InvalidInput: No relationship has the type.
    """
    if query.type is not None and not await has_type(query.type):
        raise InvalidInput(f"There is no type {sanitize_for_message(query.type)}.", field="type")
    is_divided = all(visit.query.get(name) for name in GROUP_SQL)
    return await load_network(query, None if is_divided else _read_grouping(visit))


def _draw(
    visit: Visit, query: NetworkQuery, found: People | Groups
) -> tuple[list[Node], Sequence[Link]]:
    """Return the nodes with their places, and the links between them."""
    keys = (
        [person.member_id for person in found.people]
        if isinstance(found, People)
        else [group.value for group in found.groups]
    )
    ends = [(link.source, link.target) for link in found.links]
    if isinstance(found, Groups):  # all are on one ring
        ends = []
    points = place_on_rings(_order_roots(query, keys, ends), ends, _find_start(found))
    if isinstance(found, People):
        return _draw_people(visit, found, points), found.links
    return _draw_groups(visit, found, points), found.links


def _find_start(found: People | Groups) -> str | None:
    return found.start if isinstance(found, People) else None


def _order_roots(
    query: NetworkQuery, keys: Sequence[str], ends: Sequence[tuple[str, str]]
) -> Sequence[str]:
    """Return the nodes so that a tree of invitations begins with whoever nobody invited."""
    if query.kind != INVITATIONS:
        return keys
    invited = {target for _, target in ends}
    return sorted(keys, key=lambda key: key in invited)


def _draw_people(visit: Visit, found: People, points: Mapping[str, tuple[int, int]]) -> list[Node]:
    words = visit.translation
    address = _make_walk_addresses(visit)
    return [
        Node(
            key=person.member_id,
            name=clean_name(person.name),
            x=points[person.member_id][0],
            y=points[person.member_id][1],
            radius=round(min(5 + 1.5 * math.sqrt(person.links), 18)),
            state="contact" if person.status == "not_member" else person.status,
            text=visit.ngettext(
                "{name}, {status}: {number} link",
                "{name}, {status}: {number} links",
                person.links,
                name=clean_name(person.name),
                status=words.word(person.status),
                number=person.links,
            ),
            path=address(person.member_id),
            people=f"/people/{person.member_id[1:]}/",
        )
        for person in found.people
    ]


def _draw_groups(visit: Visit, found: Groups, points: Mapping[str, tuple[int, int]]) -> list[Node]:
    by = _read_grouping(visit)
    largest = max((group.people for group in found.groups), default=1)
    show = _value_shower(visit, by)
    nodes = []
    for group in found.groups:
        name = clean_name(show(group.value))
        filters = _group_filters(visit, by, group.value)
        x, y = points[group.value]
        nodes.append(
            Node(
                key=group.value,
                name=name,
                x=x,
                y=y,
                radius=round(6 + 34 * math.sqrt(group.people / largest)),
                state="sent",
                text=visit.ngettext(
                    "{name}: {number} person",
                    "{name}: {number} people",
                    group.people,
                    name=name,
                    number=group.people,
                ),
                path=_make_query(visit, by=None, around=None, **{by: group.value}),
                people=to_people(**filters),
            )
        )
    return nodes


def _group_filters(visit: Visit, by: str, value: str) -> dict[str, str]:
    """Return the filters of the page People that find exactly the people of a group."""
    chosen = {name: visit.query[name] for name in GROUP_SQL if visit.query.get(name)}
    filters = {"status": "present", **chosen, by: value}
    if year := filters.pop("year", None):
        filters |= _filters_of_year(year)
    return filters


def _draw_links(nodes: Sequence[Node], links: Sequence[Link]) -> list[Stroke]:
    """Return the links that are most; the width of a line grows with their number."""
    places = {node.key: place for place, node in enumerate(nodes)}
    most = max((link.count for link in links), default=1)
    by_width: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for link in links[:MAX_DRAWN_LINKS]:
        width = 1 + (link.count - 1) * MAX_WIDTH // most
        by_width[width].append((places[link.source], places[link.target]))
    return [
        Stroke(
            width,
            "".join(f"M{nodes[a].x} {nodes[a].y}L{nodes[b].x} {nodes[b].y}" for a, b in ends),
            " ".join(f"{a}-{b}" for a, b in ends),
        )
        for width, ends in by_width.items()
    ]


def _value_shower(visit: Visit, by: str) -> Callable[[str], str]:
    """Return the function that shows a value of a grouping in the visitor's language."""
    words = visit.translation
    return {"role": words.role, "country": words.country, "tier": words.word}.get(by, str)


def _list_chips(visit: Visit, start: Node | None) -> list[tuple[str, str]]:
    """Return the groups, or the person, to which the address is limited.

    Each has a text and the query without it.
    """
    if start is not None:
        text = visit.gettext("Around {name}", name=start.name)
        return [(text, _make_query(visit, around=None, steps=None))]
    return [
        (
            _value_shower(visit, name)(visit.query[name]),
            _make_query(visit, around=None, **{name: None}),
        )
        for name in GROUP_SQL
        if visit.query.get(name)
    ]


def _list_kept(visit: Visit) -> list[tuple[str, str]]:
    """Return the parameters that stay when another person, type or grouping is chosen."""
    kept = ("show", *PERIOD_PARAMETERS, *GROUP_SQL)
    return [(name, value) for name, value in visit.query.items() if name in kept]


def _make_query(visit: Visit, **changes: str | None) -> str:
    """Return the query of the address with some parameters changed; None leaves one out."""
    parameters = {**visit.query, **changes}
    return "?" + urlencode({name: value for name, value in parameters.items() if value})


def _make_walk_addresses(visit: Visit) -> Callable[[str], str]:
    """Return the function that makes the query of the picture around a person."""
    left_out = dict.fromkeys(("around", "by", *GROUP_SQL))
    rest = _make_query(visit, **left_out).removeprefix("?")
    return lambda member_id: f"?around={member_id[1:]}" + (f"&{rest}" if rest else "")


PAGE = InsightsPage(
    "network", build, {"nodes": load_nodes, "links": load_links}, default_period=ALL
)
