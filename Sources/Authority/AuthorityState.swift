import Daemon
import Logging
import NIOCore
import NIOPosix
import SASL
import SMTP

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
    /// Files that don't say yet what is in memory.
    private var changed: Set<AuthorityRecords.File> = []
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
                "verifiers for SCRAM, uses of app passwords and what accounts sent are forgotten at the end",
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
        directory.map { records.unreadable.contains(AuthorityRecords.File.verifiers.path(in: $0)) } ?? false
    }

    /// The verifier of an account's password: the table's, or one that was made at a login.
    func verifier(of account: Account) -> ScramVerifier? {
        loop.assertInEventLoop()
        return records.verifier(of: account)
    }

    func keep(_ verifier: ScramVerifier, of account: Account) {
        loop.assertInEventLoop()
        records.keep(verifier, of: account)
        changed.insert(.verifiers)
    }

    /// Forgets the verifiers of accounts that are gone or have another password, and the uses of app passwords that are gone.
    func forget(allBut accounts: AccountTable, _ passwords: AppPasswordTable?) {
        loop.assertInEventLoop()
        if records.forgetVerifiers(allBut: accounts) { changed.insert(.verifiers) }
        if let passwords, records.forgetUses(allBut: passwords) { changed.insert(.uses) }
        if records.sending.forget(allBut: accounts) { changed.insert(.sending) }
    }

    /// - Parameter now: seconds since 1970.
    func used(_ password: AppPassword, now: Int) {
        loop.assertInEventLoop()
        // To the minute is enough, and a mail program that asks each second writes nothing.
        let minute = now - now % 60
        guard records.lastUse(of: password) != minute else { return }
        records.used(password, at: minute)
        changed.insert(.uses)
    }

    /// Counts a message that an account is about to send, unless it's over a limit.
    func send(
        _ account: MailAddress,
        recipients: Int,
        limits: SendingLimits,
        now: Int
    ) -> SendingCounts.Refusal? {
        loop.assertInEventLoop()
        let refusal = records.sending.send(account, recipients: recipients, limits: limits, now: now)
        if refusal == nil { changed.insert(.sending) }
        return refusal
    }

    /// A message that was counted was not taken.
    func takeBack(_ account: MailAddress, recipients: Int) {
        loop.assertInEventLoop()
        records.sending.takeBack(account, recipients: recipients)
        changed.insert(.sending)
    }

    func liftSendingLimit(of account: MailAddress) {
        loop.assertInEventLoop()
        records.sending.lift(account)
        changed.insert(.sending)
    }

    func sent(by account: MailAddress, within period: SendingCounts.Period, now: Int) -> SendingAmount {
        loop.assertInEventLoop()
        return records.sending.amount(of: account, within: period, now: now)
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
        let written = changed.filter { !records.unreadable.contains($0.path(in: directory)) }
        guard !written.isEmpty else { return }
        let files: [(path: String, lines: [String])] = written.map {
            (path: $0.path(in: directory), lines: records.lines(of: $0))
        }
        changed.subtract(written)
        saved = loop.now
        let isWritten = pool.runIfActive(eventLoop: loop) {
            for (path, lines) in files {
                let table = TableFile(path, likeMissing: "\(directory)/salt-key")
                try table.replace(Array(lines.map { "\($0)\n" }.joined().utf8))
            }
        }
        saving = isWritten.map { [self] in saving = nil }.recover { [self] error in
            saving = nil
            changed.formUnion(written)
            logger.error("cannot keep what accounts did", metadata: ["reason": "\(error)"])
        }
    }
}
