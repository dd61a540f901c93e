import Daemon
import Logging
import NIOCore
import NIOPosix
import SASL

/// Keeps authd's records in memory and, a moment later, on disk. Belongs to one event loop.
final class AuthorityState: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let loop: any EventLoop
    private let pool: NIOThreadPool
    /// nil where nothing can be kept.
    private let directory: String?
    private let logger: Logger
    let saltKey: SaltKey
    private var records: AuthorityRecords
    /// Whether what is in memory is not on disk yet.
    private var areVerifiersChanged = false
    private var areUsesChanged = false
    private var isSaving = false
    /// When something was written last: many logins change something, and what is on disk may be a little old.
    private var saved: NIODeadline?

    private static let interval = TimeAmount.seconds(10)

    /// Reads what is there.
    ///
    /// - Parameter directory: relative to the working directory; nil for keeping nothing.
    init(directory: String?, on loop: any EventLoop, pool: NIOThreadPool, logger: Logger) {
        self.loop = loop
        self.pool = pool
        self.logger = logger
        let key = directory.flatMap { SaltKey(directory: $0) }
        if key == nil {
            logger.warning(
                "verifiers for SCRAM and uses of app passwords are forgotten at the end",
                metadata: ["reason": "\(directory ?? AuthdConfiguration.stateDirectory) can't be used"]
            )
        }
        self.directory = key == nil ? nil : directory
        saltKey = key ?? SaltKey()
        records = self.directory.map { AuthorityRecords(directory: $0) } ?? AuthorityRecords()
    }

    /// The verifier of an account's password: the table's, or one that was made at a login.
    func verifier(of account: Account) -> ScramVerifier? {
        loop.assertInEventLoop()
        return records.verifier(of: account)
    }

    func keep(_ verifier: ScramVerifier, of account: Account) {
        loop.assertInEventLoop()
        records.keep(verifier, of: account)
        areVerifiersChanged = true
    }

    /// Forgets the verifiers of accounts that are gone or have another password, and the uses of app passwords that are gone.
    func forget(allBut accounts: AccountTable, _ passwords: AppPasswordTable?) {
        loop.assertInEventLoop()
        if records.forgetVerifiers(allBut: accounts) { areVerifiersChanged = true }
        if let passwords, records.forgetUses(allBut: passwords) { areUsesChanged = true }
    }

    /// - Parameter now: seconds since 1970.
    func used(_ password: AppPassword, now: Int) {
        loop.assertInEventLoop()
        // To the minute is enough, and a mail program that asks each second writes nothing.
        let minute = now - now % 60
        guard records.lastUse(of: password) != minute else { return }
        records.used(password, at: minute)
        areUsesChanged = true
    }

    /// Writes what has changed, on another thread; does nothing while that goes on, or shortly after it.
    ///
    /// - Parameter isLast: whether nothing comes after it.
    func save(isLast: Bool = false) {
        loop.assertInEventLoop()
        let isTime = saved.map { isLast || loop.now - $0 >= Self.interval } ?? true
        guard let directory, isTime, !isSaving, areVerifiersChanged || areUsesChanged else { return }
        var files: [(path: String, lines: [String])] = []
        if areVerifiersChanged { files.append((AuthorityRecords.verifiersFile(directory), records.verifierLines)) }
        if areUsesChanged { files.append((AuthorityRecords.usesFile(directory), records.useLines)) }
        areVerifiersChanged = false
        areUsesChanged = false
        saved = loop.now
        isSaving = true
        let written = pool.runIfActive(eventLoop: loop) { [files] in
            for (path, lines) in files {
                let table = TableFile(path, likeMissing: "\(directory)/salt-key")
                try table.replace(Array(lines.map { "\($0)\n" }.joined().utf8))
            }
        }
        written.whenComplete { [self] result in
            isSaving = false
            if case .failure(let error) = result {
                logger.error("cannot keep what logins told", metadata: ["reason": "\(error)"])
            }
        }
    }
}
