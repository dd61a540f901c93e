import MIME
import Testing

/// Numbers that look random and are the same at every run.
private struct Chance {
    var state: UInt64

    mutating func number() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 17
    }

    mutating func below(_ count: Int) -> Int { Int(number() % UInt64(max(1, count))) }
    mutating func element<T>(_ all: [T]) -> T { all[below(all.count)] }
}

/// Things that hold for every message, tried with many.
@Suite struct PropertyTests {
    private static let words = [
        "hello", "Grüße", "日本", "😀", "=", "=?", "?=", "\"q\"", "a,b", "<x>", "(c)", "From ", ".", " ", "  ", "\\", "%",
        "long" + String(repeating: "x", count: 90),
    ]

    private func phrase(_ chance: inout Chance) -> String {
        (0..<chance.below(8)).map { _ in chance.element(Self.words) }.joined(separator: chance.element(["", " "]))
    }

    private func entity(_ chance: inout Chance, depth: Int) -> MIMEEntity {
        switch chance.below(depth > 3 ? 2 : 4) {
        case 0:
            let lines = (0..<chance.below(6)).map { _ in phrase(&chance) }
            return .text(
                subtype: chance.element(["plain", "html"]),
                lines.joined(separator: chance.element(["\n", "\r\n"]))
            )
        case 1:
            let content = noise(chance.below(3000), seed: chance.number() | 1)
            return .attachment(type: "application/octet-stream", name: "x" + phrase(&chance), content)
        case 2: return .message(Array("Subject: inner\r\n\r\n".utf8) + Array("text \(chance.below(9))\r\n".utf8))
        default:
            let parts = (0...chance.below(3)).map { _ in entity(&chance, depth: depth + 1) }
            return .multipart(subtype: chance.element(["mixed", "alternative", "related"]), parameters: [:], parts)
        }
    }

    private func build(_ chance: inout Chance) throws -> (octets: [UInt8], body: MIMEEntity, subject: String) {
        let body = entity(&chance, depth: 0)
        let subject = phrase(&chance)
        var header = HeaderBuilder()
        try header.add("Subject", text: subject)
        var numbers = Chance(state: chance.number())
        let builder = MessageBuilder(allowsEightBit: chance.below(2) == 0) { numbers.number() << 20 ^ numbers.number() }
        return (try builder.build(header, body).octets, body, subject)
    }

    private func compare(_ part: MessagePart, _ entity: MIMEEntity, _ octets: [UInt8]) {
        let content = TransferDecoder.decode(octets[part.body], part.content.encoding)
        switch entity {
        case .text(let subtype, let text):
            #expect(part.content.type.value == Array("text/\(subtype)".utf8))
            let lines = text.replacing("\r\n", with: "\n").replacing("\n", with: "\r\n")
            #expect(String(decoding: content, as: UTF8.self) == lines)
        case .attachment(_, let name, let wanted):
            #expect(content == wanted && part.content.fileName == name)
        case .multipart(_, _, let parts):
            #expect(part.children.count == parts.count)
            for (child, wanted) in zip(part.children, parts) { compare(child, wanted, octets) }
        case .message(let wanted): #expect(Array(octets[part.body]) == wanted)
        case .fields: break
        }
    }

    @Test(arguments: 1...60) func whatIsBuiltIsReadTheSame(seed: Int) throws {
        var chance = Chance(state: UInt64(seed) &* 977)
        let (octets, body, subject) = try build(&chance)
        var parser = StructureParser()
        octets.withUnsafeBytes { parser.feed($0) }
        let root = parser.finish()
        #expect(root.envelope?.subject.map { EncodedWords.text($0) } ?? "" == subject)
        compare(root, body, octets)
        #expect(octets.split(separator: 10).allSatisfy { $0.count <= 999 })
    }

    private func outline(_ part: MessagePart) -> String {
        "\(part.header) \(part.body) \(part.lines) \(part.defects.rawValue) \(part.children.map(outline))"
    }

    private func outline(_ octets: [UInt8], by size: Int) -> String {
        var parser = StructureParser()
        for piece in pieces(octets, size) { piece.withUnsafeBytes { parser.feed($0) } }
        return outline(parser.finish())
    }

    @Test(arguments: 1...30) func piecesChangeNothing(seed: Int) throws {
        var chance = Chance(state: UInt64(seed) &* 31)
        let octets = try build(&chance).octets
        let whole = outline(octets, by: octets.count)
        for size in [1, 2, 3, 7, 61, 1 + chance.below(octets.count)] { #expect(outline(octets, by: size) == whole) }
    }

    @Test(arguments: 1...30) func changedOctetsNeverTrap(seed: Int) throws {
        var chance = Chance(state: UInt64(seed) &* 131)
        let octets = try build(&chance).octets
        for _ in 0..<20 {
            var changed = octets
            for _ in 0...chance.below(8) {
                switch chance.below(3) {
                case 0: changed[chance.below(changed.count)] = UInt8(chance.below(256))
                case 1: changed.remove(at: chance.below(changed.count))
                default: changed.insert(chance.element(Array("\r\n-=\";:<>@(\0".utf8)), at: chance.below(changed.count))
                }
            }
            var check = MessageCheck()
            changed.withUnsafeBytes { check.feed($0) }
            let root = check.finish()
            #expect(root.body.upperBound <= changed.count)
            #expect(outline(changed, by: 13) == outline(changed, by: changed.count))
            let header = HeaderBlock(changed)
            for field in header.fields {
                let value = header.value(of: field)
                _ = AddressListParser.parse(value)
                _ = DateTime(field: value)
                _ = EncodedWords.text(value)
                _ = MessageIdentifiers.list(value)
            }
        }
    }

    private func listed(_ chance: inout Chance) -> ListedAddress {
        let name = phrase(&chance)
        let hosts = ["a.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "x-y.z"]
        let locals = ["a", "a.b", "a b", "\"", "\\", "a..b", ".", "ä", "x+y", "(c)", "@", "<", ",", "=?utf-8?q?a?="]
        return ListedAddress(
            name: name.isEmpty ? nil : Array(name.utf8),
            mailbox: Array((chance.element(locals) + chance.element(["", "1", " z"])).utf8),
            host: Array(chance.element(hosts).utf8)
        )
    }

    @Test(arguments: 1...100) func printedAddressesAreReadTheSame(seed: Int) throws {
        var chance = Chance(state: UInt64(seed) &* 17)
        var list: [ListedAddress] = []
        for _ in 0...chance.below(6) {
            let isGroup = chance.below(4) == 0
            if isGroup { list.append(ListedAddress(name: nil, mailbox: Array("G \(phrase(&chance))".utf8), host: nil)) }
            for _ in 0..<chance.below(3) { list.append(listed(&chance)) }
            if isGroup { list.append(ListedAddress(name: nil, mailbox: nil, host: nil)) }
        }
        var header = HeaderBuilder()
        try header.add("To", addresses: list)
        let block = HeaderBlock(header.octets)
        try #require(block.fields.count == 1)
        let again = AddressListParser.parse(block.value(of: block.fields[0]))
        // What looks like an encoded word in a name is read as one.
        #expect(
            again.map { $0.host == nil ? nil : $0.displayName } == list.map { $0.host == nil ? nil : $0.displayName }
        )
        #expect(again.filter { $0.host != nil }.map(\.mailbox) == list.filter { $0.host != nil }.map(\.mailbox))
        #expect(again.map(\.host) == list.map(\.host))
    }
}
