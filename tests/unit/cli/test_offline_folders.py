"""The offline commands on other people's folders: lists, templates, bytes, kinds that nobody knows, several files."""

import json
import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kroasync.cli.main import app
from kroasync.model.problems import MAX_PROBLEMS

CASE_Y = """\
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: point}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Point
    spec:
      x: integer
      y: integer
  resources:
  - id: map
    template:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: p}
      data:
        sum: ${string(schema.spec.x + schema.spec.y)}
        answer: y
"""
CASE_STRICT = """\
apiVersion: kro.run/v1alpha1
kind: ResourceGraphDefinition
metadata: {name: strict}
spec:
  schema:
    apiVersion: v1alpha1
    kind: Strict
    group: shop.example.com
    spec:
      name: string | required=true pattern="^[a-z]+$" maxLength=5
      even: integer | validation="self % 2 == 0"
      tags: '[]string | uniqueItems=true'
      fixed: string | immutable=true
  resources: []
"""
GIVEN = """\
---
apiVersion: shop.example.com/v1alpha1
kind: Strict
metadata: {name: given, namespace: default}
spec: {name: ok}
"""
CRD = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: buckets.s3.example.com}
spec:
  group: s3.example.com
  scope: Namespaced
  names: {kind: Bucket, plural: buckets}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""


def definition(name, *resources, spec="{}"):
    kind = name.capitalize()
    listed = "".join(f"    - {{id: r{n}, template: {one}}}\n" for n, one in enumerate(resources))
    return (
        f"apiVersion: kro.run/v1alpha1\nkind: ResourceGraphDefinition\nmetadata: {{name: {name}}}\nspec:\n"
        f"  schema: {{apiVersion: v1alpha1, kind: {kind}, spec: {spec}}}\n"
        f"  resources:{'' if resources else ' []'}\n{listed}"
    )


def of(api_version, kind, more=""):
    return f"{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}{more}}}"


@pytest.fixture
def kroasync(tmp_path, monkeypatch):
    """The command in a folder with some files; a slash in a name is `__`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*args, input=None, **files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return CliRunner().invoke(app, list(args), input=input)

    return run


def places(result):
    """Place, severity and code of each problem."""
    found = re.findall(r"^(\S+): (error|warning): .*?\[([a-z-]+)\]$", result.stderr, re.MULTILINE | re.DOTALL)
    return [" ".join(one) for one in found]


def test_y_and_n_are_booleans_as_in_kubectl(kroasync):
    result = kroasync("validate", "a.yaml", a=CASE_Y)
    assert places(result) == [
        "a.yaml:10:7 warning yaml-key",
        "a.yaml:18:50 error expression-type",
        "a.yaml:19:17 warning yaml-ambiguous",
        "a.yaml:19:17 error literal-type",
    ]
    assert result.exit_code == 1


def test_what_surprises_in_other_objects_is_nobodys_concern(kroasync):
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {answer: y, on: 1}\n"
    assert places(kroasync("validate", "a.yaml", "b.yaml", a=definition("web"), b=other)) == []
    instance = "apiVersion: kro.run/v1alpha1\nkind: Web\nmetadata: {name: a, labels: {a: y}}\n"
    assert places(kroasync("validate", "a.yaml", "b.yaml", a=definition("web"), b=instance)) == [
        "b.yaml:3:33 warning yaml-ambiguous",
        "b.yaml:3:33 error instance-type",
    ]


@pytest.mark.parametrize(
    ("written", "read"), [("yes", "true"), ("Off", "false"), ("010", "8"), ("1.10", "1.1"), ("5", None), ("true", None)]
)
def test_a_value_of_the_wrong_type_says_what_it_is_read_as(kroasync, written, read):
    text = definition("web", of("v1", "ConfigMap", f", data: {{a: {written}}}"), spec=f"{{a: {written}}}")
    instance = f"---\napiVersion: kro.run/v1alpha1\nkind: Web\nmetadata: {{name: a, labels: {{a: {written}}}}}\n"
    lines = kroasync("validate", "a.yaml", a=text + instance).stderr.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert ": error: " in line
        assert (f"unquoted {written} is read as {read} [" in line) == (read is not None)


def test_lists_are_opened(kroasync):
    wrong = definition("odd", of("v1", "ConfigMap", ", data: {a: '${schema.spec.nope}'}"))
    indented = "- " + wrong.replace("\n", "\n  ")
    for kind in ("apiVersion: v1\nkind: List", "apiVersion: kro.run/v1alpha1\nkind: ResourceGraphDefinitionList"):
        assert places(kroasync("validate", "a.yaml", a=f"{kind}\nitems:\n{indented}")) == [
            "a.yaml:10:107 error expression-type"
        ]
    nested = json.dumps({"apiVersion": "v1", "kind": "List", "items": [{"kind": "List", "items": ["x"]}]})
    assert places(kroasync("validate", "a.yaml", a=nested)) == ["a.yaml:1:75 error yaml-document"]


def test_crds_of_a_list_are_known(kroasync):
    listed = f"apiVersion: v1\nkind: List\nitems:\n- {CRD.replace(chr(10), chr(10) + '  ')}"
    uses = definition("web", of("s3.example.com/v1", "Bucket"))
    assert kroasync("validate", "a.yaml", "--crds", "crds", a=uses, crds__all=listed).exit_code == 0


@pytest.mark.parametrize(("first", "second"), [("AppCase", "APPCase"), ("Bus", "Buses")])
def test_two_kinds_that_need_one_crd(kroasync, first, second):
    one, two = (definition(name).replace(name.capitalize(), kind) for name, kind in (("one", first), ("two", second)))
    result = kroasync("validate", "a.yaml", a=f"{one}---\n{two}")
    assert places(result) == ["a.yaml:12:40 error duplicate-kind"]
    assert f"which kind {first} of one has already" in result.stderr


def test_a_file_that_is_read_twice_is_checked_once(kroasync):
    result = kroasync("validate", "in/a.yaml", "./in/a.yaml", "-R", "in", in__a=definition("web"))
    assert (result.exit_code, result.stdout) == (0, "1 definition: valid\n")


def test_a_file_that_is_not_utf_8_is_named_and_the_others_are_checked(kroasync):
    files = {"in__good": definition("web", of("v1", "Confg")), "in__latin": b"a: M\xfc\xfc\n"}
    result = kroasync("validate", "-R", "in", **files)
    assert places(result) == ["in/good.yaml:7:49 error kind-not-found", "in/latin.yaml:1:5 error yaml-syntax"]
    assert result.exit_code == 1
    assert kroasync("validate", "-", input=b"a: \xff").exit_code == 2
    assert kroasync("validate", "-", input=b"\xef\xbb\xbf" + definition("web").encode()).exit_code == 0


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_another_encoding_is_named_once(kroasync, encoding):
    result = kroasync("validate", "a.yaml", a="\ufeff".encode(encoding) + definition("web").encode(encoding))
    assert places(result) == ["a.yaml:1:1 error yaml-syntax"]
    assert f"the text is not UTF-8: found {encoding[:6].upper()}" in result.stderr
    # Without a byte order mark
    assert len(places(kroasync("validate", "a.yaml", a=definition("web").encode(encoding)))) == 1


def test_what_cannot_be_read_in_a_folder_is_named_and_the_others_are_checked(kroasync, tmp_path):
    files = {"in__good": definition("web", of("v1", "Confg")), "in__loop__good": definition("other")}
    Path("in").mkdir()
    Path("in/gone.yaml").symlink_to("nowhere.yaml")
    Path("in/turn.yaml").symlink_to("turn.yaml")
    Path("in/memory.yaml").symlink_to("/proc/self/mem")
    Path("in/self").symlink_to(".")
    Path("in/link.yaml").symlink_to("good.yaml")
    os.mkfifo("in/pipe.yaml")
    result = kroasync("validate", "-R", "in", **files)
    assert places(result) == [
        "in/gone.yaml:1:1 error yaml-syntax",
        "in/good.yaml:7:49 error kind-not-found",
        "in/memory.yaml:1:1 error yaml-syntax",
        "in/turn.yaml:1:1 error yaml-syntax",
    ]
    assert "cannot read: no such file or directory" in result.stderr
    assert "2 definitions: 4 errors" in result.stdout
    # An empty text is kept from now on; what cannot be read is no empty text.
    Path("in/empty.yaml").touch()
    for _ in range(2):
        kinds = kroasync("validate", "a.yaml", "--crds", "in", a=definition("web"))
        assert "in/gone.yaml:1:1 error yaml-syntax" in places(kinds)


def test_a_helm_template_is_recognised(kroasync):
    template = definition("web").replace("{name: web}", "{name: web, namespace: {{ .Release.Namespace }}}")
    result = kroasync("validate", "a.yaml", a=template)
    assert places(result) == ["a.yaml:3:34 error helm-template"]
    other = 'kind: Service\nmetadata:\n  labels: {{- include "x" . | nindent 4 }}\n'
    result = kroasync("validate", "-R", "in", in__a=definition("web"), in__b=other)
    assert (result.exit_code, places(result)) == (0, ["in/b.yaml:3:11 warning helm-template"])


def test_a_name_of_a_definition_that_no_label_can_hold(kroasync):
    assert (
        kroasync("validate", "a.yaml", a=definition("web").replace("{name: web}", f"{{name: {'a' * 63}}}")).exit_code
        == 0
    )
    result = kroasync("validate", "a.yaml", a=definition("web").replace("{name: web}", f"{{name: {'a.' * 32}b}}"))
    assert places(result) == ["a.yaml:3:18 warning definition-name"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: ok", "name: ok, even: 3", ["instance-rule"]),
        ("name: ok", "name: ok, even: 4, fixed: x, tags: [a, b]", []),
        ("name: ok", "name: ok, tags: [a, b, a]", ["instance-value"]),
        ("name: given", "name: Bad_Name", ["instance-metadata"]),
        ("name: given", f"name: {'a' * 254}", ["instance-metadata"]),
        ("name: given", f"name: {'a' * 64}", []),
        ("name: given", "name: 5", ["instance-type"]),
        ("name: given", "generateName: web-", []),
        ("name: given", "generateName: Web-", ["instance-metadata"]),
        ("namespace: default", "namespace: a.b", ["instance-metadata"]),
        ("namespace: default", f"labels: {{team: {'a' * 64}}}", ["instance-metadata"]),
        ("namespace: default", "labels: {a/b/c: x}", ["instance-metadata"]),
        ("namespace: default", "labels: {example.com/team: '', a: B_c.1}", []),
        ("namespace: default", "labels: {Example.com/team: x}", ["instance-metadata"]),
        ("namespace: default", "annotations: {Example.com/team: x}", []),
        ("namespace: default", "annotations: {Example..com/team: x}", ["instance-metadata"]),
        ("namespace: default", "annotations: {a: 1}", ["instance-type"]),
        ("com/v1alpha1", "com/v1", ["instance-kind"]),
        ("shop.example.com/v1alpha1", "kro.run/v1alpha1", ["instance-kind"]),
        ("shop.example.com/v1alpha1", "example.com/v1alpha1", ["instance-kind"]),
        ("shop.example.com/v1alpha1", "v1alpha1", ["instance-kind"]),
        ("apiVersion: shop.example.com/v1alpha1\n", "", ["instance-kind"]),
    ],
)
def test_an_instance_is_checked_as_by_the_api_server(kroasync, old, new, expected):
    result = kroasync("validate", "a.yaml", a=CASE_STRICT + GIVEN.replace(old, new))
    assert [one.split()[1:] for one in places(result)] == [["error", code] for code in expected]


def test_the_problems_of_an_instance_are_bounded(kroasync):
    tags = ", ".join(["[]"] * (MAX_PROBLEMS + 100))
    result = kroasync("validate", "a.yaml", a=CASE_STRICT + GIVEN.replace("name: ok", f"name: ok, tags: [{tags}]"))
    assert len(places(result)) == MAX_PROBLEMS + 1
    assert "more than 1000 problems: the others are not shown" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kro.run/v1alpha1", "kro.run/v1", "1:13 error definition-kind"),
        ("kro.run/v1alpha1", "v1alpha1", "1:13 error definition-kind"),
        ("apiVersion: kro.run/v1alpha1", "apiversion: kro.run/v1alpha1", "1:1 error definition-kind"),
        ("ResourceGraphDefinition", "ResourceGraphDefintion", "2:7 error definition-kind"),
        ("ResourceGraphDefinition", "ResourceGroop", "2:7 error definition-kind"),
        ("kro.run/v1alpha1\nkind: ResourceGraphDefinition", "resources.azure.com/v1\nkind: ResourceGroup", None),
        ("ResourceGraphDefinition", "Unrelated", None),
    ],
)
def test_an_object_that_is_meant_as_a_definition(kroasync, old, new, expected):
    result = kroasync("validate", "a.yaml", "b.yaml", a=definition("web").replace(old, new, 1), b=definition("site"))
    assert places(result) == ([] if expected is None else [f"a.yaml:{expected}"])


def test_an_object_that_may_be_somebody_elses_is_a_warning(kroasync):
    for old, new in (("shop.example.com", "shop.example.org"), ("kind: Strict", "kind: Strct")):
        result = kroasync("validate", "a.yaml", a=CASE_STRICT + GIVEN.replace(old, new))
        assert result.exit_code == (1 if "org" in new else 0)
        assert places(result)[0].endswith("instance-kind")
    result = kroasync("validate", "a.yaml", a=CASE_STRICT + GIVEN.replace("shop.example.com", "argoproj.io"))
    assert (result.exit_code, places(result)) == (0, ["a.yaml:16:13 warning instance-kind"])
    known = "---\n" + CRD.replace("Bucket", "Strict").replace("buckets", "stricts")
    text = CASE_STRICT + known + GIVEN.replace("shop.example.com/v1alpha1", "s3.example.com/v1")
    assert places(kroasync("validate", "a.yaml", a=text)) == []


USES = of("s3.example.com/v1", "Bucket")


def test_an_unknown_kind_is_one_problem_with_a_way_out(kroasync):
    files = {"a": definition("web", USES, USES), "b": definition("site", USES, of("s3.example.com/v1", "Topic"))}
    result = kroasync("validate", "a.yaml", "b.yaml", **files)
    first, second = result.stderr.splitlines()
    assert first == (
        "a.yaml:7:64 error: spec.resources[0].template.kind: schema not found for kind Bucket of group s3.example.com "
        "(3 resources of 2 definitions): name the folder of its CRD with --crds, or accept unknown kinds with "
        "--missing-kinds [kind-not-found]"
    ).replace(" error", ": error", 1)
    assert "kind Topic of group s3.example.com: name" in second
    assert result.stdout == "2 definitions: 2 errors\n"


@pytest.mark.parametrize(
    ("how", "status", "severities"), [("error", 1, ["error"]), ("warn", 0, ["warning"]), ("ignore", 0, [])]
)
def test_missing_kinds(kroasync, how, status, severities):
    result = kroasync("validate", "a.yaml", "--missing-kinds", how, a=definition("web", USES))
    assert (result.exit_code, [one.split()[1] for one in places(result)]) == (status, severities)
    for command in (["graph"], ["generate", "crd"]):
        assert kroasync(*command, "a.yaml", "--missing-kinds", how).exit_code == status
    # Other problems stay what they are.
    wrong = definition("web", USES, of("v1", "ConfigMap", ", dta: {}"))
    assert kroasync("validate", "a.yaml", "--missing-kinds", how, a=wrong).exit_code == 1


@pytest.mark.parametrize(
    ("api_version", "kind", "suggestion"),
    [
        ("v1", "ConfigMaps", "v1, Kind=ConfigMap"),
        ("apps/v1beta1", "Deployment", "apps/v1, Kind=Deployment"),
        ("v1", "Deployment", "apps/v1, Kind=Deployment"),
        ("extensions/v1beta1", "Ingress", "networking.k8s.io/v1, Kind=Ingress"),
        ("core/v1", "ConfigMap", "v1, Kind=ConfigMap"),
        ("network.k8s.io/v1", "Ingress", "networking.k8s.io/v1, Kind=Ingress"),
        ("kro.run/v1alpha1", "Wbe", "kro.run/v1alpha1, Kind=Web"),
        # Other people's groups have kinds of the same name, or of similar names.
        ("serving.knative.dev/v1", "Service", None),
        ("cluster.x-k8s.io/v1", "Machine", None),
        ("s3.services.k8s.aws/v1alpha1", "Buckets", None),
        ("iam.services.k8s.aws/v1alpha1", "Role", None),
    ],
)
def test_a_suggestion_is_a_kind_of_the_same_group(kroasync, api_version, kind, suggestion):
    result = kroasync("validate", "a.yaml", "-o", "json", a=definition("web", of(api_version, kind)))
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["suggestion"] == suggestion


def test_crds_takes_folders_of_definitions(kroasync):
    web = definition("web", of("v1", "ConfigMap", ", dta: {}"), spec="{size: integer}")
    uses = definition("site", of("kro.run/v1alpha1", "Web", ", spec: {size: '${schema.metadata.name}'}"))
    assert places(kroasync("validate", "a.yaml", a=uses)) == ["a.yaml:7:63 error kind-not-found"]
    # What is wrong with the other definition is not the concern of this call, but its kind is known.
    result = kroasync("validate", "a.yaml", "--crds", "others", others__web=web)
    assert [one.split(":")[0] + " " + one.split()[-1] for one in places(result)] == ["a.yaml type-mismatch"]
    instance = "apiVersion: kro.run/v1alpha1\nkind: Web\nmetadata: {name: a}\nspec: {size: x}\n"
    result = kroasync("validate", "b.yaml", "--crds", "others", b=instance)
    assert places(result) == ["b.yaml:4:14 error instance-type"]
    assert result.stdout == "0 definitions and 1 instance: 1 error\n"
    # A definition that is named twice, once as an input, is checked.
    result = kroasync("validate", "-R", "others", "--crds", "others", others__broken="a: [")
    assert [one.split()[-1] for one in places(result)] == ["yaml-syntax", "unknown-field"]


def test_commands_take_several_files(kroasync):
    web = definition("web", of("v1", "ConfigMap", ", data: {size: '${schema.spec.size}'}"), spec="{size: string}")
    site = definition(
        "site", of("kro.run/v1alpha1", "Web", ", spec: {size: '${schema.spec.size}'}"), spec="{size: string}"
    )
    instance = "apiVersion: kro.run/v1alpha1\nkind: Site\nmetadata: {name: a}\nspec: {size: big}\n"
    files = {"web": web, "site": site, "instance": instance}
    result = kroasync("render", "web.yaml", "site.yaml", "./instance.yaml", **files)
    assert result.exit_code == 0, result.stderr
    assert "kind: Web\n" in result.stdout
    assert kroasync("render", "all.yaml", all=f"{site}---\n{instance}", **files).exit_code == 1
    assert kroasync("render", "all.yaml", all=f"{web}---\n{site}---\n{instance}").exit_code == 0
    assert kroasync("graph", "web.yaml", "site.yaml", "--name", "site").exit_code == 0
    assert "several definitions" in kroasync("graph", "web.yaml", "site.yaml").stderr
    for what in ("crd", "instance", "schema"):
        assert kroasync("generate", what, "web.yaml", "site.yaml", "--name", "site").exit_code == 0
        assert kroasync("generate", what, "site.yaml", "--name", "site").exit_code == (1 if what == "crd" else 0)


def test_a_line_does_not_repeat_its_path_and_has_no_internal_names(kroasync):
    wrong = definition(
        "web",
        of("v1", "ConfigMap", ", data: {a: '${schema.spec.nope}', b: '${schema.spec}', c: '${nobody}', d: '${1 +}'}"),
        of("v1", "ConfigMap", ", dta: {}"),
        spec="{size: string}",
    )
    result = kroasync("validate", "a.yaml", a=wrong)
    assert len(places(result)) == 5
    for said in ("failed to", 'resource "r0": ', "__type_"):
        assert said not in result.stderr
    assert "object(schema.spec)" in result.stderr


def test_a_commit_hook_may_pass_no_definition(kroasync):
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    assert kroasync("validate", "a.yaml", a=other).exit_code == 2
    result = kroasync("validate", "--allow-none", "a.yaml")
    assert (result.exit_code, result.stdout) == (0, "0 definitions: valid\n")
