import Daemon
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// Edits `etc/users`: under a lock, written anew beside the old file and renamed over it, durable when the call returns.
/// Comments and the order of lines stay; owner and mode too.
package struct AccountFileEditor {
    private let file: String

    package init(file: String) { self.file = file }

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

    /// All accounts in the file.
    package func accounts() throws(Fault) -> [Account] { try table(try read()).all }

    private static func isLine(_ line: [UInt8], of address: MailAddress) -> Bool {
        let text = String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line[...], as: UTF8.self)
        guard !text.isEmpty, text.first != "#", case .success(let account) = Account.parse(text[...]) else {
            return false
        }
        return AddressKey(account.address) == AddressKey(address)
    }

    /// A change of the file's lines, which it gets with the table that they are. It says what the table must have for
    /// an address afterwards.
    private typealias Change = (inout [[UInt8]], AccountTable) throws(Fault) -> (MailAddress, Account?)

    private func edit(_ change: Change) throws(Fault) {
        let lock = open("\(file).lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw systemFault("lock") }
        defer { close(lock) }
        guard flock(lock, LOCK_EX) == 0 else { throw systemFault("lock") }
        let octets = try read()
        // Octets, not text: comments may be in any encoding.
        var lines = octets.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Array.init)
        if lines.last?.isEmpty == true { lines.removeLast() }
        let (address, account) = try change(&lines, try table(octets))
        let fresh = Array(lines.map { $0 + [UInt8(ascii: "\n")] }.joined())
        // A colon in a quoted address, say, must not break the table for everybody.
        guard let table = try? table(fresh), table[address]?.line == account?.line else {
            throw .unwritable(address.description)
        }
        try replace(fresh)
    }

    private func table(_ octets: [UInt8]) throws(Fault) -> AccountTable {
        do {
            return try AccountTable(text: String(decoding: octets, as: UTF8.self), file: file)
        } catch {
            throw .unreadable(error)
        }
    }

    private func read() throws(Fault) -> [UInt8] {
        guard let octets = WholeFile.octets(file, maximum: 256 << 20) else { throw systemFault("read") }
        return octets
    }

    private func replace(_ octets: [UInt8]) throws(Fault) {
        var status = stat()
        guard stat(file, &status) == 0 else { throw systemFault("stat") }
        let fresh = "\(file).new"
        unlink(fresh)
        let descriptor = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw systemFault("write") }
        defer { close(descriptor) }
        guard fchown(descriptor, status.st_uid, status.st_gid) == 0, fchmod(descriptor, status.st_mode & 0o7777) == 0,
            write(octets, to: descriptor), fsync(descriptor) == 0, rename(fresh, file) == 0
        else {
            let fault = systemFault("write")
            unlink(fresh)
            throw fault
        }
        try syncDirectory()
    }

    private func syncDirectory() throws(Fault) {
        let path = file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw systemFault("sync") }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw systemFault("sync") }
    }

    private func systemFault(_ what: String) -> Fault {
        .system("cannot \(what) \(file): \(String(cString: strerror(errno)))")
    }

    private func write(_ octets: [UInt8], to descriptor: CInt) -> Bool {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
