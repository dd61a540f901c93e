import CoreMetrics
import IMAP
import Logging
import MIME
import Mailbox
import MailboxProcess
import NIOConcurrencyHelpers
import NIOCore
import Network

/// An APPEND or REPLACE that is under way.
private struct Appending {
    /// A message that has come whole; nothing is to be seen of it yet.
    struct Message {
        let append: any MessageAppend
        var head: AppendedMessage
        var octets = 0
    }

    /// The message of the selected mailbox that is replaced.
    struct Replaced {
        var selected: SelectedFolder
        var uid: UInt32
    }

    let tag: String
    var folder: (any MailFolder)?
    /// Whether that's the user's own.
    var isOwn = true
    var replaced: Replaced?
    var messages: [Message] = []
    var current: Message?
    /// What the account's quota has room for; nil without a quota. Octets.
    var room: Int?
    /// Why none of it will be added: the NO response.
    var refusal: MailboxSession.Refusal?
    /// The same for BAD.
    var fault: SyntaxError?

    var hasFailed: Bool { refusal != nil || fault != nil }

    /// Of all messages so far.
    var octets: Int { messages.reduce(current?.octets ?? 0) { $0 + $1.octets } }

    /// What won't be added: its files go with it, which is work for the disk's threads.
    private(set) var dropped: [any MessageAppend] = []

    mutating func fail(_ reason: MailboxSession.Refusal) {
        if !hasFailed { refusal = reason }
        drop()
    }

    mutating func fail(_ reason: SyntaxError) {
        if !hasFailed { fault = reason }
        drop()
    }

    /// Nothing of it is kept.
    mutating func drop() {
        dropped += messages.map(\.append)
        if let current { dropped.append(current.append) }
        messages = []
        current = nil
    }

    /// Gives what was dropped away.
    mutating func takeDropped() -> [any MessageAppend] {
        defer { dropped = [] }
        return dropped
    }
}

extension MailboxSession {
    /// Messages that one APPEND may add: each has a file that is open.
    private static let maximumMessages = 100
    /// They may be so many times as large as the largest message, together.
    private static let maximumLargeMessages = 4

    /// APPEND (RFC 3501 §6.3.11), also of several messages (RFC 3502) and of pieces (RFC 4469), and REPLACE (RFC 8508): messages
    /// go to the disk as they come, and are to be seen when all have come.
    func append(_ tag: String, _ first: [AppendStep]) async throws(ConnectionError) -> Next {
        var state = Appending(tag: tag)
        do throws(ConnectionError) {
            let next = try await append(first, &state)
            await removeDropped(&state)
            return next
        } catch {
            await removeDropped(&state)
            throw error
        }
    }

    private func removeDropped(_ state: inout Appending) async {
        state.drop()
        let dropped = NIOLockedValueBox(state.takeDropped())
        guard dropped.withLockedValue({ !$0.isEmpty }) else { return }
        await disk.run { dropped.withLockedValue { $0 = [] } }
    }

    private func append(_ first: [AppendStep], _ state: inout Appending) async throws(ConnectionError) -> Next {
        var steps = first
        while true {
            for step in steps {
                if case .literal(let literal) = step {
                    switch try await take(literal, &state) {
                    case .taken: continue
                    case .refused: return refuse(state)
                    case .clientIsGone: return .close
                    }
                } else if case .end = step {
                    return try await finish(&state)
                } else {
                    try await take(step, &state)
                }
            }
            switch try await nextAppendSteps(state) {
            case .steps(let more): steps = more
            case .over(let next): return next
            }
        }
    }

    private enum MoreSteps {
        case steps([AppendStep])
        case over(Next)
    }

    private func nextAppendSteps(_ state: Appending) async throws(ConnectionError) -> MoreSteps {
        while true {
            switch reader.next(from: &connection.input) {
            case .needMore:
                try await connection.flush()
                guard try await connection.receive() else { return .over(.close) }
            case .needLiteralContinuation: respond { $0.continuation("go on") }
            case .append(_, let steps): return .steps(steps)
            case .bad(let tag, let reason, let code): return .over(fault(tag: tag, reason, code: code))
            case .fatal(let reason):
                respond { $0.status(.bye, reason) }
                return .over(.close)
            // A reader is within the APPEND until its end.
            case .command(let command): return .over(fault(tag: command.tag, "out of step"))
            }
        }
    }

    private func refuse(_ state: Appending) -> Next {
        if let fault = state.fault { return self.fault(tag: state.tag, fault.reason) }
        let refusal = state.refusal ?? Refusal(code: .serverBug, text: "nothing to add")
        if refusal.code == .uidRequired { return fault(tag: state.tag, refusal.text, code: refusal.code) }
        respond { $0.status(.no, tag: state.tag, code: refusal.code, refusal.text) }
        return .command
    }

    // MARK: Steps

    private func take(_ step: AppendStep, _ state: inout Appending) async throws(ConnectionError) {
        guard !state.hasFailed else { return }
        do {
            switch step {
            case .begin(let name, let replaced):
                if let replaced { state.replaced = try resolve(replaced) }
                let path = try await folderName(name)
                state.folder = try await target(path)
                state.isOwn = store.isPersonal(path)
            case .message(let head):
                if state.messages.isEmpty { state.room = state.isOwn ? try await room() : nil }
                state.current = try await begin(head, state)
            case .url(let url):
                guard let message = state.current else { return }
                let octets = try await copy(url, to: message, state)
                state.current?.octets += octets
            case .endOfMessage:
                guard let message = state.current else { return }
                guard message.octets > 0 else { throw Refusal(code: nil, text: "the message is empty") }
                state.messages.append(message)
                state.current = nil
            case .literal, .end: return
            }
        } catch let refusal as Refusal {
            state.fail(refusal)
        } catch let fault as SyntaxError {
            state.fail(fault)
        } catch let error as ConnectionError {
            throw error
        } catch {
            throw .failed("\(error)")
        }
    }

    private func resolve(_ replaced: ReplacedMessage) throws -> Appending.Replaced {
        guard settings.capabilities.offers(.replace) else { throw SyntaxError("unknown command") }
        let selected = try selection()
        try requireRemovable(selected)
        if dialect.usesUIDsOnly, !replaced.byUID {
            throw Refusal(code: .uidRequired, text: "UIDs only, as you have asked")
        }
        let set = SequenceSet([.init(replaced.number, replaced.number)])
        guard let place = try selected.places(set, byUID: replaced.byUID).first else {
            throw Refusal(code: nil, text: "there is no such message to replace")
        }
        return Appending.Replaced(selected: selected, uid: selected.known[place].uid)
    }

    private func begin(_ head: AppendedMessage, _ state: Appending) async throws -> Appending.Message? {
        guard let folder = state.folder else { return nil }
        if !state.messages.isEmpty {
            guard settings.capabilities.offers(.multiAppend) else { throw SyntaxError("one message at a time") }
            guard state.messages.count < Self.maximumMessages else {
                throw Refusal(code: .limit, text: "\(Self.maximumMessages) messages at most")
            }
        }
        if head.isCatenated, !settings.capabilities.offers(.catenate) { throw SyntaxError("CATENATE isn't known") }
        let append = try await onDisk { () throws(MailboxError) in try folder.append() }
        return Appending.Message(append: append, head: head)
    }

    // MARK: Literals

    private enum LiteralEnd {
        case taken
        /// The client waits for a continuation that it doesn't get: its octets don't come, and the command is over.
        case refused
        case clientIsGone
    }

    /// Takes the octets of a literal.
    private func take(_ literal: MessageLiteral, _ state: inout Appending) async throws(ConnectionError) -> LiteralEnd {
        if !state.hasFailed {
            if literal.size == 0, state.current?.head.isCatenated != true {
                // RFC 3502 §6.3.11: this is how a client takes all of it back.
                state.fail(Refusal(code: nil, text: "the message is empty"))
            } else if let refusal = refusal(of: literal.size, state) {
                state.fail(refusal)
            } else if literal.isBinary, !settings.capabilities.offers(.binary), !dialect.acceptsUTF8 {
                state.fail(SyntaxError("BINARY isn't known"))
            }
        }
        if literal.isSynchronizing {
            guard !state.hasFailed else {
                reader.endAppend()
                return .refused
            }
            respond { $0.continuation("go on") }
            try await connection.flush()
        }
        var missing = literal.size
        while missing > 0 {
            if connection.input.readableBytes == 0 {
                guard try await connection.receive() else { return .clientIsGone }
            }
            let count = min(missing, connection.input.readableBytes)
            guard let octets = connection.input.readSlice(length: count) else { continue }
            missing -= count
            guard let append = state.current?.append else { continue }
            guard !octets.readableBytesView.contains(ASCII.nul) else {
                // The store keeps lines of text (RFC 3516 §4.4).
                state.fail(
                    literal.isBinary
                        ? Refusal(code: .unknownCTE, text: "messages with a NUL aren't kept")
                        : Refusal(code: nil, text: "a message in a literal has no NUL")
                )
                continue
            }
            do throws(Refusal) {
                try await onDisk { () throws(MailboxError) in try append.write(octets) }
            } catch {
                state.fail(error)
            }
        }
        state.current?.octets += literal.size
        return .taken
    }

    // MARK: CATENATE

    /// Adds what a URL means; returns its octets.
    private func copy(_ url: [UInt8], to message: Appending.Message, _ state: Appending) async throws -> Int {
        guard let parsed = MessageURL(url) else {
            throw Refusal(code: .badURL(url), text: "not a URL of a message here")
        }
        let source = try await source(parsed, url)
        let items: [FetchItem] = [.section(parsed.section, partial: parsed.partial, peek: true)]
        let part: FetchSource.Part?
        do throws(MailboxError) {
            let loop = connection.eventLoop
            while try await !disk.runWhenFree(on: loop, { () throws(MailboxError) in try source.prepare(for: items) }) {
            }
            part = try await disk.runWhenFree(on: loop) { () throws(MailboxError) in
                try source.part(parsed.section, parsed.partial)
            }
        } catch {
            guard error == .notFound else { throw refusal(error) }
            throw Refusal(code: .badURL(url), text: "there is no such message")
        }
        let append = message.append
        switch part {
        case nil: throw Refusal(code: .badURL(url), text: "there is no such part")
        case .octets(let octets):
            if let refusal = refusal(of: octets.count, state) { throw refusal }
            try await onDisk { () throws(MailboxError) in try append.write(ByteBuffer(bytes: octets)) }
            return octets.count
        case .range(let range):
            if let refusal = refusal(of: range.count, state) { throw refusal }
            guard let reader = source.reader else { return 0 }
            var offset = range.lowerBound
            while offset < range.upperBound {
                let start = offset
                let count = min(MessageContent.chunk, range.upperBound - offset)
                offset += try await onDisk { () throws(MailboxError) in
                    let piece = try reader.read(at: start, count: count)
                    guard piece.readableBytes > 0 else { throw .corrupt("message shorter than it was") }
                    try append.write(piece)
                    return piece.readableBytes
                }
                guard !connection.hasEnded else { throw ConnectionError.closed }
            }
            return range.count
        }
    }

    /// Why there is no room for more octets of the current message, before they are written.
    private func refusal(of octets: Int, _ state: Appending) -> Refusal? {
        let limit = settings.commands.message
        guard (state.current?.octets ?? 0) + octets <= limit else {
            return Refusal(code: .tooBig, text: "message too large")
        }
        guard state.octets + octets <= limit.multipliedReportingOverflow(by: Self.maximumLargeMessages).partialValue
        else {
            return Refusal(code: .tooBig, text: "messages too large together")
        }
        guard state.octets + octets <= state.room ?? .max else {
            return Refusal(code: .overQuota, text: "the mailbox is full")
        }
        return nil
    }

    private func room() async throws(Refusal) -> Int? {
        guard location.quota > 0 else { return nil }
        let store = store
        let usage = try await onDisk { () throws(MailboxError) in try store.usage() }
        return max(0, location.quota - usage.octets)
    }

    /// The message that a URL names.
    private func source(_ parsed: MessageURL, _ url: [UInt8]) async throws -> FetchSource {
        let folder: any MailFolder
        if let name = parsed.mailbox {
            let path = try await folderName(name)
            let store = store
            do throws(MailboxError) {
                folder = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                    try store.open(path, readOnly: true)
                }
            } catch {
                guard error == .notFound else { throw refusal(error) }
                throw Refusal(code: .badURL(url), text: "there is no such mailbox")
            }
        } else {
            folder = try selection().folder
        }
        guard parsed.uidValidity.map({ $0 == folder.uidValidity }) ?? true, let message = folder.message(parsed.uid)
        else { throw Refusal(code: .badURL(url), text: "there is no such message") }
        return FetchSource(message, flags: [], folder: folder, structure: nil)
    }

    // MARK: The end

    private func finish(_ state: inout Appending) async throws(ConnectionError) -> Next {
        guard !state.hasFailed, let folder = state.folder, !state.messages.isEmpty else { return refuse(state) }
        let code: ResponseCode
        do throws(Refusal) {
            let uids = try await place(state.messages, in: folder)
            state.messages = []
            if let replaced = state.replaced { try await remove(replaced, for: uids, in: folder) }
            counters.messagesAppended.increment(by: Int64(uids.count))
            code = .appendUID(validity: folder.uidValidity, uids: SequenceSet.text(uids))
        } catch {
            respond { $0.status(.no, tag: state.tag, code: error.code, error.text) }
            return .command
        }
        let tells = settings.capabilities.offers(.uidPlus)
        if state.replaced != nil, tells { respond { $0.status(.ok, code: code, "the replacement is there") } }
        let isSelected = try await announceChanges(expunges: true)
        let ownCode = state.replaced == nil && tells ? code : nil
        respond { $0.status(.ok, tag: state.tag, code: ownCode, state.replaced == nil ? "appended" : "replaced") }
        return isSelected ? .command : endWithoutMailbox()
    }

    /// Puts all messages into the folder, or none: those that are there already go again when one can't be added.
    private func place(_ messages: [Appending.Message], in folder: any MailFolder) async throws(Refusal) -> [UInt32] {
        var uids: [UInt32] = []
        do throws(Refusal) {
            for message in messages {
                let (flags, keywords) = SystemFlags.split(message.head.flags)
                let date = message.head.date?.secondsSince1970
                let append = message.append
                uids.append(
                    try await onDisk { () throws(MailboxError) in
                        try append.finish(flags: flags, keywords: keywords, internalDate: date)
                    }
                )
            }
        } catch {
            await removeAgain(uids, from: folder)
            throw error
        }
        return uids
    }

    private func removeAgain(_ uids: [UInt32], from folder: any MailFolder) async {
        guard !uids.isEmpty else { return }
        // Who may put messages there need not have the right to remove any.
        let folder = folder.base
        do throws(Refusal) {
            _ = try await onDisk { () throws(MailboxError) in
                _ = try folder.refresh()
                return try folder.expunge(uids)
            }
        } catch {
            logger.error(
                "messages of an APPEND that failed are left",
                metadata: ["mailbox": "\(location.path)", "uids": "\(SequenceSet.text(uids))"]
            )
        }
    }

    /// Removes the message that was replaced (RFC 8508 §3.1). Where that fails, what replaces it goes again, but only when the
    /// original is certainly there: it may have been removed and the sync of that have failed.
    private func remove(
        _ replaced: Appending.Replaced,
        for uids: [UInt32],
        in folder: any MailFolder
    ) async throws(Refusal) {
        let source = replaced.selected.folder
        let uid = replaced.uid
        do throws(Refusal) {
            let names = try await onDisk { () throws(MailboxError) in
                let names = source.originalNames(of: [uid])
                _ = try source.expunge([uid])
                return names
            }
            logRemoval("messages replaced", [uid], names, of: replaced.selected)
        } catch {
            let isThere = try? await onDisk { () throws(MailboxError) in
                _ = try source.refresh()
                _ = try source.open(uid)
                return true
            }
            if isThere == true {
                await removeAgain(uids, from: folder)
            } else {
                logger.error(
                    "a replaced message may be there beside its replacement",
                    metadata: [
                        "mailbox": "\(location.path)", "uid": "\(uid)", "replacement": "\(SequenceSet.text(uids))",
                    ]
                )
            }
            throw error
        }
    }
}
