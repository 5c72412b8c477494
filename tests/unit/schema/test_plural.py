"""Plurals of kinds."""

import pytest

from kroasync.schema.plural import pluralise, resource_name

PLURALS = """
widget>widgets database>databases clusterpolicy>clusterpolicies config>configs webhook>webhooks
networkpolicy>networkpolicies testnames>testnames ingress>ingresses gateway>gateways index>indices
cache>caches bus>buses address>addresses proxy>proxies quota>quotas status>statuses service>services alias>aliases
metadata>metadata deployment>deployments policy>policies watch>watches box>boxes person>people child>children
indices>indices indexes>indexes media>media medium>media fish>fish fishes>fishes basis>bases ox>oxen fox>foxes
dns>dnses https>httpses ip>ips url>urls api>apis vm>vms shelf>shelves wife>wives city>cities boy>boys
matrix>matrices hero>heroes photo>photos quiz>quizzes chassis>chassis series>series news>news price>price
octopus>octupuses analysis>analyses crisis>crises wish>wishes dice>dice die>dice aliases>aliases
"""


@pytest.mark.parametrize("pair", PLURALS.split())
def test_plural(pair: str) -> None:
    word, plural = pair.split(">")
    assert pluralise(word) == plural


def test_resource_name_is_lower_case() -> None:
    assert resource_name("NetworkPolicy") == "networkpolicies"
