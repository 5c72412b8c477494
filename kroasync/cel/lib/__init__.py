"""The function libraries, one module and one LIBRARY each."""

from typing import Final

from kroasync.cel.decls import Library
from kroasync.cel.lib import (
    bindings,
    cidr,
    comprehensions,
    encoders,
    format,
    hash,
    ip,
    json,
    k8s_lists,
    k8s_regex,
    kro_runtime,
    list_edits,
    lists,
    maps,
    math,
    omit,
    optional,
    quantity,
    random,
    regex,
    semver,
    sets,
    std,
    strings,
    url,
)

# The libraries that kro registers.
KRO_LIBRARIES: Final[tuple[Library, ...]] = (
    std.LIBRARY,
    bindings.LIBRARY,
    comprehensions.LIBRARY,
    optional.LIBRARY,
    strings.LIBRARY,
    lists.LIBRARY,
    encoders.LIBRARY,
    k8s_lists.LIBRARY,
    url.LIBRARY,
    k8s_regex.LIBRARY,
    quantity.LIBRARY,
    ip.LIBRARY,
    cidr.LIBRARY,
    semver.LIBRARY,
    random.LIBRARY,
    maps.LIBRARY,
    json.LIBRARY,
    hash.LIBRARY,
    list_edits.LIBRARY,
    omit.LIBRARY,
    kro_runtime.LIBRARY,
)
# The libraries of kro, and further ones of cel-go and Kubernetes.
ALL_LIBRARIES: Final[tuple[Library, ...]] = (
    *KRO_LIBRARIES,
    math.LIBRARY,
    sets.LIBRARY,
    regex.LIBRARY,
    format.LIBRARY,
)
