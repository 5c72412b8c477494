"""The red team: every promise of docs/security.md attacked on a real control plane with RBAC on, one test an attack.

The control plane, the chart in it and the controller are those of the integration tests (`tests/conftest.py`). An
attacker is a ServiceAccount with exactly the rights its test names (`people`); what it does and what it sees goes by
its own token. The administrator only prepares, looks and cleans up.

| Who | Rights | Tests |
|---|---|---|
| editor | ClusterRole `edit` in one namespace | test_definitions, test_members, test_inventory |
| patcher of maps | `get`, `patch` (and `create`) of ConfigMaps in one namespace, an instance elsewhere | test_members |
| writer of maps | `create` of ConfigMaps in one namespace | test_memory |
| writer of instances | `create`, `patch` of one group in one namespace | test_labels, _adoption, _evaluation, _memory |
| author | `create`, `patch` of ResourceGraphDefinitions | test_evaluation |
| administrator | takes Lease, token or rights away, runs kro beside us | test_readiness |
| network | between controller and API server: loses, alters, refuses what passes (`proxy`) | test_wire |

`make test` runs a short form. `KROASYNC_ATTACKS=full` makes the attacks as big as those that once succeeded.
"""
