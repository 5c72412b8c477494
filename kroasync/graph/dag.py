"""Order of a graph's nodes. The only module that knows networkx.

Every function takes `needs`: node -> the nodes it needs, keys in declaration order. Ties are broken by that
order, so a result depends on the edges and the declaration alone.
"""

import heapq
from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

import networkx as nx

from kroasync.model.steps import Steps, drained

Needs: TypeAlias = Mapping[str, Collection[str]]

# Nodes ordered in one step.
_STEP: Final = 1_000


def order(needs: Needs) -> tuple[str, ...]:
    """Topological order, what is needed first; among ready nodes the one declared first.

    Nodes of a cycle, and those that need them, are not in it.
    """
    return drained(ordering(needs))


def ordering(needs: Needs) -> Steps[tuple[str, ...]]:
    """`order` in steps."""
    places = {node: place for place, node in enumerate(needs)}
    ids = tuple(needs)
    missing = {node: len(set(others)) for node, others in needs.items()}
    users: dict[str, list[int]] = {node: [] for node in needs}
    for node, others in needs.items():
        for other in set(others):
            users[other].append(places[node])
    yield
    ready = [places[node] for node, count in missing.items() if not count]
    found: list[str] = []
    while ready:
        node = ids[heapq.heappop(ready)]
        found.append(node)
        for place in users[node]:
            missing[ids[place]] -= 1
            if not missing[ids[place]]:
                heapq.heappush(ready, place)
        if len(found) % _STEP == 0:
            yield
    return tuple(found)


def layers(needs: Needs) -> tuple[tuple[str, ...], ...]:
    """Waves of removal: first the nodes nobody needs, then those only the first wave needs, and so on."""
    waves = apply_orders(needs)
    found: list[list[str]] = [[] for _ in range(max(waves.values(), default=0))]
    for node in needs:
        found[-waves[node]].append(node)
    return tuple(map(tuple, found))


def apply_orders(needs: Needs) -> dict[str, int]:
    """Number of each node's wave, counted from what is removed last, which is 1."""
    waves = dict.fromkeys(needs, 0)
    for node in reversed(order(needs)):
        for other in needs[node]:
            waves[other] = max(waves[other], waves[node] + 1)
    last = max(waves.values(), default=0)
    return {node: last + 1 - wave for node, wave in waves.items()}


def cycles(needs: Needs) -> tuple[tuple[str, ...], ...]:
    """One shortest cycle for each group of nodes that need each other; a cycle starts and ends at its first
    declared node.
    """
    index = {node: place for place, node in enumerate(needs)}
    graph = _graph(needs)
    found = []
    for group in nx.strongly_connected_components(graph):
        start = min(group, key=index.__getitem__)
        if len(group) > 1 or graph.has_edge(start, start):
            found.append(_cycle(needs, start, group))
    return tuple(sorted(found, key=lambda cycle: index[cycle[0]]))


def _cycle(needs: Needs, start: str, group: Collection[str]) -> tuple[str, ...]:
    came_from: dict[str, str] = {}
    queue = [start]
    for node in queue:
        for other in needs[node]:
            if other == start:
                path = [node]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return (*reversed(path), start)
            if other in group and other not in came_from:
                came_from[other] = node
                queue.append(other)
    raise ValueError(f"no cycle through {start}")


def _graph(needs: Needs) -> "nx.DiGraph[str]":
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(needs)
    graph.add_edges_from((node, other) for node, others in needs.items() for other in others)
    return graph
