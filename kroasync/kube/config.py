"""The connection to the API server: address, TLS and credentials, from a kubeconfig or a pod's service account.

kubernetes_asyncio reads kubeconfigs and runs credential plugins. Of its modules, only the one for kubeconfigs is
imported, and only for a kubeconfig: a pod's service account is only two files. Requests and watches have separate
aiohttp sessions: a watch occupies its connection for minutes, and watches that fill a common pool would block every
request.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

log = logging.getLogger("kube.config")

SERVICE_ACCOUNT_DIRECTORY: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CREDENTIAL_CHECK_S: Final = 30.0
_KEEPALIVE_S: Final = 60.0
_CONNECT_S: Final = 10.0
_READ_BUFFER: Final = 1 << 20

# What a name of a header may have beside letters and digits; quote() keeps "_.-~" anyway.
_TOKEN: Final = "!#$&'*+^`|"

Refresh = Callable[[bool], Awaitable[str | None]]
"""Returns the value of the Authorization header; the flag asks for a new credential even if the old one looks valid."""


class ConfigError(Exception):
    """The configuration is missing or unusable; the message names the file and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impersonation:
    """Whose rights the API server is to check instead of those of the credential; empty: those of the credential."""

    user: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def over(self, other: "Impersonation") -> "Impersonation":
        """What is set here, and from `other` the rest."""
        return Impersonation(
            user=self.user or other.user,
            groups=self.groups or other.groups,
            uid=self.uid or other.uid,
            extra=self.extra or other.extra,
        )

    def headers(self) -> list[tuple[str, str]]:
        """The headers, one for each group and value. Raises ConfigError."""
        if not self.user:
            if self.groups or self.uid or self.extra:
                raise ConfigError("impersonation of a group, UID or extra field without a user: use --as")
            return []
        found = [("Impersonate-User", self.user), *(("Impersonate-Group", group) for group in self.groups)]
        found += [("Impersonate-Uid", self.uid)] if self.uid else []
        found += [
            (f"Impersonate-Extra-{quote(key.lower(), safe=_TOKEN)}", value)
            for key, values in self.extra.items()
            for value in values
        ]
        for name, value in found:
            # The value is that of the user: `strip` would make it another name.
            if value != _header_value(value, of=f"header {name}"):
                raise ConfigError(f"the header {name} begins or ends with white space")
            if not value:
                raise ConfigError(f"the header {name} is empty")
        return found


_NOBODY: Final = Impersonation()


class Connection:
    """The address of an API server and two sessions to it; `close()` ends both.

    `requests` and `watches` have no limit of connections: the client limits its requests, and there is one watch
    for each kind. `options` are the keyword arguments that every request needs (proxy, TLS server name).
    """

    def __init__(
        self,
        base_url: str,
        *,
        refresh: Refresh | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
        server_name: str | None = None,
        user_agent: str = "kroasync",
        impersonation: Impersonation = _NOBODY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.options: dict[str, Any] = {}
        if proxy:
            self.options["proxy"] = proxy
        if server_name:
            self.options["server_hostname"] = server_name
        # Headers that never change are those of the sessions: a group for each needs one name several times.
        constant = [("User-Agent", user_agent), ("Accept", "application/json"), *impersonation.headers()]
        self.requests = _session(tls, constant)
        self.watches = _session(tls, constant)
        self._refresh = refresh
        self._clock = clock
        self._check_at = -float("inf")
        self._lock = asyncio.Lock()
        self._headers: dict[str, str] = {}

    async def headers(self) -> Mapping[str, str]:
        """The authentication headers of a request. While the credential is fresh, this costs one comparison."""
        if self._refresh is not None and self._clock() >= self._check_at:
            await self._check(force=False)
        return self._headers

    async def renew(self, stale: Mapping[str, str]) -> bool:
        """After a 401 for `stale` headers: get a new credential; True if it is a different one."""
        if self._refresh is None:
            return False
        if self._headers == stale:
            await self._check(force=True)
        return self._headers != stale

    async def _check(self, *, force: bool) -> None:
        async with self._lock:
            if self._refresh is None or (not force and self._clock() < self._check_at):
                return
            first = self._check_at == -float("inf")
            # Set before the attempt, so that a broken credential plugin is not started again for every request.
            self._check_at = self._clock() + CREDENTIAL_CHECK_S
            try:
                value = await self._refresh(force)
                self._headers = {"Authorization": _header_value(value)} if value else {}
            except Exception as error:
                if first:
                    raise ConfigError(f"no credential for {self.base_url}: {error}") from error
                log.warning("the credential could not be renewed; continuing with the old one: %s", error)

    async def close(self) -> None:
        await self.requests.close()
        await self.watches.close()


async def connect(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    in_cluster: bool | None = None,
    user_agent: str = "kroasync",
    impersonation: Impersonation = _NOBODY,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT_DIRECTORY,
    clock: Callable[[], float] = time.monotonic,
) -> Connection:
    """A connection from the first of: `kubeconfig`, `$KUBECONFIG`, the pod's service account, `~/.kube/config`.

    If `in_cluster` is True, the service account is used, whatever else exists; if it is False, the service account is
    ignored; None means this order. A `context` requires a kubeconfig, so the service account is ignored then. What
    `impersonation` sets goes before what the kubeconfig says (`as`, `as-groups`, `as-uid`, `as-user-extra`). Raises
    ConfigError.
    """
    explicit = kubeconfig or environ.get("KUBECONFIG") or None
    in_pod = bool(environ.get("KUBERNETES_SERVICE_HOST")) and (service_account / "token").is_file()
    if in_cluster or (in_cluster is None and not explicit and not context and in_pod):
        access = _from_service_account(service_account, environ)
    else:
        home = os.path.join(environ.get("HOME") or "~", ".kube", "config")
        access = await _from_kubeconfig(explicit or home, context, found=explicit is not None)
    _check_address(access.server)
    connection = Connection(
        access.server,
        refresh=access.refresh,
        tls=access.tls,
        proxy=access.proxy or _proxy_of(access.server, environ),
        server_name=access.server_name,
        user_agent=user_agent,
        impersonation=impersonation.over(access.impersonation),
        clock=clock,
    )
    try:
        await connection.headers()
    except ConfigError:
        await connection.close()
        raise
    return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Access:
    """The contents of a configuration."""

    server: str
    tls: ssl.SSLContext | None
    refresh: Refresh | None
    proxy: str | None = None
    server_name: str | None = None
    impersonation: Impersonation = _NOBODY


def _check_address(server: str) -> None:
    try:
        address = urlsplit(server)
        valid = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f'"{server}" is not the address of an API server: expected https://host:port')


def _from_service_account(directory: Path, environ: Mapping[str, str]) -> _Access:
    """The token and the CA that the kubelet mounts, and the address in the environment."""
    host = environ.get("KUBERNETES_SERVICE_HOST") or ""
    port = environ.get("KUBERNETES_SERVICE_PORT") or "443"
    token = directory / "token"
    if not host:
        raise ConfigError("KUBERNETES_SERVICE_HOST is not set: this is not a pod")
    if not token.is_file():
        raise ConfigError(f"{token} does not exist: the pod has no service account token")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return _Access(server=server, tls=_tls_context(server, ca=str(directory / "ca.crt")), refresh=_token_file(token))


def _token_file(path: Path) -> Refresh:
    """Reads the token file again: the kubelet replaces a projected token long before it expires."""

    async def refresh(_force: bool) -> str:
        token = path.read_text(encoding="utf-8").strip()  # noqa: ASYNC240  (a small file on a local disk)
        if not token:
            raise ConfigError(f"{path} is empty")
        return f"Bearer {token}"

    return refresh


async def _from_kubeconfig(paths: str, context: str | None, *, found: bool) -> _Access:
    with _bare_library():
        from kubernetes_asyncio.client.configuration import Configuration
        from kubernetes_asyncio.config.kube_config import ConfigNode, KubeConfigLoader, KubeConfigMerger

    existing = [p for p in _files(paths) if os.path.isfile(p)]  # noqa: ASYNC240  (once, at start)
    if not existing:
        absent = ", $KUBECONFIG is not set and this is not a pod with a service account: use --kubeconfig"
        hint = "" if found else absent
        raise ConfigError(f"no kubeconfig at {paths}{hint}")
    configuration = Configuration()
    try:
        merger = KubeConfigMerger(os.pathsep.join(existing))
        writable = all(os.access(p, os.W_OK) for p in existing)
        loader = KubeConfigLoader(
            config_dict=merger.config,
            config_base_path=None,
            active_context=context,
            # A single-use refresh token must be written back; otherwise the user's own kubectl is logged out.
            config_persister=(lambda _config: merger.save_changes()) if writable else None,
        )
        if loader._user is None:
            # A context without a user is anonymous. Over https, the library would fail with None.
            loader._user = ConfigNode("user", {})
        await loader.load_and_set(configuration)
    except Exception as error:
        # For a malformed file, the library raises arbitrary exceptions.
        detail = str(error)
        if isinstance(error, AttributeError | KeyError | TypeError | AssertionError):
            detail = f"it is malformed ({type(error).__name__}: {error})"
        raise ConfigError(f"kubeconfig {paths} cannot be used: {detail}") from error
    if not hasattr(loader, "host"):
        raise ConfigError(f"kubeconfig {paths} cannot be used: its cluster has no server")
    server = str(configuration.host)
    tls = _tls_context(
        server,
        ca=configuration.ssl_ca_cert,
        certificate=configuration.cert_file,
        key=configuration.key_file,
        verify=bool(configuration.verify_ssl),
    )
    return _Access(
        server=server,
        tls=tls,
        refresh=_kubeconfig_refresh(loader),
        proxy=configuration.proxy,
        server_name=configuration.tls_server_name,
        impersonation=_impersonation_of(loader._user.value, paths),
    )


def _impersonation_of(user: Any, paths: str) -> Impersonation:
    """The fields of a kubeconfig's user. kubectl and client-go read the same ones."""
    name, groups, uid = user.get("as") or "", user.get("as-groups") or [], user.get("as-uid") or ""
    extra = user.get("as-user-extra") or {}
    lists = [groups, *extra.values()] if isinstance(extra, dict) else [None]
    if not all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in lists):
        raise ConfigError(f"kubeconfig {paths} cannot be used: as-groups and as-user-extra: expected lists of strings")
    if not isinstance(name, str) or not isinstance(uid, str):
        raise ConfigError(f"kubeconfig {paths} cannot be used: as and as-uid: expected strings")
    return Impersonation(
        user=name,
        groups=tuple(groups),
        uid=uid,
        extra={str(key): tuple(values) for key, values in extra.items()},
    )


@contextlib.contextmanager
def _bare_library() -> Iterator[None]:
    """Inside, the packages of kubernetes_asyncio have their modules, but have not run their `__init__`.

    That would import a class for every kind of Kubernetes: 35 MB and half a second, and a kubeconfig needs none.
    Outside, an import runs it as usual.
    """
    library = find_spec("kubernetes_asyncio")
    assert library is not None
    folders = list(library.submodule_search_locations or ())
    bare = {}
    for name in ("kubernetes_asyncio", "kubernetes_asyncio.client", "kubernetes_asyncio.config"):
        if name not in sys.modules:
            bare[name] = sys.modules[name] = ModuleType(name)
            bare[name].__path__ = [os.path.join(folder, *name.split(".")[1:]) for folder in folders]
    try:
        if client := bare.get("kubernetes_asyncio.client"):
            from kubernetes_asyncio.client.configuration import Configuration

            # The loader takes both from here, but makes no client.
            client.__dict__.update(Configuration=Configuration, ApiClient=object)
        yield
    finally:
        for name in bare:
            del sys.modules[name]


def _files(paths: str) -> list[str]:
    return [os.path.expanduser(p) for p in paths.split(os.pathsep) if p]


def _kubeconfig_refresh(loader: Any) -> Refresh | None:
    """How to renew the credential of the loaded user; None for client certificates and without a credential."""
    user = loader._user
    loaded = getattr(loader, "token", None)
    if user is not None and "exec" in user:
        return _exec_refresh(loader)
    if loader.provider in ("gcp", "oidc"):
        renew = loader.load_gcp_token if loader.provider == "gcp" else loader._load_oid_token

        async def by_provider(_force: bool) -> str | None:
            await renew()
            return str(loader.token)

        return by_provider
    if user is not None and "tokenFile" in user and "token" not in user:
        base = Path(user.path).parent if user.path else Path()
        return _token_file(base / Path(str(user["tokenFile"])).expanduser())
    if loaded is None:
        return None

    async def constant(_force: bool) -> str | None:
        return str(loaded)

    return constant


def _exec_refresh(loader: Any) -> Refresh:
    """The plugin runs again when its credential is about to expire, and when the server no longer accepts it.

    A plugin that returned a client certificate does not run again: the certificate is part of the TLS context.
    """

    async def refresh(force: bool) -> str | None:
        if not hasattr(loader, "token"):
            return None
        if force:
            loader.__dict__.pop("exec_plugin_expiry", None)
        # Without an expiry, the credential is used until the server refuses it.
        if force or hasattr(loader, "exec_plugin_expiry"):
            await loader.load_from_exec_plugin()
        return str(loader.token)

    return refresh


def _header_value(value: str, *, of: str = "token") -> str:
    """A valid value for a header. Raises ConfigError, because the error of the request would not name the file."""
    value = value.strip()
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"the {of} contains characters that are not allowed in an HTTP header")
    return value


def _tls_context(
    server: str,
    *,
    ca: str | None,
    certificate: str | None = None,
    key: str | None = None,
    verify: bool = True,
) -> ssl.SSLContext | None:
    if not server.startswith("https"):
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate, keyfile=key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificates for {server} cannot be loaded: {error}") from error
    # Python 3.13 turned this on. The CAs of many clusters lack the key identifiers that it requires, and Go's
    # clients, with which kubeconfigs are tested, do not require them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy_of(base_url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for this address. NO_PROXY may contain names and networks, as in Go."""
    address = urlsplit(base_url)
    host = address.hostname or ""
    proxy = environ.get(f"{address.scheme}_proxy") or environ.get(f"{address.scheme.upper()}_PROXY")
    if not proxy:
        return None
    excluded = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")
    if host == "localhost" or any(_covers(entry.strip(), host) for entry in excluded) or _is_loopback(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _covers(entry: str, host: str) -> bool:
    """Whether an entry of NO_PROXY matches this host: `*`, an address, a network, a name or a suffix."""
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        suffix = entry.lower().lstrip("*").lstrip(".")
        return entry == "*" or host == suffix or host.endswith(f".{suffix}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _session(tls: ssl.SSLContext | None, headers: Sequence[tuple[str, str]]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            ssl=tls if tls is not None else True,
            keepalive_timeout=_KEEPALIVE_S,
            ttl_dns_cache=30,
        ),
        headers=headers,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        read_bufsize=_READ_BUFFER,
        # A Warning header may quote a long field list.
        max_field_size=1 << 16,
        max_line_size=1 << 16,
    )
