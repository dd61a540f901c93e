import SMTP

/// Edits `etc/certificates`. Comments and the order of lines stay.
package struct CertificateEditor {
    private let table: TableFile

    /// - Parameter users: the table of users, whose owner and mode a new file gets.
    package init(file: String, users: String) { table = TableFile(file, likeMissing: users) }

    /// Why an edit was not made.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        case unreadable(TableError)
        case system(String)

        package var description: String {
            switch self {
            case .unreadable(let error): error.description
            case .system(let reason): reason
            }
        }
    }

    /// Whether the table can be read and understood, which it's edited under.
    package func check() throws(Fault) { try check(try read()) }

    /// Whether a line names the address.
    package func hasLines(of address: MailAddress) throws(Fault) -> Bool {
        let octets = try read()
        try check(octets)
        return octets.split(separator: UInt8(ascii: "\n")).contains { Self.isLine($0, of: address) }
    }

    /// Removes the lines of an address; there need not be any.
    package func removeAll(of address: MailAddress) throws(Fault) {
        guard try hasLines(of: address) else { return }
        try table.edit(failing: { Fault.system($0.description) }) { (lines, octets) throws(Fault) in
            try check(octets)
            lines.removeAll { Self.isLine($0, of: address) }
        }
    }

    private static func isLine(_ line: some Collection<UInt8>, of address: MailAddress) -> Bool {
        let text = String(decoding: line, as: UTF8.self)
        guard !text.isEmpty, text.first != "#",
            let owner = try? MailAddress(parsing: text.prefix(while: { $0 != ":" }).utf8, options: .utf8)
        else { return false }
        return AddressKey(owner) == AddressKey(address)
    }

    private func read() throws(Fault) -> [UInt8] {
        do throws(TableFile.Fault) { return try table.read() } catch { throw .system(error.description) }
    }

    private func check(_ octets: [UInt8]) throws(Fault) {
        do {
            _ = try CertificateTable(text: String(decoding: octets, as: UTF8.self), file: table.path)
        } catch {
            throw .unreadable(error)
        }
    }
}
