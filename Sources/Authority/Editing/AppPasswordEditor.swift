import SMTP

/// Edits `etc/app-passwords`. Comments and the order of lines stay.
package struct AppPasswordEditor {
    private let table: TableFile

    /// - Parameter users: the table of users, whose owner and mode a new file gets.
    package init(file: String, users: String) { table = TableFile(file, likeMissing: users) }

    /// Why an edit was not made.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        case exists(String)
        case missing(String)
        case tooMany(String)
        case unreadable(TableError)
        /// It can't stand in a line of the table.
        case unwritable(String)
        case system(String)

        package var description: String {
            switch self {
            case .exists(let name): "there is an app password \"\(name)\" already"
            case .missing(let name): "there is no app password \"\(name)\""
            case .tooMany(let address):
                "\(address) has \(AppPasswordTable.maximumPerAccount) app passwords already; remove some"
            case .unreadable(let error): error.description
            case .unwritable(let name): "\"\(name)\" cannot be written in a line of the table"
            case .system(let reason): reason
            }
        }
    }

    package func add(_ password: AppPassword) throws(Fault) {
        try edit { lines, known throws(Fault) in
            guard !known[password.address].contains(where: { $0.name == password.name }) else {
                throw .exists(password.name)
            }
            guard known[password.address].count < AppPasswordTable.maximumPerAccount else {
                throw .tooMany(password.address.description)
            }
            lines.append(Array(password.line.utf8))
        } check: {
            $0[password.address].contains(password) ? nil : .unwritable(password.name)
        }
    }

    package func remove(_ name: String, of address: MailAddress) throws(Fault) {
        try edit { lines, known throws(Fault) in
            guard known[address].contains(where: { $0.name == name }) else { throw .missing(name) }
            lines.removeAll { Self.password(in: $0, of: address)?.name == name }
        } check: {
            $0[address].contains { $0.name == name } ? .unwritable(name) : nil
        }
    }

    /// Removes all of an account; there need not be any.
    package func removeAll(of address: MailAddress) throws(Fault) {
        guard try !passwords(of: address).isEmpty else { return }
        try edit { lines, _ throws(Fault) in
            lines.removeAll { Self.password(in: $0, of: address) != nil }
        } check: {
            $0[address].isEmpty ? nil : .unwritable(address.description)
        }
    }

    /// Those of one account, in the order of their lines.
    package func passwords(of address: MailAddress) throws(Fault) -> [AppPassword] { try all()[address] }

    /// Those of all accounts.
    package func all() throws(Fault) -> AppPasswordTable {
        let octets: [UInt8]
        do throws(TableFile.Fault) { octets = try table.read() } catch { throw .system(error.description) }
        return try parsed(octets)
    }

    private static func password(in line: [UInt8], of address: MailAddress) -> AppPassword? {
        let text = TableFile.text(of: line)
        guard !text.isEmpty, text.first != "#", case .success(let password) = AppPassword.parse(text[...]),
            AddressKey(password.address) == AddressKey(address)
        else { return nil }
        return password
    }

    private func edit(
        _ change: (inout [[UInt8]], AppPasswordTable) throws(Fault) -> Void,
        check: (AppPasswordTable) -> Fault?
    ) throws(Fault) {
        try table.edit(failing: { Fault.system($0.description) }) { (lines, octets) throws(Fault) in
            try change(&lines, try parsed(octets))
            if let fault = check(try parsed(TableFile.joined(lines))) { throw fault }
        }
    }

    private func parsed(_ octets: [UInt8]) throws(Fault) -> AppPasswordTable {
        do {
            return try AppPasswordTable(text: String(decoding: octets, as: UTF8.self), file: table.path)
        } catch {
            throw .unreadable(error)
        }
    }
}
