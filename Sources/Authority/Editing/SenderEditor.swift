import SMTP

/// Edits `etc/senders`. Comments and the order of lines stay.
package struct SenderEditor {
    private let table: TableFile

    /// - Parameter users: the table of users, whose owner and mode a new file gets.
    package init(file: String, users: String) { table = TableFile(file, likeMissing: users) }

    /// Why an edit was not made.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        case exists(String)
        case missing(String)
        case unreadable(TableError)
        case system(String)

        package var description: String {
            switch self {
            case .exists(let text): "\(text) is allowed already"
            case .missing(let text): "\(text) is not in the table"
            case .unreadable(let error): error.description
            case .system(let reason): reason
            }
        }
    }

    /// What an account may send from beside its own addresses.
    package func rights(of account: MailAddress) throws(Fault) -> [SenderTable.Right] {
        let octets: [UInt8]
        do throws(TableFile.Fault) { octets = try table.read() } catch { throw .system(error.description) }
        return try parsed(octets)[account]
    }

    package func add(_ right: SenderTable.Right, for account: MailAddress) throws(Fault) {
        try edit { lines, known throws(Fault) in
            guard !known[account].contains(right) else { throw .exists(right.text) }
            lines.append(Self.line(account, [right]))
        }
    }

    package func remove(_ right: SenderTable.Right, of account: MailAddress) throws(Fault) {
        try edit { lines, known throws(Fault) in
            guard known[account].contains(right) else { throw .missing(right.text) }
            Self.change(&lines, of: account) { $0.filter { $0 != right } }
        }
    }

    /// Removes the lines of an account; there need not be any.
    package func removeAll(of account: MailAddress) throws(Fault) {
        guard try !rights(of: account).isEmpty else { return }
        try edit { lines, _ in Self.change(&lines, of: account) { _ in [] } }
    }

    /// Lines without rights go.
    private static func change(
        _ lines: inout [[UInt8]],
        of account: MailAddress,
        _ change: ([SenderTable.Right]) -> [SenderTable.Right]
    ) {
        lines = lines.compactMap { line in
            let text = TableFile.text(of: line)
            guard text.first != "#", case .success(let entry) = SenderTable.parse(text[...]),
                AddressKey(entry.account) == AddressKey(account)
            else { return line }
            let rights = change(entry.rights)
            return rights.isEmpty ? nil : rights == entry.rights ? line : Self.line(entry.account, rights)
        }
    }

    private static func line(_ account: MailAddress, _ rights: [SenderTable.Right]) -> [UInt8] {
        Array("\(account): \(rights.map(\.text).joined(separator: ", "))".utf8)
    }

    private func edit(_ change: (inout [[UInt8]], SenderTable) throws(Fault) -> Void) throws(Fault) {
        try table.edit(failing: { Fault.system($0.description) }) { (lines, octets) throws(Fault) in
            try change(&lines, try parsed(octets))
            // What was written has to be understood again.
            _ = try parsed(TableFile.joined(lines))
        }
    }

    private func parsed(_ octets: [UInt8]) throws(Fault) -> SenderTable {
        do {
            return try SenderTable(text: String(decoding: octets, as: UTF8.self), file: table.path)
        } catch {
            throw .unreadable(error)
        }
    }
}
