"""The red team: each test attacks one promise of docs/security.md on a real control plane with RBAC.

The control plane, the chart in it and the controller are those of the integration tests (`tests/conftest.py`). An
attacker is a ServiceAccount with exactly the rights that its test names (`people`), and sends every request with its
own token. The administrator only prepares, looks and cleans up.

| Who | Rights | Tests |
|---|---|---|
| editor | ClusterRole `edit` in one namespace | test_definitions, test_members, test_inventory |
| patcher of maps | `get`, `patch` (and `create`) of ConfigMaps in one namespace, an instance elsewhere | test_members |
| writer of maps | `create` of ConfigMaps in one namespace | test_memory |
| writer of instances | `create`, `patch` of one group in one namespace | test_labels, _adoption, _evaluation, _memory |
| author | `create`, `patch` of ResourceGraphDefinitions | test_evaluation |
| administrator | removes the Lease, the token or rights, runs kro in the same cluster | test_readiness |
| network | between controller and API server: loses, alters and refuses messages (`proxy`) | test_wire |

`make test` runs a short form. `KROASYNC_ATTACKS=full` makes the attacks as big as those that once succeeded.
"""
