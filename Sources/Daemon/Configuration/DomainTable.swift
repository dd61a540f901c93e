import MIME

/// Settings by domain: `example.net` for a domain, `.example.net` for what is below it, `*` for all the rest.
package struct DomainTable<Value: Sendable>: Sendable {
    private var exact: [String: Value] = [:]
    private var below: [String: Value] = [:]
    private var everything: Value?

    /// - Parameter values: by names in lower case.
    package init(_ values: [String: Value]) {
        for (name, value) in values {
            if name == "*" {
                everything = value
            } else if name.utf8.first == UInt8(ascii: ".") {
                below[Self.key(String(name.dropFirst()))] = value
            } else {
                exact[Self.key(name)] = value
            }
        }
    }

    /// Whether nothing is set.
    package var isEmpty: Bool { exact.isEmpty && below.isEmpty && everything == nil }

    /// A domain as it's looked up: in lower case, and an international one with A-labels: it's the same in both of its forms.
    package static func key(_ domain: String) -> String {
        // Most are like that already, and this is asked for each recipient.
        guard domain.utf8.contains(where: { $0 >= 0x80 || (0x41...0x5A).contains($0) }) else { return domain }
        guard !domain.utf8.allSatisfy({ $0 < 0x80 }), let ascii = InternationalDomain.ascii(Array(domain.utf8)) else {
            return domain.lowercased()
        }
        return String(decoding: ascii, as: UTF8.self).lowercased()
    }

    /// What stands for a domain: its own, else that of the nearest domain above, else the one for everything.
    package subscript(_ domain: String) -> Value? {
        let domain = Self.key(domain)
        if let value = exact[domain] { return value }
        var rest = domain[...]
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            if let value = below[String(rest)] { return value }
        }
        return everything
    }
}

extension DomainTable: Equatable where Value: Equatable {}
