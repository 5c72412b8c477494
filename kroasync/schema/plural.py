"""English plurals of kinds, which become the resource names of generated CRDs.

The rules, the dictionary and their order are those of gobuffalo/flect 1.0.3, because it named the CRDs in existing
clusters. There is one deliberate difference: acronyms that end in "s" become `<word>es` (flect writes them in upper
case, which no API server accepts).
"""

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ACRONYMS: Final = frozenset(
    _words(
        """
        ack acl adsl aes ansi api arp atm bgp bss ccitt chap cidr cir cli cmos cpe cpu crc crt csma dce
        dec des dhcp dmi dns dram dsl dslam dte eha eia eigrp eof ess fcc fcs fddi ftp gbic gepof hdlc
        html http https iana icmp id idf ids ieee ietf imap ip ips isdn isp json jwt lacp lan lapb lapf
        llc mac mc mdf mib mpls mtu nac nat nbma nic nrz nrzi nvram ok osi ospf oui pap pat pc pcm pdu
        pim pop3 pots ppp pptp ptt pvst ram rarp rcp rfc rip rll rom rstp rtp sdlc sfd sfp slarp slip
        smtp sna snap snmp sof sql sram ssh ssid stp syn tdm tftp tia tofu udp uri url usb utf8 utp uuid
        vc vlan vlsm vpn w3c wan wep wpa www
        """
    )
)

# An entry is `singular>plural[/alternative plurals]`, or `singular=[/alternatives]` if both are the same.
# A trailing `!` means that longer words do not match the entry as a suffix; `~` means that the plural is not recognised
# as a plural.
_DICTIONARY: Final = _words(
    """
    aircraft= beef=/beefs bison= blues=~ chassis= deer= fish=/fishes moose= police= salmon=/salmons
    series= sheep= shrimp=/shrimps species= swine=/swines trout=/trouts tuna=/tunas you=
    child>children ox>oxen! foot>feet goose>geese man>men human>humans louse>lice! mouse>mice
    tooth>teeth woman>women die>dice! person>people adieu>adieux/adieus fabliau>fabliaux
    bureau>bureaus/bureaux criterion>criteria ganglion>ganglia/ganglions lexicon>lexica/lexicons
    mitochondrion>mitochondria/mitochondrions noumenon>noumena phenomenon>phenomena taxon>taxa
    media= medium>media/mediums~ stadium>stadiums/stadia aquarium>aquaria/aquariums
    auditorium>auditoria/auditoriums symposium>symposia/symposiums curriculum>curriculums/curricula
    quota>quotas alumnus>alumni/alumnuses bacillus>bacilli cactus>cacti/cactuses coccus>cocci
    focus>foci/focuses locus>loci/locuses nucleus>nuclei/nucleuses octopus>octupuses/octopi
    radius>radii/radiuses syllabus>syllabi corpus>corpora/corpuses genus>genera alumna>alumnae
    vertebra>vertebrae differentia>differentiae minutia>minutiae vita>vitae larva>larvae
    postcava>postcavae praecava>praecavae uva>uvae apex>apices/apexes codex>codices/codexes
    index>indices/indexes latex>latices/latexes vertex>vertices/vertexes vortex>vortices/vortexes
    appendix>appendices/appendixes radix>radices/radixes helix>helices/helixes axis>axes!
    crisis>crises ellipsis>ellipses~ genesis>geneses oasis>oases thesis>theses testis>testes
    base>bases basis>bases~ alias>aliases! vedalia>vedalias use>uses! abuse>abuses cause>causes
    clause>clauses cruse>cruses excuse>excuses fuse>fuses house>houses misuse>misuses muse>muses
    pause>pauses ache>aches topaz>topazes buffalo>buffaloes/buffalos potato>potatoes tomato>tomatoes
    equipment= information= jeans= money= news= rice= dwarf>dwarfs/dwarves hoof>hoofs/hooves
    thief>thieves chive>chives hive>hives move>moves movie>movies cookie>cookies
    pretorium>pretoriums agenda>agendas formula>formulas/formulae shoe>shoes toe>toes! graffiti=
    """
)

_SUFFIXES: Final = _words(
    """
    tive>tives eaf>eaves oaf>oaves afe>aves arf>arves rfe>rves rf>rves lf>lves fe>ves ay>ays ey>eys
    oy>oys quy>quies uy>uys y>ies eau>eaux bula>bulae dula>bulae lula>bulae nula>bulae vula>bulae
    hedron>hedra ium>ia seum>seums eum>ea oum>oa stracum>straca dum>da elum>ela ilum>ila olum>ola
    ulum>ula llum>lla ylum>yla imum>ima ernum>erna gnum>gna brum>bra crum>cra terum>tera serum>sera
    trum>tra antum>anta atum>ata entum>enta etum>eta itum>ita otum>ota utum>uta ctum>cta ovum>ova
    trix>trices iasis>iases mesis>meses kinesis>kineses resis>reses gnosis>gnoses opsis>opses
    ysis>yses ouse>ouses lause>lauses us>uses ch>ches io>ios sh>shes ss>sses ez>ezzes iz>izzes
    tz>tzes zz>zzes ano>anos lo>los to>tos oo>oos o>oes x>xes
    """
)


def _read_dictionary() -> tuple[dict[str, str], frozenset[str], tuple[tuple[str, str], ...]]:
    """The dictionary as (plural by singular, known plurals, suffix pairs in the order in which they are tried)."""
    plurals: dict[str, str] = {}
    known: set[str] = set()
    suffixes: list[tuple[str, str]] = []
    for entry in _DICTIONARY:
        word = entry.rstrip("!~")
        singular, _, rest = word.replace("=", ">=").partition(">")
        forms = rest.split("/")
        plural = singular if forms[0] == "=" else forms[0].removeprefix("=")
        plurals[singular] = plural
        known.update(forms[1:])
        if not entry.endswith("~"):
            known.add(plural)
        if not entry.endswith("!"):
            suffixes.append((singular, plural))
    return plurals, frozenset(known), tuple(reversed(suffixes))


_PLURALS, _KNOWN_PLURALS, _WORD_SUFFIXES = _read_dictionary()
_RULES: Final = _WORD_SUFFIXES + tuple((rule.split(">")[0], rule.split(">")[1]) for rule in _SUFFIXES)


def pluralise(word: str) -> str:
    """The plural of a lower-case word; a plural stays unchanged."""
    if word in _PLURALS:
        return _PLURALS[word]
    if word in _KNOWN_PLURALS:
        return word
    if word in _ACRONYMS:
        return word + ("es" if word.endswith("s") else "s")
    for singular, plural in _RULES:
        if word.endswith(plural):
            return word
        if word.endswith(singular):
            return word.removesuffix(singular) + plural
    return word if word.endswith("s") else word + "s"


def resource_name(kind: str) -> str:
    """The plural resource name of a kind, e.g. `NetworkPolicy` -> `networkpolicies`."""
    return pluralise(kind.lower())
