import Daemon
import Logging
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// Keeps the directory in step with `etc/users` and `etc/aliases`: a changed file is read again at the next question. A
/// file that can't be understood is reported, and the former table stays in use. Belongs to one event loop.
final class AccountFiles: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private struct Stamp: Equatable {
        var inode: UInt64 = 0
        var size: Int64 = -1
        var seconds = 0
        var nanoseconds = 0
        /// Of the last change of owner or mode as well, which may have made the file readable.
        var changeSeconds = 0
        var changeNanoseconds = 0
    }

    private let loop: any EventLoop
    private let users: String
    private let aliases: String
    private let domains: [String]
    private let logger: Logger
    private var stamps: [String: Stamp] = [:]
    /// Files that could not be read the last time, with `errno`.
    private var unreadable: [String: CInt] = [:]
    private var directory: AccountDirectory?
    private var accountTable = AccountTable()
    private var aliasTable = AliasTable()

    /// Files of more octets than this are not tables of ours.
    private static let maximumOctets = 256 << 20

    init(_ configuration: Configuration, on loop: any EventLoop, logger: Logger) {
        self.loop = loop
        users = configuration.authd.users
        aliases = configuration.authd.aliases
        domains = configuration.domains
        self.logger = logger
    }

    /// The tables as they are now; nil as long as `etc/users` could never be read.
    func current() -> AccountDirectory? {
        loop.assertInEventLoop()
        let usersChanged = hasChanged(users)
        let aliasesChanged = hasChanged(aliases)
        if usersChanged, let table = read(users, AccountTable.init(text:file:)) {
            accountTable = table
            directory = AccountDirectory(accounts: accountTable, aliases: aliasTable, domains: domains)
        }
        if aliasesChanged {
            if let table = read(aliases, AliasTable.init(text:file:)) { aliasTable = table }
            if directory != nil {
                directory = AccountDirectory(accounts: accountTable, aliases: aliasTable, domains: domains)
            }
        }
        return directory
    }

    private func hasChanged(_ file: String) -> Bool {
        var status = stat()
        var stamp = Stamp()
        if stat(file, &status) == 0 {
            stamp = Stamp(
                inode: UInt64(status.st_ino),
                size: Int64(status.st_size),
                seconds: status.st_mtim.tv_sec,
                nanoseconds: status.st_mtim.tv_nsec,
                changeSeconds: status.st_ctim.tv_sec,
                changeNanoseconds: status.st_ctim.tv_nsec
            )
        }
        defer { stamps[file] = stamp }
        return stamps[file] != stamp
    }

    private func read<Table>(_ file: String, _ parse: (String, String) throws(TableError) -> Table) -> Table? {
        guard let text = WholeFile.read(file, maximum: Self.maximumOctets) else {
            let code = errno
            // What stood in the way need not have changed the file: tried again at the next question, reported once.
            stamps[file] = nil
            if unreadable.updateValue(code, forKey: file) != code {
                logger.error(
                    "cannot read table",
                    metadata: ["file": "\(file)", "reason": "\(String(cString: strerror(code)))"]
                )
            }
            return nil
        }
        unreadable[file] = nil
        do {
            let table = try parse(text, file)
            logger.info("table read", metadata: ["file": "\(file)"])
            return table
        } catch {
            logger.error("table refused, the former one stays in use", metadata: ["reason": "\(error)"])
            return nil
        }
    }
}
