"""Where the nodes of a network are drawn before a script moves them.

The nodes are on rings: one node, or those with which the parts of the network begin, is in the
middle, and each ring has those who are one link farther away.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 1200, 800
"""The size of the picture; its middle is the point 0, 0."""
MARGIN = 40
"""The distance between the last ring and the edge."""


@dataclass(slots=True, eq=False)
class _Branch:
    """A node in the tree of the shortest ways from the middle."""

    name: str
    depth: int
    children: list["_Branch"] = field(default_factory=list)
    leaves: int = 1
    """The number of nodes at the ends of the branch."""


def place_on_rings(
    names: Sequence[str], links: Iterable[tuple[str, str]], start: str | None = None
) -> dict[str, tuple[int, int]]:
    """Return the point of each node.

    Args:
        names: The nodes, of which the first ones begin the parts of the network.
        links: The nodes at both ends of each link, which are all in `names`.
        start: The node in the middle; None for the one with which all others are linked, if there
            is one.
    """
    neighbours: Mapping[str, list[str]] = defaultdict(list)
    for one, other in links:
        neighbours[one].append(other)
        neighbours[other].append(one)
    ordered = [*([start] if start else []), *(name for name in names if name != start)]
    branches = _grow(ordered, neighbours)
    roots = [branch for branch in branches if branch.depth == 0]
    # With one part its beginning is in the middle; the beginnings of several are on the first ring.
    first_ring = 0 if len(roots) == 1 else 1
    rings = max((branch.depth for branch in branches), default=0) + first_ring
    points: dict[str, tuple[int, int]] = {}
    total, waiting, begin = sum(root.leaves for root in roots), [], 0
    for root in roots:
        waiting.append((root, begin))
        begin += root.leaves
    while waiting:
        branch, begin = waiting.pop()
        angle = 2 * math.pi * (begin + branch.leaves / 2) / total
        distance = (branch.depth + first_ring) / max(rings, 1)
        points[branch.name] = (
            round((WIDTH / 2 - MARGIN) * distance * math.cos(angle)),
            round((HEIGHT / 2 - MARGIN) * distance * math.sin(angle)),
        )
        for child in branch.children:
            waiting.append((child, begin))
            begin += child.leaves
    return points


def _grow(names: Iterable[str], neighbours: Mapping[str, Sequence[str]]) -> list[_Branch]:
    """Return the nodes as trees of the shortest ways from the first node of each part."""
    grown: list[_Branch] = []
    seen: set[str] = set()
    for name in names:
        if name in seen:
            continue
        seen.add(name)
        part = [_Branch(name, 0)]
        for branch in part:  # it grows meanwhile
            for other in neighbours[branch.name]:
                if other not in seen:
                    seen.add(other)
                    branch.children.append(_Branch(other, branch.depth + 1))
            part.extend(branch.children)
        grown += part
    for branch in reversed(grown):
        if branch.children:
            branch.leaves = sum(child.leaves for child in branch.children)
    return grown
