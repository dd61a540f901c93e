import Accounts
import CoreMetrics
import Front
import IMAP
import Logging
import MIME
import Mailbox
import MailboxProcess
import NIOCore
import Network

/// A user's session after login. Runs on the connection's event loop alone.
final class MailboxSession: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    enum Next: Equatable {
        case command
        case close
        /// The client has logged out and goes back to the front; octets of it that came before those in the connection's input.
        case giveBack(unheard: ByteBuffer)
    }

    /// Why a command fails though it was understood: the NO response.
    struct Refusal: Error {
        var code: ResponseCode?
        var text: String
    }

    let connection: Connection
    let location: MailboxLocation
    let store: any MailStore
    /// The same, where folders of others are among them.
    let united: NamespaceStore?
    /// The user's address.
    let address: String
    let accounts: AccountsClient
    let settings: MailboxSettings
    /// All that waits for the disk or takes long; the account's sessions wait for their turns together.
    let disk: BlockingPool.Line
    let watcher: FolderWatcher?
    /// Nil where nothing is kept of messages.
    let indexes: MessageIndexes?
    let indexer: TextIndexer?
    let counters: MailboxCounters
    /// For SORT and THREAD of all sessions.
    let sortMemory: MemoryBudget
    let logger: Logger
    /// By which the client may be given back to the front.
    let mark: ReturnMark?

    var reader: CommandReader
    /// What the client has switched on.
    var dialect = Dialect() {
        didSet { reader.usesUTF8 = dialect.hasUTF8Names }
    }
    /// Both directions are DEFLATE.
    var compression: CompressionHandler?
    var selected: SelectedFolder?
    /// Octets of responses since the last flush of a batch.
    var unflushed = 0
    private var errors = 0

    /// Responses of more octets than this are sent although the command isn't over.
    static let responseBatch = 32 * 1024

    init(
        _ connection: Connection,
        _ mailbox: UserMailbox,
        address: String,
        accounts: AccountsClient,
        settings: MailboxSettings,
        disk: BlockingPool.Line,
        watcher: FolderWatcher?,
        indexes: MessageIndexes?,
        indexer: TextIndexer?,
        counters: MailboxCounters,
        sortMemory: MemoryBudget,
        mark: ReturnMark?,
        logger: Logger
    ) {
        self.connection = connection
        location = mailbox.location
        store = mailbox.store
        united = mailbox.united
        self.address = address
        self.accounts = accounts
        self.settings = settings
        self.disk = disk
        self.watcher = watcher
        self.indexes = indexes
        self.indexer = indexer
        self.counters = counters
        self.sortMemory = sortMemory
        self.mark = mark
        self.logger = logger
        reader = CommandReader(limits: settings.capabilities.limits(settings.commands))
    }

    /// Serves the client until either side ends the session.
    func run() async {
        connection.idleTimeout = settings.idleTimeout
        do throws(ConnectionError) {
            var next = Next.command
            while next == .command { next = try await nextCommand() }
            if case .giveBack(let unheard) = next, let mark {
                return try await LoginArrival.giveBack(connection, by: mark, unheard: unheard)
            }
            try await connection.flush()
        } catch {
            switch error {
            case .timedOut: respond { $0.status(.bye, "idle for too long") }
            case .shuttingDown: respond { $0.status(.bye, code: .unavailable, "going down, try again later") }
            case .dismissed: respond { $0.status(.bye, code: .unavailable, "too many sessions, try again later") }
            case .closed, .lineTooLong, .failed, .badSource, .tls:
                logger.debug("session lost", metadata: ["mailbox": "\(location.path)", "reason": "\(error)"])
            }
            try? await connection.flush()
        }
        selected = nil
    }

    func respond(_ write: (inout ResponseWriter) -> Void) {
        connection.eventLoop.assertInEventLoop()
        var writer = ResponseWriter(for: dialect)
        write(&writer)
        unflushed += writer.buffer.readableBytes
        connection.write(writer.buffer)
    }

    private func nextCommand() async throws(ConnectionError) -> Next {
        while true {
            switch reader.next(from: &connection.input) {
            case .needMore:
                try await connection.flush()
                guard try await connection.receive() else { return .close }
            case .needLiteralContinuation:
                respond { $0.continuation("go on") }
            case .command(let command):
                counters.commands.increment()
                return try await perform(command)
            case .append(let tag, let steps):
                counters.commands.increment()
                return try await append(tag, steps)
            case .bad(let tag, let reason, let code):
                return fault(tag: tag, reason, code: code)
            case .fatal(let reason):
                respond { $0.status(.bye, reason) }
                return .close
            }
        }
    }

    /// - Parameter code: what makes it a NO; but for UIDREQUIRED, which stands in a BAD (RFC 9586 §3.2).
    func fault(tag: String?, _ reason: String, code: ResponseCode? = nil) -> Next {
        counters.badCommands.increment()
        errors += 1
        let isBad = code == nil || code == .uidRequired
        respond { $0.status(isBad ? .bad : .no, tag: tag, code: code, reason) }
        guard errors < settings.maximumErrors else {
            respond { $0.status(.bye, "too many errors") }
            return .close
        }
        return .command
    }

    /// Runs a call that may block.
    func onDisk<Value: Sendable>(
        _ body: @escaping @Sendable () throws(MailboxError) -> Value
    ) async throws(Refusal) -> Value {
        do throws(MailboxError) {
            return try await disk.runWhenFree(on: connection.eventLoop, body)
        } catch {
            throw refusal(error)
        }
    }

    func refusal(_ error: MailboxError) -> Refusal {
        switch error {
        case .notFound: return Refusal(code: .nonexistent, text: "no such mailbox or message")
        case .vanished: return Refusal(code: .nonexistent, text: "the mailbox is gone")
        case .exists: return Refusal(code: .alreadyExists, text: "mailbox already exists")
        case .invalidName: return Refusal(code: .cannot, text: "not possible with this name")
        case .noSpace: return Refusal(code: .overQuota, text: "the disk is full")
        case .overQuota: return Refusal(code: .overQuota, text: "the mailbox is full")
        case .noPermission: return Refusal(code: .noPermission, text: "you have no right to that")
        case .busy, .locked: return Refusal(code: .inUse, text: "the mailbox is in use by another program")
        case .unsupported: return Refusal(code: .cannot, text: "not possible with this mailbox")
        case .corrupt, .uncertain, .system:
            logger.error("mailbox failed", metadata: ["mailbox": "\(location.path)", "reason": "\(error)"])
            return Refusal(code: .unavailable, text: "the mailbox can't be used now")
        }
    }

    // MARK: Commands

    /// What the tagged OK response carries.
    struct OKResponse {
        var code: ResponseCode?
        /// Where not all of the messages were looked at (RFC 9738).
        var limit: ResponseCode?
        var text = "done"
    }

    /// How a command ended.
    private enum Completion {
        /// With an OK that is still to be sent.
        case done(OKResponse)
        /// It has been answered in full.
        case answered(Next)
    }

    private func perform(_ command: TaggedCommand) async throws(ConnectionError) -> Next {
        let tag = command.tag
        guard settings.capabilities.missing(for: command.command) == nil else {
            return fault(tag: tag, "unknown command")
        }
        if dialect.usesUIDsOnly, command.command.usesMessageNumbers {
            return fault(tag: tag, "UIDs only, as you have asked", code: .uidRequired)
        }
        do {
            switch try await execute(command.command, tag: tag) {
            case .answered(let next): return next
            case .done(let done):
                let isSelected = try await announceChanges(expunges: Self.mayExpungeAfter(command.command))
                var code = done.code ?? untoldCode()
                if let limit = done.limit {
                    // Beside another code it stands in a response of its own (RFC 9738 §3.1).
                    if code != nil { respond { $0.status(.no, code: limit, "not all of the messages") } }
                    code = code ?? limit
                }
                respond { [code] in $0.status(.ok, tag: tag, code: code, done.text) }
                guard isSelected else { return endWithoutMailbox() }
            }
        } catch let refusal as Refusal {
            respond { $0.status(.no, tag: tag, code: refusal.code, refusal.text) }
            guard await hasSelection() else { return endWithoutMailbox() }
        } catch let error as SyntaxError {
            return fault(tag: tag, error.reason)
        } catch let error as ConnectionError {
            throw error
        } catch {
            throw .failed("\(error)")
        }
        if connection.hasOutput, connection.input.readableBytes == 0 { try await connection.flush() }
        return .command
    }

    /// The selected mailbox was deleted by another session. Message numbers mean nothing any more, and a client that isn't told
    /// would go on for ever: RFC 2180 §3.
    func endWithoutMailbox() -> Next {
        respond { $0.status(.bye, code: .nonexistent, "the selected mailbox was deleted") }
        return .close
    }

    /// Every command has its case here: one that does nothing says so.
    private func execute(_ command: Command, tag: String) async throws -> Completion {
        switch command {
        // In any state.
        case .capability:
            let names = settings.capabilities.afterLogin(messageLimit: settings.commands.message)
            respond { $0.capability(names) }
        case .noop: break  // changes are reported after every command
        case .id: respond { $0.id(Capabilities.identity) }
        case .logout:
            respond { $0.status(.bye, "goodbye") }
            respond { $0.status(.ok, tag: tag, "done") }
            return .answered(.close)

        // Before the login.
        case .startTLS, .login, .authenticate: throw SyntaxError("already logged in")

        // After the login.
        case .enable(let names): try await enable(names)
        case .namespace:
            let (delimiter, namespaces) = (delimiter, store.namespaces)
            respond {
                $0.namespace(
                    delimiter: delimiter,
                    others: namespaces.others.map { MailboxName($0) },
                    shared: namespaces.shared.map { MailboxName($0) }
                )
            }
        case .select(let name, let modifiers): return .done(try await select(name, modifiers, readOnly: false))
        case .examine(let name, let modifiers): return .done(try await select(name, modifiers, readOnly: true))
        case .create(let name, let uses): return .done(try await create(name, uses: uses))
        case .delete(let name): try await delete(name)
        case .rename(let from, let to): try await rename(from, to)
        case .subscribe(let name): try await subscribe(name)
        case .unsubscribe(let name): try await unsubscribe(name)
        case .list(let list): try await self.list(list)
        case .lsub(let reference, let pattern): try await lsub(reference, pattern)
        case .status(let name, let items): try await status(name, items)
        case .idle: return .answered(try await idle(tag))
        case .compress(let algorithm): return .answered(try await compress(tag, algorithm))
        case .unauthenticate: return .answered(try await unauthenticate(tag))
        case .getQuota(let root): try await quota(root)
        case .getQuotaRoot(let name): try await quotaRoot(name)
        case .getACL(let name): try await getACL(name)
        case .setACL(let name, let identifier, let change): try await setACL(name, identifier, change)
        case .deleteACL(let name, let identifier): try await deleteACL(name, identifier)
        case .listRights(let name, let identifier): try await listRights(name, identifier)
        case .myRights(let name): try await myRights(name)
        case .getMetadata(let command): return .done(try await getMetadata(command))
        case .setMetadata(let mailbox, let values): try await setMetadata(mailbox, values)

        // With a selected mailbox.
        case .check: _ = try selection()  // what it would sync is synced already
        case .close: return .done(try await close(try selection()))
        case .unselect:
            _ = try selection()
            selected = nil
        case .expunge: return .done(try await expunge(try selection(), nil))
        case .uidExpunge(let set): return .done(try await expunge(try selection(), set))
        case .search(let search, let byUID):
            return .done(try await self.search(try selection(), search, byUID: byUID, tag: tag))
        case .sort(let sort, let byUID): try await self.sort(try selection(), sort, byUID: byUID, tag: tag)
        case .thread(let thread, let byUID): try await self.thread(try selection(), thread, byUID: byUID, tag: tag)
        case .multiSearch(let filters, let search): return .done(try await multiSearch(filters, search, tag: tag))
        case .fetch(let set, let items, let modifiers, let byUID):
            guard modifiers.partial == nil || byUID else { throw SyntaxError("PARTIAL is UID FETCH's") }
            return .done(try await fetch(try selection(), set, items, modifiers, byUID: byUID))
        case .store(let set, let change, let byUID):
            return .done(try await storeFlags(try selection(), set, change, byUID: byUID))
        case .copy(let set, let name, let byUID):
            return .done(try await copy(try selection(), set, to: name, byUID: byUID))
        case .move(let set, let name, let byUID):
            return .done(try await move(try selection(), set, to: name, byUID: byUID))
        }
        return .done(OKResponse())
    }

    /// ENABLE (RFC 5161): what isn't known isn't mentioned.
    private func enable(_ names: [String]) async throws {
        var enabled: [String] = []
        var asksForSequences = false
        for name in names {
            guard let capability = Capability(name: name), settings.capabilities.offers(capability) else { continue }
            switch capability {
            case .imap4rev2: dialect.isRev2 = true
            case .utf8: dialect.acceptsUTF8 = true
            case .uidOnly: dialect.usesUIDsOnly = true
            case .condStore: asksForSequences = true
            case .qResync:
                dialect.usesQResync = true
                asksForSequences = true
            default: continue
            }
            if !enabled.contains(capability.rawValue) { enabled.append(capability.rawValue) }
        }
        respond { [enabled] in $0.enabled(enabled) }
        if asksForSequences { try await beginModSequences() }
    }

    /// What stands between the parts of mailbox names.
    var delimiter: UInt8 { store.delimiter }

    func selection() throws(SyntaxError) -> SelectedFolder {
        guard let selected else { throw SyntaxError("select a mailbox first") }
        return selected
    }

    /// EXPUNGE responses must not come during FETCH, STORE and SEARCH by number (RFC 3501 §7.4.1).
    private static func mayExpungeAfter(_ command: Command) -> Bool {
        switch command {
        case .fetch(_, _, _, let byUID), .search(_, let byUID), .sort(_, let byUID), .thread(_, let byUID),
            .store(_, _, let byUID):
            byUID
        case .capability, .noop, .logout, .id, .startTLS, .authenticate, .login, .select, .examine, .create, .delete,
            .rename, .subscribe, .unsubscribe, .list, .lsub, .status, .namespace, .enable, .idle, .compress,
            .unauthenticate, .getQuota,
            .getQuotaRoot, .getACL, .setACL, .deleteACL, .listRights, .myRights, .getMetadata, .setMetadata,
            .multiSearch, .check, .close, .unselect, .expunge, .uidExpunge,
            .copy, .move:
            true
        }
    }

    /// Where removals can't be told now, sequences that are greater may have been told: this is what the client really knows.
    private func untoldCode() -> ResponseCode? {
        guard let selected, !selected.untold.isEmpty else { return nil }
        return highestModSequence(of: selected)
    }

    /// CLOSE (RFC 3501 §6.4.2): expunges silently, then nothing is selected.
    private func close(_ selected: SelectedFolder) async throws -> OKResponse {
        var code: ResponseCode?
        // Without the right the request is passed over (RFC 4314 §4, CLOSE).
        if !selected.isReadOnly, selected.folder.rights.contains(.expunge) {
            let deleted = selected.known.filter { $0.flags.contains(.deleted) }.map(\.uid)
            if !deleted.isEmpty {
                try await remove(deleted, from: selected)
                // RFC 7162 §3.2.8; but the client isn't told what others have done meanwhile.
                if dialect.usesQResync {
                    code =
                        selected.knowsAll(but: deleted)
                        ? selected.folder.changes.map { .highestModSequence($0.highest) }
                        : highestModSequence(of: selected)
                }
            }
        }
        self.selected = nil
        return OKResponse(code: code)
    }
}
