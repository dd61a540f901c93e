import Daemon
import JWT
import Logging
import NIOCore
import TLS

#if canImport(Glibc)
import Glibc
#endif

/// Keeps the directory in step with `etc/users`, `etc/aliases` and the domains and routes in `etc/martlet.toml`: a changed file is read
/// again. A file that can't be read or understood is reported, and what was read before stays in use; where there is
/// nothing, nobody knows what the file would say. Belongs to one event loop.
final class AccountFiles: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// A file as it was when it was looked at last.
    private struct WatchedFile {
        let path: String
        var stamp: Stamp?
        /// `errno` of the last attempt to read it, where that failed.
        var failure: CInt?
        /// Why what it says now is not in use.
        var trouble: String?
        /// Whether something was ever read from it.
        var isKnown = false
        /// Whether it need not be there: then it says nothing.
        var isOptional = false
        /// It seems that somebody writes it just now: as it was then, and until when it's left alone.
        var unfinished: (stamp: Stamp, until: NIODeadline)?
        /// The inode of what is in use; nil where that was empty.
        var filled: UInt64?
        /// What has to wait while nothing is known of it.
        var use = "what needs it is"
    }

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
    private let logger: Logger
    private var users: WatchedFile
    private var aliases: WatchedFile
    private var configuration: WatchedFile?
    private var appPasswords: WatchedFile
    private var certificates: WatchedFile
    private var senderTable: WatchedFile
    /// nil where no certificates are taken.
    private var authorities: WatchedFile?
    /// nil where no tokens are taken.
    private var tokenKeys: WatchedFile?
    /// What users may show instead of their password. nil where it could never be read.
    private(set) var credentials = CredentialTables()
    /// What users may send from beside their own addresses; nil where it could never be read.
    private(set) var senders: SenderTable?
    private let subaddressDelimiters: String
    private var accountTable = AccountTable()
    private var aliasTable = AliasTable()
    /// What was read last; nil as long as one of the tables could never be read.
    private(set) var directory: AccountDirectory?
    /// Whose mailboxes are here, in lower case.
    private(set) var domains: [String]
    /// Where mail for other hosts goes.
    private(set) var routes: RouteTable
    /// The lists that aliases name.
    private var lists: [String: WatchedFile] = [:]
    private var listTable: [String: MailingList] = [:]
    /// When they were looked at.
    private var listsSeen: NIODeadline?
    /// How often. There may be many, and each is a file.
    private static let listInterval = TimeAmount.seconds(1)
    /// How long a table that seems to be half written is left alone, since its last change.
    var quiet = TimeAmount.seconds(5)
    /// Told when an address may lead elsewhere than before.
    var onChange: () -> Void = {}

    /// Files of more octets than this are not tables of ours.
    fileprivate static let maximumOctets = 256 << 20

    /// - Parameter file: the configuration's file, whose domains are followed; nil for those that were read at the start.
    init(_ configuration: Configuration, file: String?, on loop: any EventLoop, logger: Logger) {
        self.loop = loop
        self.logger = logger
        users = WatchedFile(path: configuration.authd.users, use: "logins and mail are")
        aliases = WatchedFile(path: configuration.authd.aliases, use: "logins and mail are")
        self.configuration = file.map { WatchedFile(path: $0, isKnown: true) }
        appPasswords = WatchedFile(path: configuration.authd.appPasswords, isOptional: true)
        certificates = WatchedFile(path: configuration.authd.certificates, isOptional: true)
        senderTable = WatchedFile(path: configuration.authd.senders, isOptional: true)
        subaddressDelimiters = configuration.authd.subaddressDelimiters
        authorities = configuration.tls.clientAuthorities.map { WatchedFile(path: $0) }
        tokenKeys = configuration.authd.oauth.map { WatchedFile(path: $0.keys) }
        domains = configuration.domains
        routes = RouteTable(configuration.remoteRelay)
    }

    /// Why what files say now is not in use, a line each.
    var troubles: [String] {
        [
            users.trouble, aliases.trouble, configuration?.trouble, appPasswords.trouble, certificates.trouble,
            senderTable.trouble, authorities?.trouble, tokenKeys?.trouble,
        ].compactMap(\.self) + lists.values.compactMap(\.trouble).sorted()
    }

    /// The tables as they are now; nil as long as one of them could never be read.
    func current() -> AccountDirectory? {
        refresh()
        return directory
    }

    /// Looks whether a file has changed.
    func refresh() {
        loop.assertInEventLoop()
        var isChanged = false
        if let table = read(&users, AccountTable.init(text:file:), isTable: true) {
            accountTable = table
            isChanged = true
        }
        if let table = read(&aliases, AliasTable.init(text:file:), isTable: true) {
            aliasTable = table
            isChanged = true
            watchLists()
        }
        if refreshLists() { isChanged = true }
        if readConfiguration() { isChanged = true }
        if refreshCredentials() { isChanged = true }
        if let table = read(&senderTable, SenderTable.init(text:file:), isTable: true) {
            senders = table
            isChanged = true
        }
        guard isChanged else { return }
        if users.isKnown, aliases.isKnown {
            directory = AccountDirectory(
                accounts: accountTable,
                aliases: aliasTable,
                domains: domains,
                lists: listTable,
                delimiters: subaddressDelimiters
            )
        }
        onChange()
    }

    /// The table names other lists now.
    private func watchLists() {
        let wanted = aliasTable.lists
        lists = lists.filter { wanted.contains($0.key) }
        listTable = listTable.filter { wanted.contains($0.key) }
        for path in wanted where lists[path] == nil {
            lists[path] = WatchedFile(path: path, use: "mail for the list is")
        }
        listsSeen = nil
    }

    /// - Returns: whether a list has changed.
    private func refreshLists() -> Bool {
        guard !lists.isEmpty, listsSeen.map({ loop.now - $0 >= Self.listInterval }) ?? true else { return false }
        listsSeen = loop.now
        var isChanged = false
        for path in lists.keys {
            guard var file = lists[path] else { continue }
            let list = read(
                &file,
                MailingList.init(text:file:),
                maximum: MailingList.maximumOctets,
                isGuarded: true,
                isTable: true
            )
            if let list {
                listTable[path] = list
                isChanged = true
            }
            lists[path] = file
        }
        return isChanged
    }

    /// - Returns: whether app passwords came or went.
    private func refreshCredentials() -> Bool {
        var isChanged = false
        if let table = read(&appPasswords, AppPasswordTable.init(text:file:), isTable: true) {
            credentials.appPasswords = table
            isChanged = true
        }
        if let table = read(&certificates, CertificateTable.init(text:file:), isTable: true) {
            credentials.certificates = table
        }
        if var file = authorities {
            if let fresh = read(&file, { (text, _) throws(TLSError) in try ClientAuthorities(pem: Array(text.utf8)) }) {
                credentials.authorities = fresh
            }
            authorities = file
        }
        if var file = tokenKeys {
            if let fresh = read(&file, { (text, _) throws(JWTFault) in try KeySet(json: Array(text.utf8)) }) {
                credentials.tokenKeys = fresh
            }
            tokenKeys = file
        }
        return isChanged
    }

    /// - Returns: whether what is followed in the configuration has changed: domains and routes.
    private func readConfiguration() -> Bool {
        guard var file = configuration else { return false }
        let fresh = read(&file) { (text, path) throws(ConfigurationError) in try Configuration(text: text, file: path) }
        configuration = file
        guard let fresh else { return false }
        var isChanged = false
        if fresh.domains != domains {
            logger.info("local domains changed", metadata: ["domains": "\(fresh.domains.joined(separator: " "))"])
            domains = fresh.domains
            isChanged = true
        }
        let table = RouteTable(fresh.remoteRelay)
        if table != routes {
            logger.info("routes changed")
            routes = table
            isChanged = true
        }
        return isChanged
    }

    /// What a file says, if it has changed and can be understood.
    private func read<Value, Fault: Error>(
        _ file: inout WatchedFile,
        _ parse: (String, String) throws(Fault) -> Value,
        maximum: Int = AccountFiles.maximumOctets,
        isGuarded: Bool = false,
        isTable: Bool = false
    ) -> Value? {
        let stamp = Self.stamp(of: file.path)
        guard file.stamp != stamp else { return nil }
        if let unfinished = file.unfinished, unfinished.stamp == stamp, unfinished.until > loop.now { return nil }
        file.stamp = stamp
        let content = WholeFile.read(file.path, maximum: maximum, isGuarded: isGuarded)
        let code = errno
        guard let text = content ?? (file.isOptional && code == ENOENT ? "" : nil) else {
            file.trouble = "\(file.path): \(String(cString: strerror(code)))"
            // What stood in the way need not have changed the file: tried again at the next question, reported once.
            file.stamp = nil
            if file.failure != code {
                file.failure = code
                logger.error(
                    "cannot read file",
                    metadata: [
                        "file": "\(file.path)", "reason": "\(String(cString: strerror(code)))",
                        "until-then": "\(Self.consequence(file))",
                    ]
                )
            }
            return nil
        }
        file.failure = nil
        if isTable, let content, let trouble = unfinished(content, file, stamp) {
            // What it says is heard once nobody has written for a while.
            file.unfinished = (stamp, loop.now + quiet)
            file.stamp = nil
            file.trouble = "\(file.path): \(trouble)"
            return nil
        }
        file.unfinished = nil
        do {
            let value = try parse(text, file.path)
            file.isKnown = true
            file.filled = content?.isEmpty == false ? stamp.inode : nil
            file.trouble = nil
            if content != nil { logger.info("file read", metadata: ["file": "\(file.path)"]) }
            return value
        } catch {
            let reason = "\(error)"
            file.trouble = reason.contains(file.path) ? reason : "\(file.path): \(reason)"
            logger.error(
                "file refused",
                metadata: ["reason": "\(file.trouble ?? reason)", "until-then": "\(Self.consequence(file))"]
            )
            return nil
        }
    }

    /// Why a table may not be all there yet; nil where it's taken as it is. A part of it would say of some that there is no such
    /// address.
    private func unfinished(_ text: String, _ file: WatchedFile, _ stamp: Stamp) -> String? {
        // A time to come is somebody else's clock.
        let age = Int(time(nil)) - stamp.seconds
        guard (0..<Int(quiet.nanoseconds / 1_000_000_000)).contains(age) else { return nil }
        if text.isEmpty {
            // A file that was put in its place is whole.
            return file.filled == stamp.inode ? "it was emptied: it seems to be written just now" : nil
        }
        return text.utf8.last == UInt8(ascii: "\n") ? nil : "its last line has no end: it seems to be written just now"
    }

    /// What goes on until the file is as it should be.
    private static func consequence(_ file: WatchedFile) -> String {
        file.isKnown ? "what it said before stays in use" : "\(file.use) put off"
    }

    private static func stamp(of path: String) -> Stamp {
        var status = stat()
        guard stat(path, &status) == 0 else { return Stamp() }
        return Stamp(
            inode: UInt64(status.st_ino),
            size: Int64(status.st_size),
            seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec,
            changeSeconds: status.st_ctim.tv_sec,
            changeNanoseconds: status.st_ctim.tv_nsec
        )
    }
}

/// What users may show instead of their password, as it was read; nil for what could never be read, or isn't taken.
struct CredentialTables: Sendable {
    var appPasswords: AppPasswordTable?
    var certificates: CertificateTable?
    var authorities: ClientAuthorities?
    var tokenKeys: KeySet?
}
