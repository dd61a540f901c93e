import SMTP

/// Edits `etc/users`. Comments and the order of lines stay.
package struct AccountFileEditor {
    private let table: TableFile

    package init(file: String) { table = TableFile(file) }

    /// Why an edit was not made.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        case exists(String)
        case missing(String)
        case unreadable(TableError)
        /// The mailbox can't be used: why.
        case mailbox(String)
        /// The account has something that a line of the table cannot hold.
        case unwritable(String)
        case system(String)

        package var description: String {
            switch self {
            case .exists(let address): return "\(address) exists already"
            case .missing(let address): return "there is no \(address)"
            case .unreadable(let error): return error.description
            case .mailbox(let reason): return "\(reason); give the user another one by --mailbox"
            case .unwritable(let address):
                return "\(address) or what belongs to it cannot be written in a line of the table"
            case .system(let reason): return reason
            }
        }
    }

    package func add(_ account: Account) throws(Fault) {
        try edit { lines, table throws(Fault) in
            guard table[account.address] == nil else { throw .exists(account.address.description) }
            if let reason = table.objection(to: account) { throw .mailbox(reason) }
            lines.append(Array(account.line.utf8))
            return (account.address, account)
        }
    }

    /// Changes an account in place.
    package func change(_ address: MailAddress, _ change: (inout Account) -> Void) throws(Fault) {
        try edit { lines, table throws(Fault) in
            guard var account = table[address] else { throw .missing(address.description) }
            change(&account)
            lines = lines.map { Self.isLine($0, of: address) ? Array(account.line.utf8) : $0 }
            return (address, account)
        }
    }

    package func remove(_ address: MailAddress) throws(Fault) {
        try edit { lines, table throws(Fault) in
            guard table[address] != nil else { throw .missing(address.description) }
            lines.removeAll { Self.isLine($0, of: address) }
            return (address, nil)
        }
    }

    /// The account of an address.
    package func account(_ address: MailAddress) throws(Fault) -> Account {
        guard let account = try accountTable(try read())[address] else { throw .missing(address.description) }
        return account
    }

    /// All accounts in the file.
    package func accounts() throws(Fault) -> [Account] { try accountTable(try read()).all }

    private static func isLine(_ line: [UInt8], of address: MailAddress) -> Bool {
        let text = TableFile.text(of: line)
        guard !text.isEmpty, text.first != "#", case .success(let account) = Account.parse(text[...]) else {
            return false
        }
        return AddressKey(account.address) == AddressKey(address)
    }

    /// A change of the file's lines, which it gets with the table that they are. It says what the table must have for
    /// an address afterwards.
    private typealias Change = (inout [[UInt8]], AccountTable) throws(Fault) -> (MailAddress, Account?)

    private func edit(_ change: Change) throws(Fault) {
        try table.edit(failing: { Fault.system($0.description) }) { (lines, octets) throws(Fault) in
            let (address, account) = try change(&lines, try accountTable(octets))
            // A colon in a quoted address, say, must not break the table for everybody.
            guard let fresh = try? accountTable(TableFile.joined(lines)), fresh[address]?.line == account?.line else {
                throw .unwritable(address.description)
            }
        }
    }

    private func accountTable(_ octets: [UInt8]) throws(Fault) -> AccountTable {
        do {
            return try AccountTable(text: String(decoding: octets, as: UTF8.self), file: table.path)
        } catch {
            throw .unreadable(error)
        }
    }

    private func read() throws(Fault) -> [UInt8] {
        do throws(TableFile.Fault) { return try table.read() } catch { throw .system(error.description) }
    }
}
