"""Order of a graph's nodes. The only module that knows networkx.

Every function takes `needs`: node -> the nodes it needs, keys in declaration order. Ties are broken by that
order, so a result depends on the edges and the declaration alone.
"""

from collections.abc import Collection, Mapping
from typing import TypeAlias

import networkx as nx

Needs: TypeAlias = Mapping[str, Collection[str]]


def order(needs: Needs) -> tuple[str, ...]:
    """Topological order, what is needed first; among ready nodes the one declared first.

    The graph must be acyclic.
    """
    index = {node: place for place, node in enumerate(needs)}
    return tuple(nx.lexicographical_topological_sort(_graph(needs).reverse(copy=False), key=index.__getitem__))


def layers(needs: Needs) -> tuple[tuple[str, ...], ...]:
    """Waves of removal: first the nodes nobody needs, then those only the first wave needs, and so on."""
    index = {node: place for place, node in enumerate(needs)}
    generations = nx.topological_generations(_graph(needs))
    return tuple(tuple(sorted(layer, key=index.__getitem__)) for layer in generations)


def apply_orders(needs: Needs) -> dict[str, int]:
    """Number of each node's wave, counted from what is removed last, which is 1."""
    waves = layers(needs)
    return {node: len(waves) - place for place, wave in enumerate(waves) for node in wave}


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
