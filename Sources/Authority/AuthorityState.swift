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
    /// What is being written.
    private var saving: EventLoopFuture<Void>?
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
        for file in records.unreadable.sorted() {
            logger.error(
                "cannot read file",
                metadata: ["file": "\(file)", "until-then": "it is not written; mend it and restart authd"]
            )
        }
    }

    /// Whether users may have verifiers that nobody can look up.
    var areVerifiersUnknown: Bool {
        directory.map { records.unreadable.contains(AuthorityRecords.verifiersFile($0)) } ?? false
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
    func save() {
        loop.assertInEventLoop()
        let isTime = saved.map { loop.now - $0 >= Self.interval } ?? true
        guard isTime, saving == nil else { return }
        write()
    }

    /// Writes what has changed, after what is being written.
    ///
    /// - Returns: when it is on disk, or can't be.
    func saveLast() -> EventLoopFuture<Void> {
        loop.assertInEventLoop()
        guard let saving else {
            write()
            return self.saving ?? loop.makeSucceededVoidFuture()
        }
        return saving.flatMap { [self] in
            write()
            return self.saving ?? loop.makeSucceededVoidFuture()
        }
    }

    private func write() {
        loop.assertInEventLoop()
        guard let directory else { return }
        let (verifiers, uses) = (AuthorityRecords.verifiersFile(directory), AuthorityRecords.usesFile(directory))
        let writesVerifiers = areVerifiersChanged && !records.unreadable.contains(verifiers)
        let writesUses = areUsesChanged && !records.unreadable.contains(uses)
        guard writesVerifiers || writesUses else { return }
        var files: [(path: String, lines: [String])] = []
        if writesVerifiers { files.append((verifiers, records.verifierLines)) }
        if writesUses { files.append((uses, records.useLines)) }
        areVerifiersChanged = false
        areUsesChanged = false
        saved = loop.now
        let written = pool.runIfActive(eventLoop: loop) { [files] in
            for (path, lines) in files {
                let table = TableFile(path, likeMissing: "\(directory)/salt-key")
                try table.replace(Array(lines.map { "\($0)\n" }.joined().utf8))
            }
        }
        saving = written.map { [self] in saving = nil }.recover { [self] error in
            saving = nil
            if writesVerifiers { areVerifiersChanged = true }
            if writesUses { areUsesChanged = true }
            logger.error("cannot keep what logins told", metadata: ["reason": "\(error)"])
        }
    }
}
