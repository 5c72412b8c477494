"""The sources of the connection, and the renewal of its credential."""

import base64
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from kroasync.kube.api_errors import UnreachableError
from kroasync.kube.client import Client
from kroasync.kube.config import CREDENTIAL_CHECK_S, ConfigError, Connection, Impersonation, connect

Connect = Callable[..., Any]


@pytest.fixture
async def open_(tmp_path: Path) -> AsyncIterator[Connect]:
    """`connect` with an empty environment and home, closed at the end."""
    made: list[Connection] = []

    async def make(environ: dict[str, str] | None = None, **options: Any) -> Connection:
        options.setdefault("service_account", tmp_path / "none")
        made.append(await connect(environ={"HOME": str(tmp_path), **(environ or {})}, **options))
        return made[-1]

    yield make
    for connection in made:
        await connection.close()


def kubeconfig(server: str = "http://127.0.0.1:1", user: Any = None, cluster: Any = None, **more: Any) -> str:
    """JSON is YAML."""
    return orjson.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "main",
            "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
            "users": [{"name": "u", "user": user or {"token": "t"}}],
            "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
            **more,
        }
    ).decode()


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


# A certificate that signs nothing, because a trust store must not be empty.
CA = """\
-----BEGIN CERTIFICATE-----
MIIBezCCASGgAwIBAgIUHJIUZDt3x0ll/OAFC+hUrUTCtF8wCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHdGVzdC1jYTAgFw0yNjExMjIyMDA5NDhaGA8yMTI2MTAyOTIw
MDk0OFowEjEQMA4GA1UEAwwHdGVzdC1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABHa1CxriOzDVq0w7BDo3bzKJV+um8FQDqtk2aZapY9+Pe07LXmVC/7Cz4LjG
M8CD9H/boY3kpheMdGk4Pams6hejUzBRMB0GA1UdDgQWBBTYQBjVI6TkjG8smg9/
JHRUOsFeJDAfBgNVHSMEGDAWgBTYQBjVI6TkjG8smg9/JHRUOsFeJDAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQC9sGI6HUGQp+skLD1+cAvel69B
+vACeGoy18BgpTTw1AIgHwdVNPbWiiD4dUiaWVEtdU965/Ac1rh98+tYPbETBC0=
-----END CERTIFICATE-----
"""


def service_account(directory: Path, token: str = "sa-token\n") -> Path:
    directory.mkdir()
    write(directory / "token", token)
    write(directory / "ca.crt", CA)
    return directory


POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


async def test_precedence(open_: Connect, tmp_path: Path) -> None:
    """Flag, $KUBECONFIG, service account, ~/.kube/config; each is used if the previous ones do not exist."""
    flag = write(tmp_path / "flag", kubeconfig("http://flag"))
    environ = {"KUBECONFIG": write(tmp_path / "env", kubeconfig("http://env")), **POD}
    write(tmp_path / ".kube" / "config", kubeconfig("http://home"))
    account = service_account(tmp_path / "sa")
    assert (await open_(environ, kubeconfig=flag, service_account=account)).base_url == "http://flag"
    assert (await open_(environ, service_account=account)).base_url == "http://env"
    assert (await open_(POD, service_account=account)).base_url == "https://10.0.0.1:6443"
    assert (await open_(POD)).base_url == "http://home"
    assert (await open_({}, service_account=account)).base_url == "http://home"


async def test_in_cluster_can_be_forced_and_forbidden(open_: Connect, tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config", kubeconfig("http://home"))
    account = service_account(tmp_path / "sa")
    environ = {"KUBECONFIG": write(tmp_path / "env", kubeconfig("http://env")), **POD}
    assert (await open_(environ, service_account=account, in_cluster=True)).base_url == "https://10.0.0.1:6443"
    assert (await open_(POD, service_account=account, in_cluster=False)).base_url == "http://home"
    assert (await open_(POD, service_account=account, context="main")).base_url == "http://home"


async def test_ipv6_address_of_the_service(open_: Connect, tmp_path: Path) -> None:
    account = service_account(tmp_path / "sa")
    connection = await open_({"KUBERNETES_SERVICE_HOST": "fd00::1"}, service_account=account)
    assert connection.base_url == "https://[fd00::1]:443"


async def test_the_service_accounts_token_is_read_again(tmp_path: Path) -> None:
    account = service_account(tmp_path / "sa")
    connection = await connect(environ=POD, service_account=account)
    try:
        assert await connection.headers() == {"Authorization": "Bearer sa-token"}
        write(account / "token", "rotated")
        assert await connection.renew({"Authorization": "Bearer sa-token"})
        assert await connection.headers() == {"Authorization": "Bearer rotated"}
    finally:
        await connection.close()


async def test_context_and_several_files(open_: Connect, tmp_path: Path) -> None:
    contexts = [
        {"name": "main", "context": {"cluster": "c", "user": "u"}},
        {"name": "other", "context": {"cluster": "d", "user": "u"}},
    ]
    one = write(tmp_path / "1", kubeconfig("http://one", contexts=contexts))
    two = write(
        tmp_path / "2",
        kubeconfig(clusters=[{"name": "d", "cluster": {"server": "http://two/"}}], users=[], contexts=[]),
    )
    assert (await open_({"KUBECONFIG": f"{one}:{two}:/missing"}, context="other")).base_url == "http://two"
    assert (await open_({"KUBECONFIG": f"{one}:{two}"})).base_url == "http://one"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "abc"}, "Bearer abc"),
        ({"token": "abc\n"}, "Bearer abc"),
        (
            {"username": "me", "password": "pass"},
            "Basic " + base64.b64encode(b"me:pass").decode(),
        ),
    ],
)
async def test_credentials_of_a_kubeconfig(open_: Connect, tmp_path: Path, user: Any, expected: str) -> None:
    connection = await open_(kubeconfig=write(tmp_path / "k", kubeconfig(user=user)))
    assert await connection.headers() == {"Authorization": expected}


async def test_a_context_without_a_user_is_anonymous(open_: Connect, tmp_path: Path) -> None:
    contexts = [{"name": "main", "context": {"cluster": "c"}}]
    connection = await open_(kubeconfig=write(tmp_path / "k", kubeconfig("https://api.example", contexts=contexts)))
    assert await connection.headers() == {}
    assert not await connection.renew({})


async def test_a_token_file_beside_the_kubeconfig_is_read_again(open_: Connect, tmp_path: Path) -> None:
    write(tmp_path / "token", "first")
    connection = await open_(kubeconfig=write(tmp_path / "k", kubeconfig(user={"tokenFile": "token"})))
    assert await connection.headers() == {"Authorization": "Bearer first"}
    write(tmp_path / "token", "second")
    assert await connection.renew({"Authorization": "Bearer first"})
    assert await connection.headers() == {"Authorization": "Bearer second"}


def plugin(directory: Path, expires: str = "") -> dict[str, Any]:
    """A credential plugin that counts its runs in the token."""
    program = directory / "plugin"
    expiry = f', "expirationTimestamp": "{expires}"' if expires else ""
    program.write_text(
        f"#!{sys.executable}\nimport pathlib\n"
        f"count = pathlib.Path({str(directory / 'runs')!r})\n"
        "runs = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(runs))\n"
        'print(\'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
        f' "status": {{"token": "run%d"{expiry}}}}}\' % runs)\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}}


@pytest.mark.filterwarnings("ignore:.*utc:DeprecationWarning")
@pytest.mark.parametrize(("expires", "later"), [("2099-01-01T00:00:00Z", "run1"), ("", "run1")])
async def test_a_plugin_runs_once_while_its_credential_is_good(
    open_: Connect, tmp_path: Path, expires: str, later: str
) -> None:
    now = 0.0
    config = write(tmp_path / "k", kubeconfig(user=plugin(tmp_path, expires)))
    connection = await open_(kubeconfig=config, clock=lambda: now)
    assert await connection.headers() == {"Authorization": "Bearer run1"}
    now += CREDENTIAL_CHECK_S
    assert await connection.headers() == {"Authorization": f"Bearer {later}"}


@pytest.mark.filterwarnings("ignore:.*utc:DeprecationWarning")
async def test_a_plugin_runs_again_before_its_credential_expires(open_: Connect, tmp_path: Path) -> None:
    user = plugin(tmp_path, "2001-01-01T00:00:00Z")
    now = 0.0
    connection = await open_(kubeconfig=write(tmp_path / "k", kubeconfig(user=user)), clock=lambda: now)
    before = (await connection.headers())["Authorization"]
    now += CREDENTIAL_CHECK_S
    assert (await connection.headers())["Authorization"] != before


async def test_a_plugin_runs_again_when_the_server_refuses(open_: Connect, tmp_path: Path) -> None:
    connection = await open_(kubeconfig=write(tmp_path / "k", kubeconfig(user=plugin(tmp_path))))
    assert await connection.renew({"Authorization": "Bearer run1"})
    assert await connection.headers() == {"Authorization": "Bearer run2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "malformed"),
        ("[]", "malformed"),
        ("a: [", "cannot be used"),
        ("{}", "Expected key current-context"),
        ("current-context: x", "Expected object with name x"),
        (kubeconfig(contexts=[]), "main"),
        (kubeconfig(clusters=[]), "Expected object with name c"),
        (kubeconfig(clusters=[{"name": "c", "cluster": {}}]), "cannot be used"),
        (kubeconfig(clusters=[{"name": "c", "cluster": {"insecure-skip-tls-verify": True}}]), "no server"),
        (
            kubeconfig("https://x", cluster={"certificate-authority": "missing.crt"}),
            "missing.crt",
        ),
        (kubeconfig("https://x", cluster={"certificate-authority-data": "!!!"}), "x"),
        (kubeconfig("https://x", cluster={"certificate-authority-data": "aGVsbG8="}), "certificates for"),
        (kubeconfig("api.example:6443"), "not the address of an API server"),
        (kubeconfig("http://api.example:99999"), "not the address of an API server"),
        (kubeconfig("http://[::1"), "not the address of an API server"),
        (kubeconfig("http://"), "not the address of an API server"),
        (kubeconfig(user={"exec": {"command": "x"}}), "apiVersion"),
        (kubeconfig(user={"exec": {"command": "/no/such/plugin", "apiVersion": "v1"}}), "no/such/plugin"),
        (kubeconfig(user={"token": "bad\ttoken"}), "not allowed in an HTTP header"),
    ],
)
async def test_what_is_wrong_with_a_kubeconfig(open_: Connect, tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "broken", text)
    with pytest.raises(ConfigError, match=message):
        await open_(kubeconfig=path)


async def test_a_missing_kubeconfig_is_named(open_: Connect, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no kubeconfig at /no/such/file$"):
        await open_(kubeconfig="/no/such/file")
    with pytest.raises(ConfigError, match=r"\.kube/config, \$KUBECONFIG is not set"):
        await open_()


async def test_no_service_account_when_it_is_asked_for(open_: Connect, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        await open_(in_cluster=True)
    with pytest.raises(ConfigError, match="token does not exist"):
        await open_(POD, in_cluster=True)


@pytest.mark.parametrize(
    ("server", "environ", "proxy"),
    [
        ("https://api.example", {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ("https://api.example", {"https_proxy": "http://p", "HTTPS_PROXY": "http://q"}, "http://p"),
        ("http://api.example", {"HTTPS_PROXY": "http://p"}, None),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "x, .example"}, None),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "api.example"}, None),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, None),
        ("https://api.example", {"HTTPS_PROXY": "http://p", "NO_PROXY": "i.example,,ample"}, "http://p"),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p", "NO_PROXY": "11.0.0.0/8"}, "http://p"),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p"}, None),
        ("https://localhost", {"HTTPS_PROXY": "http://p"}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p"}, None),
    ],
)
async def test_proxy_of_the_environment(
    open_: Connect, tmp_path: Path, server: str, environ: dict[str, str], proxy: str | None
) -> None:
    connection = await open_(environ, kubeconfig=write(tmp_path / "k", kubeconfig(server)))
    assert connection.options.get("proxy") == proxy


async def test_proxy_and_server_name_of_the_kubeconfig(open_: Connect, tmp_path: Path) -> None:
    cluster = {"proxy-url": "http://own", "tls-server-name": "inner"}
    path = write(tmp_path / "k", kubeconfig("https://api.example", cluster=cluster))
    connection = await open_({"HTTPS_PROXY": "http://p"}, kubeconfig=path)
    assert connection.options == {"proxy": "http://own", "server_hostname": "inner"}


async def test_an_untrusted_certificate_is_no_silent_success(open_: Connect, api: Any, tmp_path: Path) -> None:
    """The test server speaks plain HTTP: TLS must fail, and as an ApiError."""
    path = write(tmp_path / "k", kubeconfig(api.url.replace("http:", "https:")))
    client = Client(await open_(kubeconfig=path), sleep=api.sleep)
    with pytest.raises(UnreachableError):
        await client.request("GET", "/version")


async def test_watches_and_requests_have_their_own_unlimited_pools(open_: Connect, tmp_path: Path) -> None:
    connection = await open_(kubeconfig=write(tmp_path / "k", kubeconfig()))
    assert connection.watches is not connection.requests
    assert connection.watches.connector is not connection.requests.connector
    assert connection.watches.connector is not None
    assert connection.watches.connector.limit == 0


def test_a_kubeconfig_costs_no_class_for_every_kind_of_kubernetes(tmp_path: Path) -> None:
    """The whole library has 900 modules, 35 MB. What is imported later is the whole one again."""
    program = """
import asyncio, sys
from kroasync.kube.config import connect

async def main():
    connection = await connect(kubeconfig=sys.argv[1])
    print((await connection.headers())["Authorization"])
    await connection.close()

asyncio.run(main())
print(sum(name.startswith("kubernetes_asyncio") for name in sys.modules))
import kubernetes_asyncio
print(kubernetes_asyncio.client.V1Pod.__name__, kubernetes_asyncio.config.load_kube_config.__name__)
"""
    path = write(tmp_path / "config", kubeconfig())
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60)
    header, count, *rest = done.stdout.split("\n")
    assert (header, rest, done.stderr) == ("Bearer t", ["V1Pod load_kube_config", ""], "")
    assert int(count) < 20


def impersonated(api: Any) -> list[tuple[str, str]]:
    """What the last request says of whom it is for."""
    return [(name, value) for name, value in api.seen[-1].pairs if name.startswith("Impersonate-")]


AS: dict[str, Any] = {
    "token": "t",
    "as": "ann",
    "as-groups": ["dev", "ops"],
    "as-uid": "7",
    "as-user-extra": {"Acme.com/Team": ["a", "b"], "per%cent": ["x"]},
}


async def test_the_impersonation_of_a_kubeconfig_is_in_every_request(open_: Connect, api: Any, tmp_path: Path) -> None:
    api.on("GET", "/version", api.json({}))
    connection = await open_(kubeconfig=write(tmp_path / "k", kubeconfig(api.url, user=AS)))
    await Client(connection).request("GET", "/version")
    assert impersonated(api) == [
        ("Impersonate-User", "ann"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-acme.com%2Fteam", "a"),
        ("Impersonate-Extra-acme.com%2Fteam", "b"),
        ("Impersonate-Extra-per%25cent", "x"),
    ]
    async with connection.watches.get(f"{api.url}/version"):
        assert len(impersonated(api)) == 7


async def test_the_caller_goes_before_the_kubeconfig(open_: Connect, api: Any, tmp_path: Path) -> None:
    api.on("GET", "/version", api.json({}))
    user = {"token": "t", "as": "ann", "as-groups": ["dev"]}
    path = write(tmp_path / "k", kubeconfig(api.url, user=user))
    bob = Impersonation(user="bob")
    await Client(await open_(kubeconfig=path, impersonation=bob)).request("GET", "/version")
    assert impersonated(api) == [("Impersonate-User", "bob"), ("Impersonate-Group", "dev")]
    ops = Impersonation(groups=("ops",))
    await Client(await open_(kubeconfig=path, impersonation=ops)).request("GET", "/version")
    assert impersonated(api) == [("Impersonate-User", "ann"), ("Impersonate-Group", "ops")]


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"as-groups": ["dev"]}, "without a user"),
        ({"as-uid": "7"}, "without a user"),
        ({"as-user-extra": {"team": ["a"]}}, "without a user"),
        ({"as": "ann", "as-groups": "dev"}, "lists of strings"),
        ({"as": "ann", "as-groups": [1]}, "lists of strings"),
        ({"as": "ann", "as-user-extra": ["a"]}, "lists of strings"),
        ({"as": "ann", "as-user-extra": {"team": "a"}}, "lists of strings"),
        ({"as": 7}, "expected strings"),
        ({"as": "ann", "as-uid": {"a": "b"}}, "expected strings"),
        ({"as": "ann\r\nX-Evil: 1"}, "not allowed in an HTTP header"),
        ({"as": "änn"}, "not allowed in an HTTP header"),
        ({"as": "ann "}, "white space"),
        ({"as": "ann", "as-groups": [""]}, "is empty"),
    ],
)
async def test_impersonation_that_cannot_be_sent_is_refused(
    open_: Connect, tmp_path: Path, user: dict[str, Any], message: str
) -> None:
    """Without it, the request would have other rights."""
    path = write(tmp_path / "k", kubeconfig(user={"token": "t", **user}))
    with pytest.raises(ConfigError, match=message):
        await open_(kubeconfig=path)
