"""Order of a graph's nodes. The only module that knows networkx.

Every function takes `needs`: node -> the nodes it needs, keys in declaration order. Ties are broken by that
order, so a result depends on the edges and the declaration alone.
"""

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
    index = {node: place for place, node in enumerate(needs)}
    graph = yield from _building(needs)
    found: list[str] = []
    try:
        for node in nx.lexicographical_topological_sort(graph, key=index.__getitem__):
            found.append(node)
            if len(found) % _STEP == 0:
                yield
    except nx.NetworkXUnfeasible:
        # Told when everything outside of the cycle is ordered.
        pass
    return tuple(found)


def layers(needs: Needs) -> tuple[tuple[str, ...], ...]:
    """Waves of removal: first the nodes nobody needs, then those only the first wave needs, and so on."""
    return drained(_layering(needs))


def apply_orders(needs: Needs) -> dict[str, int]:
    """Number of each node's wave, counted from what is removed last, which is 1."""
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
    """Edges from who needs to what is needed."""
    return drained(_building(needs)).reverse()


def _building(needs: Needs) -> Steps["nx.DiGraph[str]"]:
    """Edges from what is needed to who needs it: the way the order goes."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(needs)
    yield
    for count, (node, others) in enumerate(needs.items(), 1):
        graph.add_edges_from((other, node) for other in others)
        if count % _STEP == 0:
            yield
    return graph
