"""Order, waves and cycles; in the tables `X>Y` means that Y needs X."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.graph import dag


def needs(nodes, *edges):
    graph = {node: [] for node in nodes}
    for edge in edges:
        first, then = edge.split(">")
        graph[then].append(first)
    return graph


@pytest.mark.parametrize(
    ("nodes", "edges", "expected"),
    [
        ("ABCDEF", [], "ABCDEF"),
        ("ABCDEF", ["C>D"], "ABCDEF"),
        ("ABCDEF", ["D>C"], "ABDCEF"),
        ("ABCDEF", ["F>A", "F>B", "B>A"], "CDEFBA"),
        ("ABCDEF", ["B>A", "C>A", "D>B", "D>C", "F>E", "A>E"], "DBCAFE"),
        ("ABCD", ["A>B", "C>B", "C>D"], "ACBD"),
        ("", [], ""),
    ],
)
def test_order(nodes, edges, expected):
    assert "".join(dag.order(needs(nodes, *edges))) == expected


@pytest.mark.parametrize(
    ("nodes", "edges", "expected"),
    [
        ("", [], []),
        ("ABC", [], ["ABC"]),
        ("ABC", ["A>B", "B>C"], ["C", "B", "A"]),
        ("ABCD", ["A>B", "A>C", "B>D", "C>D"], ["D", "BC", "A"]),
        ("ABCDE", ["A>B", "A>C", "B>D"], ["CDE", "B", "A"]),
    ],
)
def test_waves(nodes, edges, expected):
    graph = needs(nodes, *edges)
    assert ["".join(wave) for wave in dag.layers(graph)] == expected
    numbers = dag.apply_orders(graph)
    for place, wave in enumerate(expected):
        assert all(numbers[node] == len(expected) - place for node in wave)


def test_the_node_needed_most_has_wave_one():
    assert dag.apply_orders(needs("ABC", "A>B", "B>C")) == {"A": 1, "B": 2, "C": 3}


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": ["b"], "b": ["a"]}, [("a", "b", "a")]),
        ({"a": ["a"]}, [("a", "a")]),
        ({"a": ["b"], "b": ["c"], "c": ["d"], "d": ["a"]}, [("a", "b", "c", "d", "a")]),
        ({"x": [], "b": ["c"], "c": ["b"], "p": ["q"], "q": ["p"]}, [("b", "c", "b"), ("p", "q", "p")]),
        ({"a": ["b"], "b": []}, []),
    ],
)
def test_cycles_start_and_end_at_the_first_declared_node(graph, expected):
    assert list(dag.cycles(graph)) == expected


_GRAPHS = st.integers(0, 8).flatmap(
    lambda n: st.fixed_dictionaries(
        {f"n{i}": st.lists(st.sampled_from([f"n{j}" for j in range(n)]), unique=True, max_size=3) for i in range(n)}
    )
)


@given(_GRAPHS)
def test_a_graph_has_an_order_or_a_real_cycle(graph):
    cycles = dag.cycles(graph)
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        assert all(after in graph[before] for before, after in pairwise(cycle))
    if not cycles:
        order = dag.order(graph)
        assert sorted(order) == sorted(graph)
        assert all(order.index(other) < order.index(node) for node in graph for other in graph[node])
        numbers = dag.apply_orders(graph)
        assert all(numbers[other] < numbers[node] for node in graph for other in graph[node])
