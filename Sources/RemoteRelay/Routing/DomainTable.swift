/// Settings by domain: `example.net` for a domain, `.example.net` for what is below it, `*` for all the rest.
struct DomainTable<Value: Sendable>: Sendable {
    private var exact: [String: Value] = [:]
    private var below: [String: Value] = [:]
    private var everything: Value?

    /// - Parameter values: by names in lower case.
    init(_ values: [String: Value]) {
        for (name, value) in values {
            if name == "*" {
                everything = value
            } else if name.utf8.first == UInt8(ascii: ".") {
                below[String(name.dropFirst())] = value
            } else {
                exact[name] = value
            }
        }
    }

    /// What stands for a domain: its own, else that of the nearest domain above, else the one for everything.
    subscript(_ domain: String) -> Value? {
        let domain = domain.lowercased()
        if let value = exact[domain] { return value }
        var rest = domain[...]
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            if let value = below[String(rest)] { return value }
        }
        return everything
    }
}
