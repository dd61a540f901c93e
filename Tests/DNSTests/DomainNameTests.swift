import Testing

@testable import DNS

struct DomainNameTests {
    @Test(arguments: [
        ("example.test", "example.test."),
        ("example.test.", "example.test."),
        (".", "."),
        ("a\\.b.c", "a\\.b.c."),
        ("\\065.test", "A.test."),
        ("sp\\032ace.test", "sp\\032ace.test."),
        ("\\000\\255.x", "\\000\\255.x."),
        ("*.example.test", "*.example.test."),
        ("a\\\\b.c", "a\\\\b.c."),
    ])
    func presentation(_ text: String, _ printed: String) throws {
        let name = try DomainName(text)
        #expect(name.description == printed)
        #expect(try DomainName(printed) == name)
        #expect(try DomainName(wire: name.wire) == name)
    }

    @Test(arguments: ["", "..", ".a", "a..b", "a\\", "a\\25", "a\\256", "a\\2x5"])
    func malformedPresentation(_ text: String) {
        #expect(throws: NameError.self) { try DomainName(text) }
    }

    @Test func limits() throws {
        let label = String(repeating: "a", count: 63)
        #expect(try DomainName(label).labelCount == 1)
        #expect(throws: NameError.labelTooLong) { try DomainName(label + "a") }
        let longest = [label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")
        #expect(try DomainName(longest).wire.count == 255)
        #expect(throws: NameError.nameTooLong) { try DomainName(longest + "b") }
        #expect(throws: NameError.nameTooLong) { try DomainName("x").appending(DomainName(longest)) }
        #expect(throws: NameError.nameTooLong) { try DomainName(longest).prepending(label: [0x61]) }
    }

    @Test func caseIsIgnoredInComparisonOnly() throws {
        let name = try DomainName("MaIl.eXample.TEST[\\]`{@")
        let other = try DomainName("mail.example.test[\\]`{@")
        #expect(name == other)
        #expect(name.hashValue == other.hashValue)
        #expect(name.description != other.description)
        #expect(try DomainName("[") != DomainName("{"))
        #expect(try DomainName("@x") != DomainName("`x"))
        #expect(try DomainName("\\193") != DomainName("\\225"))
        for octet in UInt8.min...UInt8.max {
            let word = asciiLowercased(UInt64(octet) * 0x0101_0101_0101_0101)
            #expect(word == UInt64(asciiLowercased(octet)) * 0x0101_0101_0101_0101)
        }
    }

    @Test func labelsWithDotsBetween() throws {
        let label = String(repeating: "a", count: 63)
        for text in [
            "a", "a.B.c", "\\065.\"x\"", label, "\(label).\(label).\(label).\(String(repeating: "b", count: 61))",
        ] {
            let octets = Array(text.utf8)
            let split = octets.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            #expect(try DomainName(dotted: octets[...]).wire == DomainName(labels: split).wire)
        }
        for (text, error) in [
            ("", NameError.emptyLabel), (".", .emptyLabel), ("a.", .emptyLabel), (".a", .emptyLabel),
            ("a..b", .emptyLabel),
            (label + "a", .labelTooLong),
            ("\(label).\(label).\(label).\(String(repeating: "b", count: 62))", .nameTooLong),
        ] {
            #expect(throws: error, "\(text)") { try DomainName(dotted: Array(text.utf8)[...]) }
        }
    }

    @Test func ancestry() throws {
        let name = try DomainName("a.b.Example.test")
        #expect(try name.isSubdomain(of: DomainName("example.TEST")))
        #expect(name.isSubdomain(of: name))
        #expect(name.isSubdomain(of: .root))
        #expect(try !name.isSubdomain(of: DomainName("xample.test")))
        #expect(try !DomainName("test").isSubdomain(of: name))
        #expect(try name.parent == DomainName("b.example.test"))
        #expect(try name.suffix(labels: 2) == DomainName("example.test"))
        #expect(name.suffix(labels: 0) == .root)
        #expect(name.suffix(labels: 9) == name)
        #expect(DomainName.root.parent == nil)
        #expect(
            try name.replacing(suffix: DomainName("example.test"), with: DomainName("x.net")) == DomainName("a.b.x.net")
        )
        #expect(try name.replacing(suffix: name, with: .root) == nil)
    }

    /// RFC 4034 §6.1's own example.
    @Test func canonicalOrder() throws {
        let names = try [
            "example", "a.example", "yljkjljk.a.example", "Z.a.example", "zABC.a.EXAMPLE", "z.example",
            "\\001.z.example", "*.z.example", "\\200.z.example",
        ].map { try DomainName($0) }
        #expect(names.shuffled().sorted() == names)
    }

    /// Names above a name share its octets; nothing may show it.
    @Test(arguments: ["a.B.example.test", "x.\\000.*.Test", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b"])
    func namesAbove(text: String) throws {
        var name: DomainName? = try DomainName(text)
        while let above = name {
            let own = try DomainName(wire: above.wire)
            #expect(own == above)
            #expect(own.hashValue == above.hashValue)
            #expect(!(own < above) && !(above < own))
            #expect(own.description == above.description)
            #expect(own.labels.map(Array.init) == above.labels.map(Array.init))
            #expect((own.wireCount, own.labelCount, own.isRoot) == (above.wireCount, above.labelCount, above.isRoot))
            #expect(own.isWildcard == above.isWildcard)
            #expect(own.firstLabel.map(Array.init) == above.firstLabel.map(Array.init))
            #expect(above.compacted.wire == own.wire)
            #expect(above.lowercased.wire == own.lowercased.wire)
            #expect(above.isSubdomain(of: own) && own.isSubdomain(of: above))
            #expect(try above.prepending(label: [0x61]).wire == own.prepending(label: [0x61]).wire)
            #expect(try above.appending(.root).wire == own.wire)
            let message = DNSMessage(id: 1, questions: [Question(name: above, type: .a)])
            #expect(try DNSMessage(decoding: message.encode()).questions.first?.name.wire == own.wire)
            name = above.parent
        }
    }
}
