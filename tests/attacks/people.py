"""Users with exactly the rights that a test names, each with its own token."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from kroasync.playground import Playground
from tests.integration.cluster import Cluster, Obj, RefusedError, eventually

RBAC = "rbac.authorization.k8s.io"
Rule: TypeAlias = dict[str, Any]
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_HOUR_S = 3600


def rule(verbs: str, resources: str, group: str = "") -> Rule:
    """A rule of a role; spaces separate the words."""
    return {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": [group]}


class User(Cluster):
    """The API server as one ServiceAccount sees it."""

    def __init__(self, playground: Playground, *, token: str, name: str, home: str) -> None:
        super().__init__(playground, token=token)
        self.token = token
        self.name = name
        self.home = home

    @property
    def username(self) -> str:
        return f"system:serviceaccount:{self.home}:{self.name}"

    def may(self, verb: str, resource: str, namespace: str = "", group: str = "") -> bool:
        """Whether RBAC allows the user to do it."""
        plain, _, subresource = resource.partition("/")
        asked = {"verb": verb, "resource": plain, "subresource": subresource, "namespace": namespace, "group": group}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        return bool(self.call("POST", _REVIEWS, review)["status"]["allowed"])

    def is_refused(self, method: str, path: str, body: Any = None, **options: Any) -> bool:
        """Try a request; True if the API server says that it is forbidden or invalid."""
        try:
            self.call(method, path, body, **options)
        except RefusedError as error:
            if error.status not in (403, 422):
                raise
            return True
        return False


class People:
    """Makes users; the roles of a user are named after it and deleted with its home."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._numbers = itertools.count()
        self._made: list[User] = []
        self._cluster_scoped: list[str] = []

    def editor(self, namespace: str) -> User:
        """A user with the ClusterRole `edit` in this namespace, which is also the user's home."""
        user = self.nobody(namespace)
        self.bind(user, "ClusterRole", "edit", namespace)
        eventually(lambda: user.may("create", "configmaps", namespace), what="the role binding counts")
        return user

    def holding(self, home: str, rights: Mapping[str, Sequence[Rule]]) -> User:
        """A user of the namespace `home` with these rules in these namespaces; "" stands for the whole cluster."""
        user = self.nobody(home)
        for namespace, rules in rights.items():
            self._grant(user, namespace, rules)
        return user

    def nobody(self, home: str) -> User:
        """A user without rights of their own."""
        name = f"user-{next(self._numbers)}"
        self._cluster.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": home}}
        )
        user = User(self._cluster.playground, token=self.token(home, name), name=name, home=home)
        self._made.append(user)
        return user

    def token(self, home: str, name: str) -> str:
        """A new token of a ServiceAccount."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _HOUR_S},
        }
        path = f"/api/v1/namespaces/{home}/serviceaccounts/{name}/token"
        return str(self._cluster.call("POST", path, request)["status"]["token"])

    def bind(self, user: User, kind: str, role: str, namespace: str = "") -> str:
        """Bind a role to the user, in a namespace or everywhere; the path of the binding."""
        meta: Obj = {"name": f"{user.home}-{user.name}-{role}".replace(":", "-")}
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
            "metadata": {**meta, "namespace": namespace} if namespace else meta,
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": user.name, "namespace": user.home}],
        }
        path = self._cluster.path_of(binding)
        self._cluster.create(binding)
        if not namespace:
            self._cluster_scoped.append(path)
        return path

    def _grant(self, user: User, namespace: str, rules: Sequence[Rule]) -> None:
        kind = "Role" if namespace else "ClusterRole"
        meta: Obj = {"name": f"{user.home}-{user.name}"}
        role = {
            "apiVersion": f"{RBAC}/v1",
            "kind": kind,
            "metadata": {**meta, "namespace": namespace} if namespace else meta,
            "rules": list(rules),
        }
        self._cluster.create(role)
        if not namespace:
            self._cluster_scoped.append(self._cluster.path_of(role))
        self.bind(user, kind, meta["name"], namespace)
        last = rules[-1]
        eventually(
            lambda: user.may(last["verbs"][-1], last["resources"][-1], namespace, last["apiGroups"][-1]),
            what=f"the role of {user.name} counts",
        )

    def close(self) -> None:
        """Delete the objects that are not deleted with a namespace."""
        for path in self._cluster_scoped:
            self._cluster.delete(path)
        for user in self._made:
            user.close()


def write_kubeconfig(path: Path, user: User, *, change: Mapping[str, Any] | None = None, token_file: str = "") -> Path:
    """A kubeconfig of the user; `change` is merged into the cluster's entry. A token in a file is read again."""
    user.playground.kubeconfig_for_token(user.token, path)
    config = json.loads(path.read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"].update(change or {})
    if token_file:
        config["users"][0]["user"] = {"tokenFile": token_file}
    path.write_text(json.dumps(config), encoding="utf-8")
    return path
