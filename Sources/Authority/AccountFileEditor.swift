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
        case system(String)

        package var description: String {
            switch self {
            case .exists(let address): return "\(address) exists already"
            case .missing(let address): return "there is no \(address)"
            case .unreadable(let error): return error.description
            case .system(let reason): return reason
            }
        }
    }

    package func add(_ account: Account) throws(Fault) {
        try edit { lines, table throws(Fault) in
            guard table[account.address] == nil else { throw .exists(account.address.description) }
            lines.append(account.line)
        }
    }

    /// Changes an account in place.
    package func change(_ address: MailAddress, _ change: (inout Account) -> Void) throws(Fault) {
        try edit { lines, table throws(Fault) in
            guard var account = table[address] else { throw .missing(address.description) }
            change(&account)
            lines = lines.map { Self.isLine($0, of: address) ? account.line : $0 }
        }
    }

    package func remove(_ address: MailAddress) throws(Fault) {
        try edit { lines, table throws(Fault) in
            guard table[address] != nil else { throw .missing(address.description) }
            lines.removeAll { Self.isLine($0, of: address) }
        }
    }

    /// All accounts in the file.
    package func accounts() throws(Fault) -> [Account] {
        let text = try read()
        do {
            return try AccountTable(text: text, file: file).all
        } catch {
            throw .unreadable(error)
        }
    }

    private static func isLine(_ line: String, of address: MailAddress) -> Bool {
        guard !line.isEmpty, line.first != "#", case .success(let account) = Account.parse(line[...]) else {
            return false
        }
        return AddressKey(account.address) == AddressKey(address)
    }

    private func edit(_ change: (inout [String], AccountTable) throws(Fault) -> Void) throws(Fault) {
        let lock = open("\(file).lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw systemFault("lock") }
        defer { close(lock) }
        guard flock(lock, LOCK_EX) == 0 else { throw systemFault("lock") }
        let text = try read()
        let table: AccountTable
        do {
            table = try AccountTable(text: text, file: file)
        } catch {
            throw .unreadable(error)
        }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last?.isEmpty == true { lines.removeLast() }
        try change(&lines, table)
        try replace(lines.map { $0 + "\n" }.joined())
    }

    private func read() throws(Fault) -> String {
        guard let text = WholeFile.read(file, maximum: 256 << 20) else { throw systemFault("read") }
        return text
    }

    private func replace(_ text: String) throws(Fault) {
        var status = stat()
        guard stat(file, &status) == 0 else { throw systemFault("look at") }
        let fresh = "\(file).new"
        unlink(fresh)
        let descriptor = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw systemFault("write") }
        defer { close(descriptor) }
        guard fchown(descriptor, status.st_uid, status.st_gid) == 0, fchmod(descriptor, status.st_mode & 0o7777) == 0,
            write(text, to: descriptor), fsync(descriptor) == 0, rename(fresh, file) == 0
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

    private func write(_ text: String, to descriptor: CInt) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
