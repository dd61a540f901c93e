import Bus
import CoreMetrics
import Daemon
import JWT
import Logging
import NIOCore
import NIOPosix
import Network
import Rewriting
import SASL
import SMTP

#if canImport(Glibc)
import Glibc
#endif

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
        var routes: Set<UInt32>

        func allows(_ verb: Verb, _ uid: UInt32) -> Bool {
            switch verb {
            case .verify, .token, .certificate, .scram: logins.contains(uid)
            case .redeem: mailboxes.contains(uid)
            case .recipient, .sender, .send, .greylist: recipients.contains(uid)
            // smtpd's for EXPN, queue-manager's for mail whose alias was mended.
            case .expand: deliveries.contains(uid) || recipients.contains(uid) || routes.contains(uid)
            case .full: deliveries.contains(uid)
            case .route: routes.contains(uid)
            case .watch, .account: watchers.contains(uid)
            // The administrator's.
            case .usage, .greylistPass, .greylistRemove: false
            }
        }
    }

    /// The requests.
    enum Verb: String, CaseIterable {
        case verify = "VERIFY"
        case token = "TOKEN"
        case certificate = "CERTIFICATE"
        case scram = "SCRAM"
        case redeem = "REDEEM"
        case recipient = "RECIPIENT"
        case expand = "EXPAND"
        case full = "FULL"
        case watch = "WATCH"
        case account = "ACCOUNT"
        case route = "ROUTE"
        case sender = "SENDER"
        case send = "SEND"
        case usage = "USAGE"
        case greylist = "GREYLIST"
        case greylistPass = "GREYLIST-PASS"
        case greylistRemove = "GREYLIST-REMOVE"
    }

    /// What else is taken for a login than passwords, and how verifiers are made.
    struct Settings: Sendable {
        /// nil where no provider's tokens are taken.
        var tokens: TokenRequirements?
        /// nil where no verifiers are made.
        var scramIterations: Int?
        /// Whether mail for an account that is disabled is refused.
        var refusesDisabled = false
        /// Senders of what was forwarded; nil where they stay as they are.
        var forwarded: ForwardedSender?
        /// Whether addresses that were made for them take mail from any sender, and not reports alone.
        var forwardedTakeAnySender = false
        /// What an account may send.
        var sendingLimits: @Sendable (MailAddress) -> SendingLimits = { _ in SendingLimits() }
        /// Seconds since 1970.
        var clock: @Sendable () -> Int = { Int(time(nil)) }
    }

    /// Who wants to hear of changes, and under which tag.
    private struct Watcher {
        let connection: Connection
        let tag: String?
    }

    let loop: any EventLoop
    let files: AccountFiles
    let verifier: PasswordVerifier
    let state: AuthorityState
    let greylist: GreylistStore
    let settings: Settings
    var exchanges = ScramExchanges()
    /// Accounts that can log in by a password and not by SCRAM; nil where that is not known yet.
    private var withoutVerifier: Set<AddressKey>?
    /// What watchers were told last.
    private var toldOfScram = false
    private var tickets = TicketStore()
    private var fullMailboxes = FullMailboxes()
    private var watchers: [ObjectIdentifier: Watcher] = [:]
    private var look: RepeatedTask?
    private let access: Access
    private let ownUser: UInt32
    let logger: Logger
    private let verified = Counter(label: "logins")
    private let refused = Counter(label: "logins-refused")

    init(
        on loop: any EventLoop,
        files: AccountFiles,
        verifier: PasswordVerifier,
        state: AuthorityState,
        greylist: GreylistStore,
        settings: Settings,
        access: Access,
        ownUser: UInt32,
        logger: Logger
    ) {
        self.loop = loop
        self.files = files
        self.verifier = verifier
        self.state = state
        self.greylist = greylist
        self.settings = settings
        self.access = access
        self.ownUser = ownUser
        self.logger = logger
        files.onChange = { [weak self] in self?.changed() }
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
        switch verb {
        case .watch: return watch(frame, connection)
        case .route: return connection.write(route(frame))
        case .greylist: return connection.write(askGreylist(frame))
        case .greylistPass, .greylistRemove: return connection.write(editGreylist(frame, verb))
        case .verify, .token, .certificate, .scram, .redeem, .recipient, .expand, .full, .sender, .send, .account,
            .usage:
            break
        }
        guard let directory = files.current() else {
            connection.write(Self.deferral(frame, .systemTrouble, "users and aliases cannot be read now"))
            return
        }
        switch verb {
        case .verify: verify(frame, directory, connection)
        case .token: verifyToken(frame, directory, connection)
        case .certificate: verifyCertificate(frame, directory, connection)
        case .scram: scram(frame, directory, connection)
        case .redeem: connection.write(redeem(frame, directory))
        case .recipient: connection.write(recipient(frame, directory))
        case .expand: connection.write(expand(frame, directory))
        case .full: connection.write(full(frame, directory))
        case .account: connection.write(account(frame, directory))
        case .sender: connection.write(sender(frame, directory))
        case .send: connection.write(send(frame, directory))
        case .usage: connection.write(usage(frame, directory))
        case .watch, .route, .greylist, .greylistPass, .greylistRemove: return
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
            self?.state.save()
            self?.greylist.save()
        }
    }

    /// - Returns: when everything is on disk.
    func stop() -> EventLoopFuture<Void> {
        look?.cancel()
        look = nil
        return state.saveLast().and(greylist.saveLast()).map { _ in }
    }

    private func watch(_ frame: Frame, _ connection: Connection) {
        files.refresh()
        let watcher = Watcher(connection: connection, tag: frame["tag"])
        watchers[ObjectIdentifier(connection)] = watcher
        connection.write(domains(watcher))
    }

    private func changed() {
        // What is in use now, without looking for changes once more.
        if let directory = files.directory {
            state.forget(allBut: directory.accounts, files.credentials.appPasswords)
            let accounts = directory.accounts.unordered.lazy
            withoutVerifier = Set(
                accounts.filter { [state] in PasswordHash.isKnown($0.hash) && state.verifier(of: $0) == nil }.map {
                    AddressKey($0.address)
                }
            )
        }
        tellWatchers()
    }

    /// Keeps the verifier of an account, and tells watchers where it was the last one missing.
    ///
    /// - Parameter account: as it was when the password was verified. Where it has another one by now, nothing is kept.
    func keep(_ made: ScramVerifier, of account: Account) {
        guard let current = files.directory?.accounts[account.address],
            Account.mark(current.hash) == Account.mark(account.hash)
        else { return }
        state.keep(made, of: account)
        withoutVerifier?.remove(AddressKey(account.address))
        if toldOfScram != canAllUseScram { tellWatchers() }
    }

    /// Whether every account that can log in by its password can by SCRAM.
    private var canAllUseScram: Bool { settings.scramIterations != nil && withoutVerifier?.isEmpty == true }

    private func tellWatchers() {
        toldOfScram = canAllUseScram
        for watcher in watchers.values where !watcher.connection.hasEnded {
            watcher.connection.write(domains(watcher))
            watcher.connection.flushSoon()
        }
    }

    private func domains(_ watcher: Watcher) -> Frame {
        var frame = Frame.ok(tag: watcher.tag, files.troubles.map { .init("trouble", $0) })
        if canAllUseScram { frame["scram"] = "yes" }
        frame.fields += RouteTable.Kind.allCases.filter(files.routes.kinds.contains).map {
            .init("routes-by", $0.rawValue)
        }
        frame.body = ByteBuffer(string: files.domains.map { "\($0)\n" }.joined())
        return frame
    }

    // MARK: Routes

    /// Needs no tables of users.
    private func route(_ frame: Frame) -> Frame {
        files.refresh()
        let question = RouteTable.Question(frame)
        guard let route = files.routes.route(for: question) else {
            guard let name = question.name else { return Frame.ok(tag: frame["tag"]) }
            return Self.deferral(frame, EnhancedStatusCode(4, 4, 4), "there is no route named \(name) now")
        }
        return Frame.ok(tag: frame["tag"], route.fields)
    }

    // MARK: Logins

    /// Who asks for whom, in every request for a login.
    struct LoginRequest {
        let service: String
        /// The client's address as the front says it.
        let address: String
        /// What counts as one client.
        let client: [UInt8]

        /// nil where there is no service that logins are given for.
        init?(_ frame: Frame) {
            guard let service = frame["service"], AppPassword.knownServices.contains(service) else { return nil }
            self.init(service: service, address: frame["client"] ?? "")
        }

        init(service: String, address: String) {
            self.service = service
            self.address = address
            client = (try? SocketAddress(ipAddress: address, port: 0))?.clientKey ?? Array(address.utf8.prefix(64))
        }

        /// What failures are counted by where the client named no user: nobody else's are counted by it.
        var nobody: String { "? \(address)" }
    }

    /// Answers once the password was verified; later requests on the connection don't wait for it.
    private func verify(_ frame: Frame, _ directory: AccountDirectory, _ connection: Connection) {
        guard let user = frame["user"], let password = frame["password"], let request = LoginRequest(frame) else {
            connection.write(Self.rejection(frame, .invalidArguments, "service, user and password are needed"))
            return
        }
        let account = directory.account(user: user)
        let appPasswords = account.flatMap { files.credentials.appPasswords?[$0.address] } ?? []
        let isUnsure = files.credentials.appPasswords == nil
        Task(executorPreference: LoopExecutor.of(connection.eventLoop)) { [self] in
            let login = await verifier.verify(
                password,
                user: directory.loginName(user),
                account,
                typicalHash: directory.accounts.typicalHash,
                client: request.client,
                appPasswords: appPasswords.filter { $0.isGood(for: request.service) },
                making: account.flatMap(making)
            )
            if let made = login.verifier, let account { keep(made, of: account) }
            var verdict = login.verdict
            // It took a while, and the password may be another one now.
            if verdict == .verified, login.appPassword == nil, let account,
                files.current()?.accounts[account.address].map({ Account.mark($0.hash) }) != Account.mark(account.hash)
            {
                verdict = .refused
            }
            // It may be one of the app passwords, which nobody knows now. Unknown users get the same answer.
            if verdict == .refused, isUnsure { verdict = .busy }
            await answer(
                frame,
                verdict,
                account,
                request,
                user: user,
                by: login.appPassword.map { "app password \($0.name)" } ?? "password",
                appPassword: login.appPassword,
                on: connection
            )
        }
    }

    /// How to make the verifier that an account doesn't have.
    private func making(_ account: Account) -> PasswordVerifier.ScramMaking? {
        guard let iterations = settings.scramIterations, state.verifier(of: account) == nil else { return nil }
        // All of an account's passwords have the same salt: the client is told it before anybody knows which it has.
        let appPasswords = files.credentials.appPasswords?[account.address] ?? []
        let known = appPasswords.lazy.compactMap(\.verifier).first
        return .init(
            salt: known?.salt ?? state.saltKey.salt(of: account),
            iterations: known?.iterations ?? iterations
        )
    }

    /// Answers a login, counts it and logs it.
    ///
    /// - Parameters:
    ///   - how: what the client has shown, for the log.
    ///   - reason: why it was refused, for the log.
    func answer(
        _ frame: Frame,
        _ verdict: PasswordVerifier.Verdict,
        _ account: Account?,
        _ request: LoginRequest,
        user: String,
        by how: String,
        appPassword: AppPassword? = nil,
        reason: String? = nil,
        _ fields: [Frame.Field] = [],
        on connection: Connection
    ) async {
        let verdict = verdict == .verified && !isStillGood(account, appPassword) ? .refused : verdict
        var reply = reply(to: frame, verdict, account, service: request.service)
        if reply.replyKind == .ok {
            reply.fields += fields
            if let appPassword { state.used(appPassword, now: settings.clock()) }
        }
        var metadata: Logger.Metadata = [
            "user": "\(user)", "client": "\(request.address)", "service": "\(request.service)", "by": "\(how)",
            "verdict": "\(verdict)",
        ]
        if let reason { metadata["reason"] = "\(reason)" }
        logger.info(verdict == .verified ? "login" : "login refused", metadata: metadata)
        connection.write(reply)
        try? await connection.flush()
    }

    /// Whether an account may still log in by what was verified: logins wait, and tables change.
    private func isStillGood(_ account: Account?, _ appPassword: AppPassword?) -> Bool {
        guard let account, let current = files.current()?.accounts[account.address], !current.isLocked else {
            return false
        }
        guard let appPassword else { return true }
        return files.credentials.appPasswords?[account.address].contains(appPassword) ?? false
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
            let account = directory.account(user: address), !account.isLocked
        else { return Self.rejection(frame, .badCredentials, "no such ticket") }
        return .ok(tag: frame["tag"], Self.fields(account))
    }

    // MARK: Addresses

    private func recipient(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let address = Self.address(frame, directory) else {
            return Self.rejection(frame, .badRecipientSyntax, "malformed address")
        }
        switch destination(of: address, directory) {
        case .mailbox(let account, _) where fullMailboxes.contains(account.address, now: loop.now):
            return Self.deferral(frame, .mailboxFull, "the mailbox is full")
        case .mailbox(let account, _) where settings.refusesDisabled && account.isLocked:
            return Self.rejection(frame, .mailboxDisabled, "the mailbox is disabled")
        case .mailbox, .forward:
            var fields = [Frame.Field("kind", "local")]
            // Who knows such an address could otherwise write to the sender before through us, as long as it's good.
            if !settings.forwardedTakeAnySender,
                case .sender? = settings.forwarded?.origin(of: address, at: settings.clock())
            {
                fields.append(.init("reports-only", "yes"))
            }
            if Self.isPostmaster(frame["address"]) { fields.append(.init("address", address.description)) }
            return .ok(tag: frame["tag"], fields)
        case .foreign: return .ok(tag: frame["tag"], [.init("kind", "foreign")])
        case .unknown: return Self.rejection(frame, .noSuchMailbox, "no such mailbox")
        case .loop: return Self.rejection(frame, .routingLoop, "the alias loops")
        case .unknownNow: return Self.deferral(frame, .systemTrouble, "the list cannot be read now")
        }
    }

    /// Where mail to an address goes; what comes back to a sender that we made goes to the one before.
    private func destination(
        of address: MailAddress,
        _ directory: AccountDirectory,
        isExpanded: Bool = false
    ) -> AccountDirectory.Destination {
        switch settings.forwarded?.origin(of: address, at: settings.clock()) {
        case .sender(let sender): .forward([sender])
        case .forged: .unknown
        case .other, nil: directory.destination(of: address, isExpanded: isExpanded)
        }
    }

    private func expand(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let address = Self.address(frame, directory) else {
            return Self.rejection(frame, .badRecipientSyntax, "malformed address")
        }
        switch destination(of: address, directory, isExpanded: frame["expanded"] == "yes") {
        case .mailbox(let account, let rest):
            var fields = Self.fields(account)
            if let rest { fields.append(.init("extension", rest)) }
            return .ok(tag: frame["tag"], fields)
        case .forward(let targets, let owner):
            var fields = targets.map { Frame.Field("forward", $0.description) }
            if let owner { fields.append(.init("owner", owner.description)) }
            return .ok(tag: frame["tag"], fields)
        case .foreign:
            // Whoever asks took it for ours, and will soon know better: no reason for a bounce.
            return Self.deferral(frame, .systemTrouble, "\(address.domain) is no domain of ours now")
        case .unknown: return Self.rejection(frame, .noSuchMailbox, "no such mailbox")
        case .loop: return Self.rejection(frame, .routingLoop, "the alias loops")
        case .unknownNow: return Self.deferral(frame, .systemTrouble, "the list cannot be read now")
        }
    }

    private func full(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let address = Self.address(frame, directory), let account = directory.accounts[address] else {
            return Self.rejection(frame, .noSuchMailbox, "no such mailbox")
        }
        fullMailboxes.add(account.address, now: loop.now)
        return .ok(tag: frame["tag"])
    }

    /// Whether a user's account is disabled. Who has none is somebody whom a proxy has vouched for, or was one of ours.
    private func account(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let user = frame["user"] else { return Self.rejection(frame, .invalidArguments, "user is needed") }
        let isDisabled = directory.account(user: user)?.isLocked ?? false
        return .ok(tag: frame["tag"], [.init("disabled", isDisabled ? "yes" : "no")])
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

    static func rejection(_ frame: Frame, _ status: EnhancedStatusCode, _ text: String) -> Frame {
        .reply(.reject, status: status, text: text, tag: frame["tag"])
    }

    static func deferral(_ frame: Frame, _ status: EnhancedStatusCode, _ text: String) -> Frame {
        .reply(.defer, status: status, text: text, tag: frame["tag"])
    }
}
