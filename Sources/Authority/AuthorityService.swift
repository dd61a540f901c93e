import Bus
import CoreMetrics
import Logging
import NIOCore
import NIOPosix
import Network
import SMTP

/// Answers the requests on `run/auth.sock` (docs/protocols.md, "auth.sock"). Belongs to one event loop.
final class AuthorityService: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Which uids may use which verb, beside root and our own.
    struct Access: Sendable {
        var logins: Set<UInt32>
        var mailboxes: Set<UInt32>
        var recipients: Set<UInt32>
        var deliveries: Set<UInt32>
        var watchers: Set<UInt32>

        func allows(_ verb: Verb, _ uid: UInt32) -> Bool {
            switch verb {
            case .verify: logins.contains(uid)
            case .redeem: mailboxes.contains(uid)
            case .recipient: recipients.contains(uid)
            // smtpd's for EXPN.
            case .expand: deliveries.contains(uid) || recipients.contains(uid)
            case .full: deliveries.contains(uid)
            case .watch: watchers.contains(uid)
            }
        }
    }

    /// The requests.
    enum Verb: String, CaseIterable {
        case verify = "VERIFY"
        case redeem = "REDEEM"
        case recipient = "RECIPIENT"
        case expand = "EXPAND"
        case full = "FULL"
        case watch = "WATCH"
    }

    /// Who wants to hear of changes, and under which tag.
    private struct Watcher {
        let connection: Connection
        let tag: String?
    }

    private let loop: any EventLoop
    private let files: AccountFiles
    private let verifier: PasswordVerifier
    private var tickets = TicketStore()
    private var fullMailboxes = FullMailboxes()
    private var watchers: [ObjectIdentifier: Watcher] = [:]
    private var look: RepeatedTask?
    private let access: Access
    private let ownUser: UInt32
    private let logger: Logger
    private let verified = Counter(label: "logins")
    private let refused = Counter(label: "logins-refused")

    init(
        on loop: any EventLoop,
        files: AccountFiles,
        verifier: PasswordVerifier,
        access: Access,
        ownUser: UInt32,
        logger: Logger
    ) {
        self.loop = loop
        self.files = files
        self.verifier = verifier
        self.access = access
        self.ownUser = ownUser
        self.logger = logger
        files.onChange = { [weak self] in self?.tellWatchers() }
    }

    func answer(_ frame: Frame, _ connection: Connection) {
        loop.assertInEventLoop()
        guard let verb = Verb(rawValue: frame.verb) else {
            connection.write(Self.rejection(frame, .invalidCommand, "unknown verb"))
            return
        }
        let uid = connection.peerUser ?? .max
        guard uid == 0 || uid == ownUser || access.allows(verb, uid) else {
            logger.warning("request refused", metadata: ["verb": "\(frame.verb)", "uid": "\(uid)"])
            connection.write(Self.rejection(frame, .notAuthorized, "not allowed for this user"))
            return
        }
        if verb == .watch { return watch(frame, connection) }
        guard let directory = files.current() else {
            connection.write(Self.deferral(frame, .systemTrouble, "users and aliases cannot be read now"))
            return
        }
        switch verb {
        case .verify: verify(frame, directory, connection)
        case .redeem: connection.write(redeem(frame, directory))
        case .recipient: connection.write(recipient(frame, directory))
        case .expand: connection.write(expand(frame, directory))
        case .full: connection.write(full(frame, directory))
        case .watch: return
        }
    }

    // MARK: Changes

    /// Looks for changed files from now on, also while nobody asks.
    ///
    /// - Parameter interval: how late a watcher hears of a change at most.
    func start(interval: TimeAmount = .seconds(1)) {
        loop.assertInEventLoop()
        files.refresh()
        look = loop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [weak self] _ in
            self?.watchers = self?.watchers.filter { !$0.value.connection.hasEnded } ?? [:]
            self?.files.refresh()
        }
    }

    func stop() {
        look?.cancel()
        look = nil
    }

    private func watch(_ frame: Frame, _ connection: Connection) {
        files.refresh()
        let watcher = Watcher(connection: connection, tag: frame["tag"])
        watchers[ObjectIdentifier(connection)] = watcher
        connection.write(domains(watcher))
    }

    private func tellWatchers() {
        for watcher in watchers.values where !watcher.connection.hasEnded {
            watcher.connection.write(domains(watcher))
            watcher.connection.flushSoon()
        }
    }

    private func domains(_ watcher: Watcher) -> Frame {
        var frame = Frame.ok(tag: watcher.tag, files.troubles.map { .init("trouble", $0) })
        frame.body = ByteBuffer(string: files.domains.map { "\($0)\n" }.joined())
        return frame
    }

    // MARK: Logins

    /// Answers once the password was verified; later requests on the connection don't wait for it.
    private func verify(_ frame: Frame, _ directory: AccountDirectory, _ connection: Connection) {
        guard let user = frame["user"], let password = frame["password"], let service = frame["service"],
            ["smtp", "pop3", "imap"].contains(service)
        else {
            connection.write(Self.rejection(frame, .invalidArguments, "service, user and password are needed"))
            return
        }
        let client = frame["client"] ?? ""
        let key = (try? SocketAddress(ipAddress: client, port: 0))?.clientKey ?? Array(client.utf8.prefix(64))
        let account = directory.account(user: user)
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            let verdict = await verifier.verify(
                password,
                user: directory.loginName(user),
                account,
                typicalHash: directory.accounts.typicalHash,
                client: key
            )
            let reply = reply(to: frame, verdict, account, service: service)
            logger.info(
                verdict == .verified ? "login" : "login refused",
                metadata: ["user": "\(user)", "client": "\(client)", "service": "\(service)", "verdict": "\(verdict)"]
            )
            connection.write(reply)
            try? await connection.flush()
        }
    }

    private func reply(
        to frame: Frame,
        _ verdict: PasswordVerifier.Verdict,
        _ account: Account?,
        service: String
    ) -> Frame {
        loop.assertInEventLoop()
        guard verdict != .busy else { return Self.deferral(frame, .refusedForNow, "too many logins at once") }
        guard verdict == .verified, let account else {
            refused.increment()
            return Self.rejection(frame, .badCredentials, "wrong user or password")
        }
        var fields = [Frame.Field("address", account.address.description)]
        if service != "smtp" {
            guard
                let ticket = tickets.issue(service: service, address: account.address.description, now: .now())
            else { return Self.deferral(frame, .refusedForNow, "too many logins at once") }
            fields.append(.init("ticket", ticket))
        }
        verified.increment()
        return .ok(tag: frame["tag"], fields)
    }

    private func redeem(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let ticket = frame["ticket"], let service = frame["service"],
            let address = tickets.redeem(ticket, service: service, now: .now()),
            let account = directory.account(user: address)
        else { return Self.rejection(frame, .badCredentials, "no such ticket") }
        return .ok(tag: frame["tag"], Self.fields(account))
    }

    // MARK: Addresses

    private func recipient(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let address = Self.address(frame, directory) else {
            return Self.rejection(frame, .badRecipientSyntax, "malformed address")
        }
        switch directory.destination(of: address) {
        case .mailbox(let account, _) where fullMailboxes.contains(account.address, now: loop.now):
            return Self.deferral(frame, .mailboxFull, "the mailbox is full")
        case .mailbox, .forward:
            var fields = [Frame.Field("kind", "local")]
            if Self.isPostmaster(frame["address"]) { fields.append(.init("address", address.description)) }
            return .ok(tag: frame["tag"], fields)
        case .foreign: return .ok(tag: frame["tag"], [.init("kind", "foreign")])
        case .unknown: return Self.rejection(frame, .noSuchMailbox, "no such mailbox")
        case .loop: return Self.rejection(frame, .routingLoop, "the alias loops")
        }
    }

    private func expand(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let address = Self.address(frame, directory) else {
            return Self.rejection(frame, .badRecipientSyntax, "malformed address")
        }
        switch directory.destination(of: address, isExpanded: frame["expanded"] == "yes") {
        case .mailbox(let account, let rest):
            var fields = Self.fields(account)
            if let rest { fields.append(.init("extension", rest)) }
            return .ok(tag: frame["tag"], fields)
        case .forward(let targets):
            return .ok(tag: frame["tag"], targets.map { .init("forward", $0.description) })
        case .foreign:
            // Whoever asks took it for ours, and will soon know better: no reason for a bounce.
            return Self.deferral(frame, .systemTrouble, "\(address.domain) is no domain of ours now")
        case .unknown: return Self.rejection(frame, .noSuchMailbox, "no such mailbox")
        case .loop: return Self.rejection(frame, .routingLoop, "the alias loops")
        }
    }

    private func full(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let address = Self.address(frame, directory), let account = directory.accounts[address] else {
            return Self.rejection(frame, .noSuchMailbox, "no such mailbox")
        }
        fullMailboxes.add(account.address, now: loop.now)
        return .ok(tag: frame["tag"])
    }

    private static func fields(_ account: Account) -> [Frame.Field] {
        [
            .init("address", account.address.description),
            .init("mailbox", account.mailbox),
            .init("format", account.format.rawValue),
            .init("quota", String(account.quota)),
        ]
    }

    /// `postmaster` alone is that of the first domain (RFC 5321 §4.5.1).
    private static func address(_ frame: Frame, _ directory: AccountDirectory) -> MailAddress? {
        guard let text = frame["address"] else { return nil }
        if isPostmaster(text), let domain = directory.firstDomain {
            return try? MailAddress(localPart: "postmaster", domain: domain)
        }
        return try? MailAddress(parsing: text.utf8, options: .envelope)
    }

    private static func isPostmaster(_ text: String?) -> Bool {
        text.map { $0.utf8.count == 10 && $0.lowercased() == "postmaster" } ?? false
    }

    private static func rejection(_ frame: Frame, _ status: EnhancedStatusCode, _ text: String) -> Frame {
        .reply(.reject, status: status, text: text, tag: frame["tag"])
    }

    private static func deferral(_ frame: Frame, _ status: EnhancedStatusCode, _ text: String) -> Frame {
        .reply(.defer, status: status, text: text, tag: frame["tag"])
    }
}
