import NIOCore

/// One table of the configuration while it's decoded: typed values with defaults and ranges, and a memory of which keys
/// were read, so that `finish` can refuse the others.
package final class ConfigurationTable {
    private let table: [String: TOMLNode]
    private let path: [String]
    private let file: String
    /// Where the table begins; nil where it isn't in the file.
    private let line: Int?
    private var read: Set<String> = []
    private var children: [ConfigurationTable] = []
    /// Where keys are looked up that this table doesn't have.
    private var fallback: ConfigurationTable?

    init(_ table: [String: TOMLNode], path: [String] = [], file: String, line: Int? = nil) {
        self.table = table
        self.path = path
        self.file = file
        self.line = line
    }

    /// An error that names a key of this table, its file and its line.
    package func error(_ key: String, _ reason: String) -> ConfigurationError {
        if table[key] == nil, let fallback { return fallback.error(key, reason) }
        return ConfigurationError(
            file: file,
            line: table[key]?.line ?? line,
            key: (path + [key]).joined(separator: "."),
            reason: reason
        )
    }

    /// Where a key's value begins; nil where it isn't there.
    func line(of key: String) -> Int? { table[key]?.line ?? fallback?.line(of: key) }

    /// From now on, what isn't in this table is read from another one, and so within tables that both have.
    func fallBack(to other: ConfigurationTable) { fallback = other }

    /// The keys that are there, sorted.
    package var keys: [String] { table.keys.sorted() }

    /// Whether the key's value is a table.
    package func isTable(_ key: String) -> Bool { table[key]?.table != nil }

    /// A table within this one; an empty one where there is none.
    package func table(_ key: String) throws(ConfigurationError) -> ConfigurationTable {
        let value = value(key)
        guard value == nil || value?.table != nil else { throw error(key, "must be a table") }
        let child = ConfigurationTable(value?.table ?? [:], path: path + [key], file: file, line: value?.line)
        children.append(child)
        if table[key] != nil, let fallback { child.fallBack(to: try fallback.table(key)) }
        return child
    }

    package func string(_ key: String) throws(ConfigurationError) -> String? {
        guard let value = value(key) else { return nil }
        guard let string = value.string else { throw error(key, "must be a string") }
        return string
    }

    package func string(_ key: String, default standard: String) throws(ConfigurationError) -> String {
        try string(key) ?? standard
    }

    package func strings(_ key: String, default standard: [String] = []) throws(ConfigurationError) -> [String] {
        guard let value = value(key) else { return standard }
        guard let array = value.array else { throw error(key, "must be a list of strings") }
        var strings: [String] = []
        for element in array {
            guard let string = element.string else { throw error(key, "must be a list of strings") }
            strings.append(string)
        }
        return strings
    }

    package func boolean(_ key: String, default standard: Bool) throws(ConfigurationError) -> Bool {
        guard let value = value(key) else { return standard }
        guard let boolean = value.boolean else { throw error(key, "must be true or false") }
        return boolean
    }

    package func integer(
        _ key: String,
        default standard: Int,
        in range: ClosedRange<Int>
    ) throws(ConfigurationError) -> Int {
        guard let value = value(key) else { return standard }
        guard let integer = value.integer else { throw error(key, "must be a whole number") }
        guard range.contains(integer) else {
            throw error(key, "must lie between \(range.lowerBound) and \(range.upperBound)")
        }
        return integer
    }

    /// One of the cases of an enumeration of strings.
    package func choice<Value: RawRepresentable & CaseIterable>(
        _ key: String,
        default standard: Value
    ) throws(ConfigurationError) -> Value where Value.RawValue == String {
        guard let text = try string(key) else { return standard }
        guard let value = Value(rawValue: text) else {
            throw error(key, "must be one of " + Value.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return value
    }

    /// A number of octets: a whole number, or one with `KiB`, `MiB`, `GiB` or `TiB` behind it.
    package func octets(
        _ key: String,
        default standard: Int,
        in range: ClosedRange<Int> = 0...(1 << 50)
    ) throws(ConfigurationError) -> Int {
        guard let value = value(key) else { return standard }
        guard let octets = value.integer ?? value.string.flatMap({ Quantity.octets($0) }) else {
            throw error(key, "must be a number of octets such as 1048576 or \"1MiB\"")
        }
        guard range.contains(octets) else {
            throw error(key, "must lie between \(range.lowerBound) and \(range.upperBound) octets")
        }
        return octets
    }

    /// A time: a number with `ms`, `s`, `m`, `h` or `d` behind it.
    package func duration(
        _ key: String,
        default standard: TimeAmount,
        in range: ClosedRange<TimeAmount> = .zero ... .hours(24 * 365)
    ) throws(ConfigurationError) -> TimeAmount {
        guard let value = value(key) else { return standard }
        guard let duration = value.string.flatMap({ Quantity.duration($0) }) else {
            throw error(key, "must be a time such as \"30s\", \"5m\", \"4h\" or \"5d\"")
        }
        guard range.contains(duration) else {
            throw error(
                key,
                "must lie between \(range.lowerBound.nanoseconds / 1_000_000) and "
                    + "\(range.upperBound.nanoseconds / 1_000_000) ms"
            )
        }
        return duration
    }

    /// Addresses with ports: `192.0.2.1:25`, `[2001:db8::1]:25`.
    ///
    /// - Parameter port: taken where an entry has none; nil where each must have one.
    package func addresses(
        _ key: String,
        default standard: [SocketAddress] = [],
        port: Int? = nil
    ) throws(ConfigurationError) -> [SocketAddress] {
        guard let value = value(key) else { return standard }
        guard value.array != nil else { throw error(key, "must be a list of addresses") }
        var addresses: [SocketAddress] = []
        for text in try strings(key) {
            guard let address = Self.address(text, port: port) else {
                throw error(key, "\"\(text)\" is not an address with a port such as 192.0.2.1:25 or [2001:db8::1]:25")
            }
            addresses.append(address)
        }
        return addresses
    }

    /// Refuses keys that nothing read, here and in the tables within.
    func finish() throws(ConfigurationError) {
        for key in keys where !read.contains(key) { throw error(key, "unknown key") }
        for child in children { try child.finish() }
    }

    private func value(_ key: String) -> TOMLNode? {
        read.insert(key)
        // Asked in any case: it has been read there, too.
        let other = fallback?.value(key)
        return table[key] ?? other
    }

    /// An address in the form of the configuration; nil where it isn't one.
    package static func address(_ text: String, port standard: Int? = nil) -> SocketAddress? {
        var host = Substring(text)
        var port = standard
        if text.utf8.first == UInt8(ascii: "[") {
            guard let end = text.lastIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            if !rest.isEmpty {
                guard rest.first == ":" else { return nil }
                port = Int(rest.dropFirst())
            }
        } else if let colon = text.lastIndex(of: ":"), text.firstIndex(of: ":") == colon {
            host = text[..<colon]
            port = Int(text[text.index(after: colon)...])
        }
        guard let port, (0...65535).contains(port) else { return nil }
        return try? SocketAddress(ipAddress: String(host), port: port)
    }
}
