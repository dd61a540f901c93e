import SMTP

/// `etc/senders` as it was read: which addresses users may send from beside their own and the aliases that lead to them,
/// `account: address, @domain, *`. An account may have several lines.
package struct SenderTable: Sendable {
    /// What a user may send from.
    package enum Right: Hashable, Sendable {
        case address(MailAddress)
        /// All addresses of a domain, in lower case.
        case domain(String)
        case anything

        /// nil where it's neither an address, nor `@domain`, nor `*`.
        package init?(_ text: some StringProtocol) {
            if text == "*" {
                self = .anything
            } else if text.first == "@" {
                guard let address = try? MailAddress(parsing: "x\(text)".utf8, options: .utf8) else { return nil }
                self = .domain(address.lowercasedDomain)
            } else {
                guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else { return nil }
                self = .address(address)
            }
        }

        /// As it's written in the table.
        package var text: String {
            switch self {
            case .address(let address): address.description
            case .domain(let domain): "@\(domain)"
            case .anything: "*"
            }
        }

        func allows(_ address: MailAddress) -> Bool {
            switch self {
            case .address(let own): AddressKey(own) == AddressKey(address)
            case .domain(let domain): address.lowercasedDomain == domain
            case .anything: true
            }
        }
    }

    /// One line.
    package struct Entry: Sendable {
        package let account: MailAddress
        package let rights: [Right]
    }

    private var rights: [AddressKey: [Right]] = [:]
    /// Whose lines there are, in their order.
    package private(set) var accounts: [MailAddress] = []

    package init() {}

    /// - Throws: `TableError` with every line that can't be understood.
    package init(text: String, file: String) throws(TableError) {
        var faults = TableFaults(file: file)
        for (number, line) in TableLines(text) {
            switch Self.parse(line) {
            case .failure(let fault): faults.add(line: number, reason: fault.reason)
            case .success(let entry):
                let key = AddressKey(entry.account)
                if rights[key] == nil { accounts.append(entry.account) }
                rights[key, default: []] += entry.rights
            }
        }
        try faults.check()
    }

    package static func parse(_ line: Substring) -> Result<Entry, TableFault> {
        if let reason = TableLines.fault(of: line) { return .failure(TableFault(reason)) }
        guard let colon = line.firstIndex(of: ":") else {
            return .failure(TableFault("expected account: address, @domain"))
        }
        let name = TableLines.trimmed(line[..<colon])
        guard let account = try? MailAddress(parsing: name.utf8, options: .utf8) else {
            return .failure(TableFault("\"\(name)\" is not an address"))
        }
        var rights: [Right] = []
        for part in line[line.index(after: colon)...].split(separator: ",", omittingEmptySubsequences: false) {
            let text = TableLines.trimmed(part)
            guard let right = Right(text) else {
                return .failure(TableFault("\"\(text)\" is neither an address, nor @domain, nor *"))
            }
            rights.append(right)
        }
        return .success(Entry(account: account, rights: rights))
    }

    /// What an account may send from beside its own addresses.
    package subscript(account: MailAddress) -> [Right] { rights[AddressKey(account)] ?? [] }
}
