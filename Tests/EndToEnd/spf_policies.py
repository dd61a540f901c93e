"""Policies for test_spf.py, the records that they refer to, and where pyspf is known to say something else."""

# Clients that every policy is checked for.
CLIENTS = ("192.0.2.10", "192.0.2.20", "203.0.113.99", "2001:db8::10")

# Names that no lookup finds out about for now.
FAILING = {"broken.test", "40.2.0.192.in-addr.arpa", "broken-exp.test"}

# What the policies refer to: name -> [(type, value), …]; TXT values are tuples of strings.
RECORDS = {
    "h1.test": [("A", "192.0.2.10"), ("AAAA", "2001:db8::10")],
    "h2.test": [("A", "198.51.100.20"), ("A", "192.0.2.20")],
    "v4.test": [("A", "192.0.2.30")],
    "v6.test": [("AAAA", "2001:db8::10")],
    "near.test": [("A", "192.0.2.11"), ("AAAA", "2001:db8::1:10")],
    "alias.test": [("CNAME", "h1.test")],
    "alias2.test": [("CNAME", "alias.test")],
    "dangling.test": [("CNAME", "nothing.test")],
    "nodata.test": [("TXT", ("nothing to see",))],
    "under_score.test": [("A", "192.0.2.10")],
    "mx.test": [("MX", (10, "v4.test")), ("MX", (20, "h2.test")), ("MX", (20, "v6.test"))],
    "mx10.test": [("MX", (n, f"m{n}.test")) for n in range(10)],
    "mx11.test": [("MX", (n, f"m{n}.test")) for n in range(11)],
    "nullmx.test": [("MX", (0, "."))],
    "deadmx.test": [("MX", (0, "h1.test")), ("MX", (1, "nodata.test"))],
    "brokenmx.test": [("MX", (0, "broken.test"))],
    "10.2.0.192.in-addr.arpa": [("PTR", "h1.test")],
    "20.2.0.192.in-addr.arpa": [("PTR", "liar.test"), ("PTR", "h2.test")],
    "0.1.0.0" + ".0" * 20 + ".8.b.d.0.1.0.0.2.ip6.arpa": [("PTR", "v6.test")],
    "liar.test": [("A", "203.0.113.1")],
    "10.2.0.192.list.test": [("A", "127.0.0.2")],
    "192.0.2.10.list.test": [("A", "127.0.0.2")],
    "user.list.test": [("A", "127.0.0.2")],
    "list.user.list.test": [("A", "127.0.0.2")],
    "helo.test.list.test": [("A", "127.0.0.2")],
    "h1.test.list.test": [("A", "127.0.0.2")],
    "in-addr.list.test": [("A", "127.0.0.2")],
    "ip6.list.test": [("A", "127.0.0.2")],
    "test.list.test": [("A", "127.0.0.2")],
    "%.list.test": [("A", "127.0.0.2")],
    "list%20x.test": [("A", "127.0.0.2")],
    "pass.test": [("TXT", ("v=spf1 ip4:192.0.2.10 ip6:2001:db8::/64 -all",))],
    "fail.test": [("TXT", ("v=spf1 -all",))],
    "soft.test": [("TXT", ("v=spf1 ~all",))],
    "neutral.test": [("TXT", ("v=spf1 ?all",))],
    "nothing-matches.test": [("TXT", ("v=spf1",))],
    "none.test": [("TXT", ("not a policy",)), ("A", "192.0.2.10")],
    "bad.test": [("TXT", ("v=spf1 moo",))],
    "two.test": [("TXT", ("v=spf1 -all",)), ("TXT", ("v=spf1 +all",))],
    "deep.test": [("TXT", ("v=spf1 include:deeper.test -all",))],
    "deeper.test": [("TXT", ("v=spf1 include:pass.test ?all",))],
    "hand-over.test": [("TXT", ("v=spf1 redirect=pass.test",))],
    "loop.test": [("TXT", ("v=spf1 include:loop.test",))],
    "circle.test": [("TXT", ("v=spf1 redirect=circle.test",))],
    "with-exp.test": [("TXT", ("v=spf1 -all exp=exp2.test",))],
    "own-domain.test": [("TXT", ("v=spf1 a:%{d} -all",)), ("A", "192.0.2.20")],
    "split.test": [("TXT", ("v=spf1 ip4:192.0", ".2.10 -a", "ll"))],
    "eight.test": [("TXT", ("v=spf1 a:v4.test a:v4.test a:v4.test a:v4.test a:v4.test a:v4.test a:v4.test a:v4.test",))],
    "nine.test": [("TXT", ("v=spf1 include:eight.test a:h1.test -all",))],
    "exp1.test": [("TXT", ("%{i} may not, says %{d} to %{s} (%{h}, %{v}, %{c}) %% %_ %-",))],
    "exp2.test": [("TXT", ("the other explanation",))],
    "exp3.test": [("TXT", ("one",)), ("TXT", ("two",))],
    "exp4.test": [("TXT", ("half a %{macro",))],
    "exp5.test": [("TXT", ("joined", " without", " gaps"))],
    "exp6.test": [("TXT", ("%{S} %{L1R} %{D2} %{O1}",))],
}
for number in range(11):
    RECORDS[f"m{number}.test"] = [("A", f"192.0.2.{number * 2 + 2}")]
RECORDS["m4.test"] = [("A", "192.0.2.10")]

_TERMS = """
all +all -all ~all ?all ALL -All
ip4:192.0.2.10 ip4:192.0.2.0/24 ip4:192.0.2.8/30 ip4:192.0.2.11/31 ip4:0.0.0.0/0 ip4:192.0.2.10/32 -ip4:192.0.2.10
?ip4:192.0.2.0/27 ~ip4:192.0.2.0/28 IP4:192.0.2.10 ip4:128.0.0.0/1 ip4:192.0.2.20/29 ip4:192.0.2.20/0
ip6:2001:db8::10 ip6:2001:db8::/32 ip6:2001:DB8:0:0:0:0:0:10 ip6:::/0 ip6:2001:db8::11/127 ip6:2001:db8::/128
ip6:2001:db8::192.0.2.1/64 -ip6:2001:db8::/32 ip6:2001:db8:0:0:0:0:0:10/128 ip6:::ffff:192.0.2.10
a:h1.test a:h2.test a:v4.test a:v6.test a:near.test/31 a:near.test/24 a:near.test//96 a:near.test/24//96
a:alias.test a:alias2.test -a:h1.test ~a:h1.test/24 a:h1.test/0 a:h1.test//0 a:h1.test/32//128 A:H1.TEST a:h1.test.
a:under_score.test a:dangling.test a:nodata.test a:nothing.test a
mx:mx.test mx:mx.test/24 mx:mx.test//32 -mx:mx.test mx:mx10.test mx:mx11.test mx:nullmx.test mx:nothing.test mx
mx:mx.test/24//64 mx:h1.test
ptr ptr:test ptr:h1.test ptr:1.test ptr:h2.test -ptr:test ptr:v6.test ptr:liar.test
exists:list.test exists:%{i}.list.test exists:%{ir}.list.test exists:%{l}.list.test exists:%{h}.list.test
exists:%{d1}.list.test exists:%{o1}.list.test exists:%{p}.list.test exists:%{v}.list.test exists:%{lr-}.list.test
exists:%{l1}.list.test exists:%{l1-}.list.test exists:%{l2r-}.list.test exists:%{l1r-}.list.test exists:%%.list.test
exists:list%-x.test exists:list%_x.test exists:%{s}.list.test exists:%{d4r}.list.test exists:%{D1}.list.test
exists:%{I}.list.test exists:%{i99}.list.test exists:h1.test -exists:h1.test exists:v6.test exists:nodata.test
exists:%{p2}.list.test exists:%{p1r}.list.test exists:%{h1}.list.test exists:%{i1}.list.test exists:%{l+}.list.test
exists:%{l-+_}.list.test exists:%{H}.list.test
include:pass.test include:fail.test include:soft.test include:neutral.test include:nothing-matches.test
include:none.test include:bad.test include:two.test include:deep.test include:hand-over.test include:nothing.test
include:loop.test include:circle.test include:with-exp.test include:own-domain.test include:split.test
-include:pass.test ?include:pass.test ~include:pass.test include:%{d1}.none.test include:pass.%{d1} INCLUDE:PASS.TEST
include:eight.test include:nine.test
redirect=pass.test redirect=fail.test redirect=soft.test redirect=neutral.test redirect=none.test redirect=bad.test
redirect=two.test redirect=nothing.test redirect=hand-over.test redirect=circle.test redirect=with-exp.test
redirect=own-domain.test redirect=pass.%{d1} REDIRECT=fail.test redirect=split.test redirect=deep.test
unknown=anything unknown=%{d} u-n_k.n0wn=x include=pass.test a=h1.test unknown=
moo moo:h1.test -moo +redirect=pass.test 1=x =x a:. a:test a:test. a:h1.123 a:h1.-test a:h1.test- a:h1.te_st
a: a/ a/33 a//129 a/24//129 a/024 a/-1 a/x a:h1.test/ a:h1.test/33 a:h1.test:25 a:h1.test//
mx: mx/33 mx//129 mx:mx.test/x ptr: ptr:test/24 ptr/24 all:h1.test all/8 all=
ip4 ip4: ip4:h1.test ip4:192.0.2 ip4:192.0.2.256 ip4:192.0.2.010 ip4:192.0.2.10/33 ip4:192.0.2.10/ ip4:192.0.2.10/08
ip4:192.0.2.10//32 ip4:192.0.2.10.1 ip4/24
ip6 ip6: ip6:h1.test ip6:2001:db8 ip6:2001:db8::10::1 ip6:2001:db8::10/129 ip6:2001:db8::g ip6:192.0.2.10 ip6:1:2:3:4:5:6:7:8:9
ip6:2001:db8::10/ ip6:12345::
exists exists: exists:test exists:%{x}.test exists:%{d0}.test exists:%{d exists:%d.test exists:%{c}.test exists:%{r}.test
exists:%{t}.test exists:% exists:h1.test% exists:%{dx}.test exists:%{d-r}.test exists:%{}.test exists:%{d2r-.}.list.test
exists:%{l1r+-}.list.test exists/24
include include: include:test include:%{x}.test redirect= redirect=test redirect=%{t}.test exp= exp=test exp=%{x}
a:h1..test a:.h1.test exists:%{l}..test
""".split()

POLICIES = [f"v=spf1 {term} ?all" if "all" not in term.lower() and "redirect=" not in term else f"v=spf1 {term}" for term in _TERMS]
POLICIES += [
    "v=spf1", "v=spf1 ", "v=spf1  a:h1.test   -all  ", "V=SPF1 a:h1.test -all", "v=spf10 +all", "v=spf2 +all", "v=spf1\t+all",
    "v=spf1,+all", " v=spf1 +all", "v=spf1 a:h1.test\tb -all", "v=spf1 a:h1.test, -all",
    "v=spf1 -all a:h1.test", "v=spf1 -all moo", "v=spf1 redirect=fail.test a:h1.test", "v=spf1 redirect=pass.test -all",
    "v=spf1 redirect=pass.test redirect=fail.test", "v=spf1 REDIRECT=fail.test", "v=spf1 redirect=fail.test REDIRECT=fail.test",
    "v=spf1 exp=exp1.test exp=exp2.test -all",
    "v=spf1 a:nothing.test a:nothing.test ip4:192.0.2.10 -all",
    "v=spf1 a:nothing.test exists:nothing.test include:nothing-matches.test -all",
    "v=spf1 a:nothing.test mx:nothing.test exists:nothing.test -all",
    "v=spf1 a:nodata.test a:nodata.test a:nodata.test ip4:192.0.2.10 -all",
    "v=spf1 ip4:192.0.2.10 a:n1.test a:n2.test a:n3.test -all",
    "v=spf1 " + "a:v4.test " * 9 + "a:h1.test -all",
    "v=spf1 " + "a:v4.test " * 10 + "a:h1.test -all",
    "v=spf1 " + "exists:h1.test.nothing " * 1 + "a:v4.test " * 9 + "-all",
    "v=spf1 include:nine.test -all", "v=spf1 include:eight.test a:v4.test a:h1.test -all",
    "v=spf1 include:eight.test a:v4.test a:v4.test -all", "v=spf1 include:deep.test include:deep.test include:deep.test -all",
    "v=spf1 " + "include:fail.test " * 10 + "-all", "v=spf1 " + "include:fail.test " * 11 + "-all",
    "v=spf1 " + "ip4:198.51.100.1 " * 100 + "a:h1.test -all",
    "v=spf1 a:h1.test mx:mx.test include:pass.test ~all", "v=spf1 +a:h1.test -mx:mx.test ?exists:h1.test",
    "v=spf1 -ip4:192.0.2.10 +ip4:192.0.2.0/24 -all", "v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 -all",
    "v=spf1 -include:fail.test include:soft.test ?include:pass.test -all",
    "v=spf1 -all exp=exp1.test", "v=spf1 -all exp=exp2.test", "v=spf1 -all exp=exp3.test", "v=spf1 -all exp=exp4.test",
    "v=spf1 -all exp=exp5.test", "v=spf1 -all exp=exp6.test", "v=spf1 -all exp=nothing.test", "v=spf1 -all exp=exp%{d}.test",
    "v=spf1 ~all exp=exp1.test", "v=spf1 include:with-exp.test -all exp=exp5.test", "v=spf1 redirect=with-exp.test exp=exp5.test",
    "v=spf1 -include:pass.test exp=exp5.test ?all", "v=spf1 exp=exp5.test -a:h1.test",
    "v=spf1 a:broken.test -all", "v=spf1 mx:broken.test -all", "v=spf1 mx:brokenmx.test -all", "v=spf1 exists:broken.test -all",
    "v=spf1 include:broken.test -all", "v=spf1 redirect=broken.test", "v=spf1 ip4:192.0.2.10 a:broken.test -all",
    "v=spf1 -all a:broken.test", "v=spf1 -all exp=broken-exp.test", "v=spf1 ?include:broken.test",
    "v=spf1 a:caf\u00e9.test -all", "v=spf1 -all \u00e9",
]

_CASE = "pyspf knows modifiers in small letters only; names are the same in any case (RFC 7208 §4.6.1)"
_LOOSE = "pyspf takes macros with a zero or with letters that RFC 7208 §7.1 does not allow"

# policy -> (what we say, what pyspf says, why); the same result where only the explanation differs.
DIFFERENT = {
    "v=spf1 mx:mx10.test ?all": (
        "neutral",
        "permerror",
        "pyspf counts each mail exchange without an address as a lookup that found nothing; RFC 7208 §4.6.4 counts terms",
    ),
    "v=spf1 REDIRECT=fail.test": ("fail", "neutral", _CASE),
    "v=spf1 redirect=fail.test REDIRECT=fail.test": ("permerror", "fail", _CASE),
    "v=spf1 exists:%{d0}.test ?all": ("permerror", "neutral", _LOOSE),
    "v=spf1 exists:%{dx}.test ?all": ("permerror", "neutral", _LOOSE),
    "v=spf1 exists:%{d-r}.test ?all": ("permerror", "neutral", _LOOSE),
    "v=spf1 -all exp=exp4.test": (
        "fail",
        "fail",
        "the text has a macro without an end: RFC 7208 §6.2 has it ignored, pyspf takes it as it is",
    ),
}
