import MailAuth
import Testing

@Suite struct SPFRecordTests {
    @Test func allMechanisms() throws {
        let record = try SPFRecord(
            parsing: octets(
                "v=spf1 +a mx/24 -a:x.org/8//64 ?include:%{d}.org ~ptr:y.org ip4:192.0.2.0/24 ip6:2001:db8::/32 exists:%{i}.z.org redirect=r.org exp=e.org op=x -all"
            )
        )
        #expect(record.directives.count == 9)
        #expect(record.directives[0].mechanism == .a(nil, SPFPrefixLengths()))
        #expect(record.directives[1].mechanism == .mx(nil, SPFPrefixLengths(ip4: 24)))
        #expect(record.directives[2].qualifier == .fail)
        #expect(record.directives[5].mechanism == .ip4([192, 0, 2, 0], prefix: 24))
        #expect(record.hasAll)
        #expect(text(record.redirect?.text) == "r.org")
        #expect(record.unknownModifiers == [octets("op")])
    }

    @Test(arguments: [
        ("v=spf1", true), ("V=SPF1 a", true), ("v=spf10", false), ("v=spf1\ta", false), ("v=spf2", false), ("", false),
        (" v=spf1", false),
    ]) func version(_ record: String, _ isRecord: Bool) {
        #expect(SPFRecord.isRecord(octets(record)) == isRecord)
    }

    /// The position is where a person would look for the mistake.
    @Test(arguments: [
        ("v=spf1 moo", SPFSyntaxError.Reason.unknownMechanism, 7),
        ("v=spf1 a  -foo:x.org", .unknownMechanism, 11),
        ("v=spf1 -exp=x.org", .unknownMechanism, 8),
        ("v=spf1 redirect:x.org", .unknownMechanism, 7),
        ("v=spf1 all:x", .unexpectedArgument, 10),
        ("v=spf1 include", .missingDomain, 14),
        ("v=spf1 exists:", .missingDomain, 14),
        ("v=spf1 a:", .missingDomain, 9),
        ("v=spf1 a:museum", .badDomain, 9),
        ("v=spf1 a:museum.", .badDomain, 9),
        ("v=spf1 a:x.123", .badDomain, 11),
        ("v=spf1 a:x.-org", .badDomain, 11),
        ("v=spf1 a:x.org:8080", .badDomain, 11),
        ("v=spf1 a:x.org/33", .badPrefixLength, 15),
        ("v=spf1 a:x.org/024", .badPrefixLength, 15),
        ("v=spf1 a:x.org//129", .badPrefixLength, 16),
        ("v=spf1 a/", .badPrefixLength, 9),
        ("v=spf1 ip4:192.0.2", .badAddress, 11),
        ("v=spf1 ip4:192.0.2.1//64", .badPrefixLength, 21),
        ("v=spf1 ip4", .badAddress, 10),
        ("v=spf1 ip6:2001:db8:::1", .badAddress, 11),
        ("v=spf1 ip6:::/129", .badPrefixLength, 14),
        ("v=spf1 exists:%{x}.org", .badMacro, 14),
        ("v=spf1 exists:%{d0}.org", .badMacro, 14),
        ("v=spf1 exists:%{c}.org", .badMacro, 14),
        ("v=spf1 exists:a%(d).org", .badMacro, 15),
        ("v=spf1 exists:a.org%", .badMacro, 19),
        ("v=spf1 exists:%{d", .badMacro, 14),
        ("v=spf1 foo=%{x}", .badMacro, 11),
        ("v=spf1 redirect=a.org redirect=b.org", .repeatedModifier, 22),
        ("v=spf1 exp=a.org EXP=b.org", .repeatedModifier, 17),
        ("v=spf1 redirect=", .missingDomain, 16),
        ("v=spf1 a:ex\u{e4}mple.org", .notASCII, 11),
        ("v=spf1 a:exa\u{1}mple.org", .badCharacter, 12),
        ("v=spf1 a:x.org\tb", .badCharacter, 14),
    ]) func mistakes(_ record: String, _ reason: SPFSyntaxError.Reason, _ position: Int) {
        do {
            _ = try SPFRecord(parsing: octets(record))
            Issue.record("\(record) was taken")
        } catch {
            #expect(error.reason == reason, "\(record): \(error)")
            #expect(error.position == position, "\(record)")
        }
    }

    @Test(arguments: [
        "v=spf1 a:%{d}", "v=spf1 a:x.%{d}", "v=spf1 a:%%.com", "v=spf1 a:%_", "v=spf1 a:foo.%-",
        "v=spf1 a:x.xn--zckzah",
        "v=spf1 a:x.org.", "v=spf1 a:foo:bar/baz.example.com", "v=spf1 exists:%{ir}.%{v}._spf.%{d2}",
        "v=spf1 include=foo",
        "v=spf1 a:%{d}/24", "v=spf1 a:%{d}//64", "v=spf1 foo.bar-baz_1=%{c}", "v=spf1  a   mx ",
        "v=spf1 a:example.com/0//0",
    ]) func unusualButRight(_ record: String) throws {
        _ = try SPFRecord(parsing: octets(record))
    }

    @Test func randomChangesNeverTrap() {
        var generator = FixedGenerator(7208)
        let seeds = [
            "v=spf1 a:x.org/8//64 include:%{d2r.-}.org exists:%{L3R+}.z.org ip4:192.0.2.0/24 ip6:2001:db8::1/32 exp=%{d} -all",
            "v=spf1 mx ptr redirect=%{s}.%{h} moo=%{c}%%%_%-",
        ].map(octets)
        for round in 0..<20_000 { _ = try? SPFRecord(parsing: mutated(seeds[round % 2], &generator)) }
    }
}
