"""Zones whose servers count queries, fail in some way, or answer late; the tests bring those servers."""

from .domains import NSD_HOSTS, NSEC3, Domain, make
from .keys import ECDSAP256

# Where the tests put their servers.
PLAIN, SIGNED, SIGNED3, SLOW, TCP_ONLY, UDP_ONLY, OLD, FAILING, SILENT, LOWER, ENT = (
    f"45.5.1.{number}" for number in range(1, 12)
)
# No route leads to the first; nobody listens at the second; these never answer.
NO_ROUTE, CLOSED = "47.0.0.1", "45.9.9.9"

CHAIN = 60
TEXT = "\n".join(
    [
        "www A 45.103.0.1",
        "www AAAA 2a0e:103::1",
        "a.b.c.d.e.f A 45.103.0.2",
        "very.very.very.very.very.very.very.very.very.very.very.very.very.very.deep A 45.103.0.3",
        "second 1 A 45.103.0.4",
        "prefetched 10 A 45.103.0.5",
        "x.y.ent A 45.103.0.6",
        "into-child CNAME www.child",
        "*.wild A 45.103.0.7",
        *(f"chain{number} CNAME chain{number + 1}" for number in range(CHAIN)),
        f"chain{CHAIN} A 45.103.0.8",
        *(f'big TXT "{number} {"x" * 200}"' for number in range(20)),
        *(f"n{number} A 45.103.1.{number}" for number in range(100)),
    ]
)


def at(*addresses: str, origin: str) -> dict[str, list[str]]:
    return {f"ns{number}.{origin}": [address] for number, address in enumerate(addresses, 1)}


def unsigned(origin: str, *addresses: str) -> Domain:
    return make(origin, "watched", TEXT, servers=at(*addresses, origin=origin))


def domains() -> list[Domain]:
    return [
        unsigned("watched.com", PLAIN),
        make("child.watched.com", "bind", "www A 45.103.0.9\n"),
        make("watched-nsec.com", "watched", TEXT, ECDSAP256, servers=at(SIGNED, origin="watched-nsec.com")),
        make("watched-nsec3.com", "watched", TEXT, ECDSAP256, NSEC3, servers=at(SIGNED3, origin="watched-nsec3.com")),
        unsigned("slow.com", SLOW),
        unsigned("tcp-only.com", TCP_ONLY),
        unsigned("udp-only.com", UDP_ONLY),
        unsigned("old.com", OLD),
        unsigned("failing.com", FAILING),
        unsigned("half-failing.com", FAILING, PLAIN),
        unsigned("silent.com", SILENT),
        unsigned("half-silent.com", SILENT, PLAIN),
        unsigned("lower.com", LOWER),
        unsigned("ent.com", ENT),
        # The server at NSD_HOSTS does not know these, and refuses.
        unsigned("lame.com", NSD_HOSTS[0]),
        unsigned("half-lame.com", NSD_HOSTS[0], PLAIN),
        unsigned("unreachable.com", NO_ROUTE, CLOSED),
        unsigned("half-unreachable.com", NO_ROUTE, CLOSED, PLAIN),
        make("six.com", "nsd", TEXT, servers={"ns1.six.com": NSD_HOSTS[2:]}),
        make("six-signed.com", "nsd", TEXT, ECDSAP256, servers={"ns1.six-signed.com": NSD_HOSTS[2:]}),
        make("glueless.com", "nsd", TEXT, servers={"own.glueless-hosting.net": []}),
        make("glueless-hosting.net", "nsd", f"own A {NSD_HOSTS[0]}\n", servers={"ns1.nsd-hosting.net": []}),
        make("circle-one.com", "nsd", TEXT, servers={"ns1.circle-two.net": []}),
        make("circle-two.net", "nsd", TEXT, servers={"ns1.circle-one.com": []}),
        disagreeing(),
    ]


def disagreeing() -> Domain:
    """The parent names one server, the zone itself another one too."""
    domain = make("disagreeing.com", "nsd", TEXT + f"\n@ NS own\nown A {NSD_HOSTS[1]}\n")
    domain.servers = {"ns1.disagreeing.com": NSD_HOSTS[:1]}
    return domain
