import ArgumentParser
import DNS
import Daemon
import MIME

/// What the words of a command line, or of a line at the prompt, ask for.
struct DNSLookupRequest {
    var questions: [Question]
    /// nil for resolverd on its own socket.
    var server: DNSServerAddress?
    var serverName = "resolverd"

    /// - Parameters:
    ///   - words: a name or an address, perhaps a type, perhaps a server behind `@`.
    ///   - type: the type where the words name none; nil for both kinds of address.
    ///   - reverse: an address whose name is asked for, in the place of a name.
    ///   - transport: what carries questions to a server that doesn't say.
    init(
        _ words: [String],
        type: String? = nil,
        reverse: String? = nil,
        transport: DNSServerAddress.Transport = .plain
    ) throws {
        var rest = words
        if let index = rest.firstIndex(where: { $0.hasPrefix("@") }) {
            serverName = String(rest.remove(at: index).dropFirst())
            server = try DNSServerAddress(serverName, standard: transport)
        }
        if let reverse {
            guard let name = Self.reverseName(reverse) else {
                throw ValidationError("\"\(reverse)\" is not an address")
            }
            guard rest.isEmpty else { throw ValidationError("--reverse takes the place of a name") }
            questions = [Question(name: name, type: try type.map(Self.type) ?? .ptr)]
            return
        }
        guard let text = rest.first, rest.count <= 2 else { throw ValidationError("a name is needed, perhaps a type") }
        let given = try rest.count == 2 ? Self.type(rest[1]) : nil
        if let reverse = Self.reverseName(text) {
            questions = [Question(name: reverse, type: given ?? .ptr)]
            return
        }
        let name = try Self.name(text)
        questions = (try (given ?? type.map(Self.type)).map { [$0] } ?? [.a, .aaaa]).map {
            Question(name: name, type: $0)
        }
    }

    private static func type(_ text: String) throws -> RecordType {
        guard let type = RecordType(mnemonic: Array(text.utf8)) else {
            throw ValidationError("unknown type \"\(text)\"")
        }
        return type
    }

    /// A domain name, in letters of all scripts (IDNA2008).
    private static func name(_ text: String) throws -> DomainName {
        var octets = Array(text.utf8)
        if octets.contains(where: { $0 > 0x7F }) {
            guard let converted = InternationalDomain.ascii(octets) else {
                throw ValidationError("\"\(shown(text))\" is not an internationalised domain name")
            }
            octets = converted
        }
        do {
            return try DomainName(presentation: octets)
        } catch {
            throw ValidationError("\"\(shown(text))\" is not a domain name (\(error))")
        }
    }

    /// The name whose PTR record belongs to an address (RFC 1035 §3.5, RFC 3596 §2.5); nil for anything else.
    private static func reverseName(_ text: String) -> DomainName? {
        if let octets = AddressText.parse4(Array(text.utf8)) {
            return try? DomainName(octets.reversed().map { String($0) }.joined(separator: ".") + ".in-addr.arpa")
        }
        guard let octets = AddressText.parse6(Array(text.utf8)) else { return nil }
        let digits = octets.reversed().map { String($0 & 15, radix: 16) + "." + String($0 >> 4, radix: 16) }
        return try? DomainName(digits.joined(separator: ".") + ".ip6.arpa")
    }
}
