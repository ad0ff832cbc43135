"""The graph as a picture: a box an asset, from left to right in the order of the work, with what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autorisk_dagster.reporting.dashboard.fleet_data import PipelineNode

WIDTH: Final = 168  # of a box, in the picture's own px
HEIGHT: Final = 46
GAP_X: Final = 34
GAP_Y: Final = 14


@dataclass(frozen=True)
class Box:
    """An asset in the picture; `share` is the part of the videos that have it."""

    node: PipelineNode
    x: int
    y: int
    share: float
    state: str  # "all", "some" or "none"


@dataclass(frozen=True)
class Picture:
    """Boxes, and the curves between them as SVG paths."""

    boxes: list[Box]
    curves: list[str]
    width: int
    height: int


def draw(nodes: Sequence[PipelineNode]) -> Picture:
    """Lay the graph out: a column is one step further from the sources, a row within it near its parents' rows."""
    by_name = {node.name: node for node in nodes}
    depth: dict[str, int] = {}

    def depth_of(name: str, path: tuple[str, ...] = ()) -> int:
        if name not in depth:
            parents = [one for one in by_name[name].parents if one in by_name and one not in path]
            depth[name] = 1 + max((depth_of(one, (*path, name)) for one in parents), default=-1)
        return depth[name]

    for node in nodes:
        depth_of(node.name)
    columns: list[list[PipelineNode]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in nodes:
        columns[depth[node.name]].append(node)
    row: dict[str, float] = {}
    tallest = max((len(column) for column in columns), default=0)
    for column in columns:
        # Near the mean row of the parents, as in Sugiyama's barycentre step; by name where that says nothing.
        def wanted(node: PipelineNode) -> tuple[float, str]:
            rows = [row[parent] for parent in node.parents if parent in row]
            return (sum(rows) / len(rows) if rows else tallest / 2, node.name)

        first = (tallest - len(column)) / 2
        for position, node in enumerate(sorted(column, key=wanted)):
            row[node.name] = first + position
    boxes = {
        node.name: Box(
            node,
            x=4 + depth[node.name] * (WIDTH + GAP_X),
            y=4 + round(row[node.name] * (HEIGHT + GAP_Y)),
            share=node.made / node.of if node.of else 0.0,
            state="none" if node.made == 0 else "all" if node.made >= node.of else "some",
        )
        for node in nodes
    }
    curves = [
        _curve(boxes[parent], boxes[node.name])
        for node in nodes
        for parent in _direct(node, by_name)
        if parent in boxes
    ]
    return Picture(
        list(boxes.values()),
        curves,
        width=8 + len(columns) * (WIDTH + GAP_X) - GAP_X,
        height=8 + tallest * (HEIGHT + GAP_Y) - GAP_Y,
    )


def _direct(node: PipelineNode, by_name: dict[str, PipelineNode]) -> list[str]:
    """Parents that no other parent already leads back to: the picture's lines, fewer than the graph's."""

    def ancestors(name: str, seen: set[str]) -> set[str]:
        for parent in by_name[name].parents if name in by_name else ():
            if parent not in seen:
                seen.add(parent)
                ancestors(parent, seen)
        return seen

    behind = set().union(*(ancestors(parent, set()) for parent in node.parents)) if node.parents else set()
    return [parent for parent in node.parents if parent not in behind]


def _curve(start: Box, end: Box) -> str:
    x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT // 2, end.x, end.y + HEIGHT // 2
    middle = (x2 - x1) // 2
    return f"M{x1} {y1} C{x1 + middle} {y1} {x2 - middle} {y2} {x2} {y2}"
