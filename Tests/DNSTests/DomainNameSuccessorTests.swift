import Testing

@testable import DNS

@Suite struct DomainNameSuccessorTests {
    /// A name of so many octets whose first label has `first` octets, all the same.
    private func long(_ octets: Int, first: Int, _ octet: UInt8) throws -> DomainName {
        var labels: [[UInt8]] = []
        var left = octets - 1 - (first + 1)
        while left > 0 {
            let length = min(left - 1, 63)
            // No label of no octets may be left over.
            let taken = left - 1 - length == 1 ? length - 1 : length
            labels.append([UInt8](repeating: 0x78, count: taken))
            left -= taken + 1
        }
        return try DomainName(labels: [[UInt8](repeating: octet, count: first)] + labels)
    }

    @Test func aNamesFirstChildComesNext() throws {
        let origin = try DomainName("example.test")
        let name = try DomainName("A.example.test")
        #expect(name.successor(within: origin).description == "\\000.a.example.test.")
        #expect(name < name.successor(within: origin))
        #expect(DomainName.root.successor(within: .root).description == "\\000.")
    }

    @Test func longNamesAreFollowedByTheirSiblings() throws {
        let name = try long(254, first: 20, 0x61)
        #expect(name.wire.count == 254)
        let longer = name.successor(within: .root)
        #expect(longer.firstLabel.map(Array.init) == [UInt8](repeating: 0x61, count: 20) + [0])
        let longest = try long(255, first: 20, 0x61)
        let next = longest.successor(within: .root)
        #expect(next.firstLabel.map(Array.init) == [UInt8](repeating: 0x61, count: 19) + [0x62])
        for (one, other) in [(name, longer), (longest, next)] { #expect(one < other) }
    }

    @Test func capitalsAreLeftOut() throws {
        let name = try long(255, first: 20, 0x40)
        #expect(name.successor(within: .root).firstLabel?.last == 0x5B)
    }

    @Test func theLastLabelsParentFollows() throws {
        let name = try long(255, first: 20, 0xFF)
        let next = name.successor(within: .root)
        #expect(next.labelCount == name.labelCount - 1)
        #expect(name < next)
        let parent = try #require(name.parent)
        #expect(name.successor(within: parent) == parent)
    }
}
