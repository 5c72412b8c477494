"""The Kubernetes libraries: their tables, messages, and hostile input."""

import pytest

from kroasync.cel.decls import Library, Overload
from kroasync.cel.env import Env
from kroasync.cel.errors import EvalError, OverloadError, RangeError, ValueError_
from kroasync.cel.lib import (
    ALL_LIBRARIES,
    cidr,
    format,
    ip,
    json,
    k8s_lists,
    k8s_regex,
    kro_runtime,
    list_edits,
    maps,
    omit,
    quantity,
    random,
    semver,
    url,
)
from kroasync.cel.lib import hash as digests
from kroasync.cel.run.compiler import Program

ENV = Env(libraries=ALL_LIBRARIES)
LIBRARIES = (
    quantity.LIBRARY,
    url.LIBRARY,
    ip.LIBRARY,
    cidr.LIBRARY,
    semver.LIBRARY,
    format.LIBRARY,
    k8s_lists.LIBRARY,
    k8s_regex.LIBRARY,
    random.LIBRARY,
    json.LIBRARY,
    digests.LIBRARY,
    maps.LIBRARY,
    list_edits.LIBRARY,
    omit.LIBRARY,
    kro_runtime.LIBRARY,
)
OVERLOADS = [overload for library in LIBRARIES for overload in library.overloads]


@pytest.mark.parametrize("overload", OVERLOADS, ids=lambda overload: overload.signature)
def test_every_example_is_true(overload: Overload) -> None:
    assert ENV.program(overload.example).evaluate({}) is True


@pytest.mark.parametrize("overload", OVERLOADS, ids=lambda overload: overload.signature)
def test_every_example_uses_its_function(overload: Overload) -> None:
    assert overload.function in ENV.check(ENV.parse(overload.example)).functions


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_function_is_documented(library: Library) -> None:
    assert all(overload.doc.endswith((".", "'")) for overload in library.overloads)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1500m", "1500m"),
        ("0.5Gi", "512Mi"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("1000Ki", "1000Ki"),
        ("0.001Ki", "1024m"),
        ("1000", "1k"),
        ("1.5", "1500m"),
        ("1e3", "1e3"),
        ("1e4", "10e3"),
        ("100000000000000000000000", "100e21"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("9Ei", "9223372036854775807"),
        ("0Ki", "0"),
        ("12Ki", "12Ki"),
    ],
)
def test_a_quantity_computed_prints_canonically(text: str, canonical: str) -> None:
    assert str(ENV.program(f"quantity('{text}').add(quantity('0'))").evaluate({})) == canonical


def test_a_quantity_prints_as_it_was_written() -> None:
    assert str(ENV.program("quantity('0.50')").evaluate({})) == "0.50"


def test_equal_values_hash_alike() -> None:
    for a, b in [
        ("quantity('1k')", "quantity('1000')"),
        ("quantity('0.5')", "quantity('500m')"),
        ("ip('2001:DB8::1')", "ip('2001:db8::1')"),
        ("semver('1.0.0+a')", "semver('1.0.0+b')"),
        ("url('http://a/%41')", "url('HTTP://a/%41')"),
        ("cidr('10.0.0.0/8')", "cidr('10.0.0.0/8')"),
        ("format.uuid()", "format.uuid()"),
    ]:
        left, right = ENV.program(a).evaluate({}), ENV.program(b).evaluate({})
        assert left == right
        assert hash(left) == hash(right)
        assert left != "something else"


@pytest.mark.parametrize(
    ("expression", "error", "message"),
    [
        ("quantity('10Mo')", ValueError_, "quantities must match the regular expression"),
        ("quantity('10Mm')", ValueError_, "unable to parse quantity's suffix"),
        ("quantity('1e2000')", ValueError_, "unable to parse quantity's suffix"),
        ("quantity('1.5').asInteger()", ValueError_, "cannot convert value to integer"),
        ("url('a b')", ValueError_, "URL parse error during conversion from string"),
        ("ip('1.2.3')", ValueError_, 'IP Address "1.2.3" parse error during conversion from string'),
        ("ip('x')", ValueError_, "unable to parse IP"),
        ("ip('fe80::1%eth0')", ValueError_, 'IP address "fe80::1%eth0" with zone value is not allowed'),
        ("ip('::ffff:1.2.3.4')", ValueError_, 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed'),
        ("cidr('1.2.3.4')", ValueError_, "no '/'"),
        ("cidr('1.2.3.4/')", ValueError_, 'bad bits after slash: ""'),
        ("cidr('1.2.3.4/33')", ValueError_, "prefix length out of range"),
        ("cidr('::ffff:1.2.3.4/120')", ValueError_, "IPv4-mapped IPv6 address"),
        ("cidr('10.0.0.0/8').containsIP('x')", OverloadError, "no such overload"),
        ("cidr('10.0.0.0/8').containsCIDR('x')", ValueError_, "network address parse error"),
        ("semver('')", ValueError_, "empty"),
        ("semver('1.0')", ValueError_, "not a semantic version"),
        ("semver('18446744073709551615.0.0').major()", RangeError, "overflows int"),
        ("[].min()", ValueError_, "min called on empty list"),
        ("[].max()", ValueError_, "max called on empty list"),
        ("[9223372036854775807, 1].sum()", RangeError, "overflow"),
        ("[dyn(1), 'a'].min()", OverloadError, "no such overload"),
        ("'a'.find('(')", ValueError_, "missing )"),
    ],
)
def test_what_is_refused(expression: str, error: type[EvalError], message: str) -> None:
    with pytest.raises(error) as caught:
        ENV.program(expression).evaluate({})
    assert message in caught.value.message


@pytest.mark.parametrize(
    "expression",
    [
        "quantity(x)",
        "quantity(x + 'Gi')",
        "quantity('1e' + x)",
        "quantity('0.' + x)",
        "ip(x)",
        "cidr('10.0.0.0/' + x)",
        "semver(x + '.0.0')",
        "semver('1.0.0-' + x)",
        "url('http://a:' + x + ':')",
        "format.qualifiedName().validate(x).value() == []",
        "format.dns1123Subdomain().validate(x + '!').value() == []",
    ],
)
def test_long_input_ends_quickly_and_cleanly(expression: str) -> None:
    env = ENV.extend(variables={"x": ENV.program("'a'").result_type})
    program = env.program(expression)
    for text in ("9" * 100_000, "a." * 50_000, "0" * 100_000):
        assert len(failure(program, text)) < 1000


def failure(program: Program, text: str) -> str:
    try:
        program.evaluate({"x": text})
    except EvalError as error:
        return error.message
    return ""


def test_a_large_exponent_costs_nothing() -> None:
    assert ENV.program("quantity('1e-999999999') == quantity('1n')").evaluate({}) is True
    assert ENV.program("isQuantity('1e999999999')").evaluate({}) is False


def test_sums_of_big_quantities_stay_bounded() -> None:
    with pytest.raises(ValueError_, match="too large"):
        ENV.program("quantity('1e1000').add(quantity('1n'))").evaluate({})


def test_named_formats_keep_their_name() -> None:
    assert str(ENV.program("format.named('uuid').value()").evaluate({})) == "uuid"


def test_addresses_print_canonically() -> None:
    assert str(ENV.program("cidr('2001:DB8::/32')").evaluate({})) == "2001:db8::/32"
    assert str(ENV.program("ip('2001:DB8:0:0::1')").evaluate({})) == "2001:db8::1"
    assert str(ENV.program("semver('1.2.3-rc.1+b')").evaluate({})) == "1.2.3-rc.1+b"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("HTTP://u:p@h:80/a b?x=1#f g", "http://u:p@h:80/a%20b?x=1#f%20g"),
        ("mailto:a@b", "mailto:a@b"),
        ("/a?", "/a?"),
        ("http:/a", "http:/a"),
        ("file:///a", "file:///a"),
        ("*", "*"),
        ("http://[fe80::1%25en0]:80/", "http://[fe80::1%25en0]:80/"),
        ("http://h/a%2Fb", "http://h/a%2Fb"),
    ],
)
def test_a_url_prints_as_go_prints_it(url: str, text: str) -> None:
    assert str(ENV.program(f"url('{url}')").evaluate({})) == text
