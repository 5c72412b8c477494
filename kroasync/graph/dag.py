"""The order of a graph's nodes. Only this module imports networkx.

Every function takes `needs`: node -> the nodes that it needs, with keys in declaration order. That order breaks ties,
so a result depends only on the edges and the declaration.
"""

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

import networkx as nx

from kroasync.model.steps import Steps, drained

Needs: TypeAlias = Mapping[str, Collection[str]]

# The number of nodes that are ordered in one step.
_STEP: Final = 1_000


def order(needs: Needs) -> tuple[str, ...]:
    """The topological order: needed nodes first; among ready nodes, the one that was declared first.

    It does not contain the nodes of a cycle, nor nodes that need them.
    """
    return drained(ordering(needs))


def ordering(needs: Needs) -> Steps[tuple[str, ...]]:
    """`order` in steps."""
    index = {node: place for place, node in enumerate(needs)}
    graph = yield from _building(needs)
    found: list[str] = []
    try:
        for node in nx.lexicographical_topological_sort(graph, key=index.__getitem__):
            found.append(node)
            if len(found) % _STEP == 0:
                yield
    except nx.NetworkXUnfeasible:
        # Raised when everything outside of the cycle is ordered.
        pass
    return tuple(found)


def layers(needs: Needs) -> tuple[tuple[str, ...], ...]:
    """Waves of removal: first the nodes that no node needs, then those that only the first wave needs, and so on."""
    return drained(_layering(needs))


def apply_orders(needs: Needs) -> dict[str, int]:
    """The number of each node's wave; the wave that is removed last is 1."""
    return drained(numbering(needs))


def numbering(needs: Needs) -> Steps[dict[str, int]]:
    """`apply_orders` in steps."""
    waves = yield from _layering(needs)
    return {node: len(waves) - place for place, wave in enumerate(waves) for node in wave}


def _layering(needs: Needs) -> Steps[tuple[tuple[str, ...], ...]]:
    index = {node: place for place, node in enumerate(needs)}
    graph = yield from _building(needs)
    found = []
    for layer in nx.topological_generations(graph.reverse(copy=False)):
        found.append(tuple(sorted(layer, key=index.__getitem__)))
        yield
    return tuple(found)


def cycles(needs: Needs) -> tuple[tuple[str, ...], ...]:
    """One shortest cycle per group of nodes that need each other; it starts and ends at its first declared node."""
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
    """The graph with edges from a node to the nodes that it needs."""
    return drained(_building(needs)).reverse()


def _building(needs: Needs) -> Steps["nx.DiGraph[str]"]:
    """The graph with edges from a node to the nodes that need it, in the direction of the order."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(needs)
    yield
    for count, (node, others) in enumerate(needs.items(), 1):
        graph.add_edges_from((other, node) for other in others)
        if count % _STEP == 0:
            yield
    return graph
