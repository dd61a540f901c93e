import Daemon
import Logging
import Milter
import NIOCore
import SMTP

/// The milters of one session, in order. What one refuses, those behind it don't hear of. Belongs to one event loop.
package final class MilterChain {
    private final class Member {
        let configuration: MilterConfiguration
        var conversation: MilterConversation?
        /// It wants to hear no more of this client.
        var isDone = false
        /// Why it's of no use.
        var fault: MilterFault?
        /// A transaction is open there.
        var isInMessage = false
        /// It wants to hear no more of this message.
        var hasAccepted = false

        init(_ configuration: MilterConfiguration) { self.configuration = configuration }
    }

    private let members: [Member]
    private let pool: MilterPool
    private let loop: any EventLoop
    private let logger: Logger
    private let onFault: () -> Void
    /// What a milter that is connected to again has to hear.
    private var connection: (event: MilterEvent, macros: MilterMacros)?
    private var helo: (event: MilterEvent, macros: MilterMacros)?
    private var discard: MilterVerdict?

    /// - Parameter onFault: called for each fault of a milter.
    package init(
        _ milters: [MilterConfiguration],
        pool: MilterPool,
        on loop: any EventLoop,
        logger: Logger,
        onFault: @escaping () -> Void
    ) {
        members = milters.map(Member.init)
        self.pool = pool
        self.loop = loop
        self.logger = logger
        self.onFault = onFault
    }

    // MARK: The client

    /// A client has come. What is left of another one's is forgotten.
    ///
    /// - Parameter name: its verified name, or its address in square brackets.
    package func connect(
        name: String,
        _ address: MilterClientAddress,
        _ macros: MilterMacros
    ) async -> MilterVerdict? {
        end()
        for member in members {
            member.isDone = false
            member.fault = nil
        }
        helo = nil
        connection = (.connect(name: Array(name.utf8), address), macros)
        // What can't be reached counts when there is mail.
        for member in members { if let verdict = await open(member), verdict.fault == nil { return verdict } }
        return nil
    }

    /// HELO, EHLO or LHLO.
    package func helo(_ name: String, _ macros: MilterMacros) async -> MilterVerdict? {
        abort()
        let event = MilterEvent.helo(Array(name.utf8))
        helo = (event, macros)
        for member in members where member.conversation != nil {
            if let verdict = await tell(member, event, macros), verdict.fault == nil { return verdict }
        }
        return nil
    }

    // MARK: The transaction

    /// MAIL. Milters that were of no use are tried again.
    package func mail(_ sender: EnvelopeSender, _ macros: MilterMacros) async -> MilterVerdict? {
        abort()
        let event = MilterEvent.mail(
            Array(sender.path.description.utf8),
            parameters: Self.words(sender.description, behind: sender.path.description)
        )
        for member in members {
            if let verdict = await open(member) { return verdict }
            guard member.conversation != nil else { continue }
            member.isInMessage = true
            if let verdict = await tell(member, event, macros) {
                if verdict.action != .discard { member.isInMessage = false }
                return verdict
            }
        }
        return nil
    }

    /// RCPT of a recipient that would be taken.
    package func recipient(_ recipient: EnvelopeRecipient, _ macros: MilterMacros) async -> MilterVerdict? {
        let path = "<\(recipient.address)>"
        let words = Self.words(recipient.description, behind: path)
        return await tell(.recipient(Array(path.utf8), parameters: words), macros)
    }

    /// RCPT of one that was refused: those that want to know are told, and have nothing to say.
    package func refusedRecipient(_ path: String, _ macros: MilterMacros) async {
        for member in members where member.isInMessage && !member.hasAccepted {
            guard let conversation = member.conversation, conversation.agreement.steps.contains(.refusedRecipients)
            else { continue }
            do throws(MilterFault) {
                _ = try await conversation.tell(.recipient(Array(path.utf8), parameters: []), macros)
            } catch {
                _ = fail(member, error)
            }
        }
    }

    /// DATA, or the first BDAT.
    package func data(_ macros: MilterMacros) async -> MilterVerdict? {
        let verdict = await tell(.data, macros)
        if verdict != nil, verdict?.action != .discard { abort() }
        return verdict
    }

    /// A command that isn't known here.
    package func unknown(_ line: [UInt8]) async -> MilterVerdict? { await tell(.unknown(line), MilterMacros()) }

    /// Tells all of an event.
    private func tell(_ event: MilterEvent, _ macros: MilterMacros) async -> MilterVerdict? {
        guard discard == nil else { return nil }
        for member in members {
            if let verdict = await tell(member, event, macros) { return verdict }
        }
        return nil
    }

    /// Nothing comes of the transaction. Does nothing where there is none.
    package func abort() {
        discard = nil
        for member in members {
            if member.isInMessage, !member.hasAccepted { member.conversation?.abort() }
            member.isInMessage = false
            member.hasAccepted = false
        }
    }

    /// The client has gone.
    package func end() {
        abort()
        for member in members {
            if let conversation = member.conversation { pool.give(conversation, of: member.configuration) }
            member.conversation = nil
        }
    }

    // MARK: The message

    /// Lets each milter in turn look at a whole message.
    ///
    /// - Parameters:
    ///   - message: changed as those want it that let it pass.
    ///   - macros: for the end of the header and that of the message.
    package func judge(_ message: inout MilteredMessage, _ macros: MilterMacros) async -> MilterVerdict? {
        defer { abort() }
        if let discard { return discard }
        let limit = NIODeadline.now() + Self.longestWork(members.map(\.configuration.messageTimeout))
        for member in members {
            member.conversation?.limit = limit
            defer { member.conversation?.limit = nil }
            if let fault = member.fault, let verdict = verdict(on: fault, of: member) { return verdict }
            guard let conversation = member.conversation, member.isInMessage, !member.hasAccepted else { continue }
            do throws(MilterFault) {
                if let verdict = try await judge(&message, member, conversation, macros) { return verdict }
            } catch {
                if let verdict = fail(member, error) { return verdict }
                continue
            }
            if message.recipients.isEmpty { return MilterVerdict(.discard, by: member.configuration.name) }
        }
        return nil
    }

    /// How long all of them together may be at work on one message, whatever progress they report: clients wait ten minutes
    /// for the answer to the final dot (RFC 5321 §4.5.3.2.6). Longer where the configuration gives one of them more.
    private static func longestWork(_ timeouts: [TimeAmount]) -> TimeAmount {
        max(.minutes(9), timeouts.max() ?? .zero)
    }

    private func judge(
        _ message: inout MilteredMessage,
        _ member: Member,
        _ conversation: MilterConversation,
        _ macros: MilterMacros
    ) async throws(MilterFault) -> MilterVerdict? {
        let agreement = conversation.agreement
        if !agreement.steps.contains(.noHeaders) {
            for (name, value) in message.header.shown(leadingSpace: agreement.steps.contains(.leadingSpace)) {
                let reply = try await conversation.tell(.header(name: name, value: value), MilterMacros())
                if let verdict = judge(reply, member) { return verdict }
                if member.hasAccepted { return nil }
            }
        }
        if let verdict = judge(try await conversation.tell(.endOfHeader, macros), member) { return verdict }
        if !member.hasAccepted, !agreement.steps.contains(.noBody) {
            for piece in message.body {
                let reply = try await conversation.tell(.body(piece), MilterMacros())
                if reply == .skip { break }
                if let verdict = judge(reply, member) { return verdict }
                if member.hasAccepted { return nil }
            }
        }
        if member.hasAccepted { return nil }
        let reply = try await conversation.end(&message, macros)
        // Whatever it was, the transaction is over there.
        member.isInMessage = false
        return judge(reply, member)
    }

    // MARK: Connections and their faults

    /// Connects where there is no connection, and says what others have heard already.
    private func open(_ member: Member) async -> MilterVerdict? {
        guard !member.isDone, let connection else { return nil }
        if let former = member.conversation {
            // One that the milter has closed meanwhile is no fault of it.
            guard !member.isInMessage, !former.isUsable else { return nil }
            former.drop()
            member.conversation = nil
        }
        member.fault = nil
        let kept = pool.take(member.configuration.name)
        do throws(MilterFault) {
            if let kept {
                do throws(MilterFault) {
                    return try await begin(member, kept, connection)
                } catch {
                    // It may have been closed while it was idle.
                    kept.drop()
                }
            }
            guard !pool.isHanging(member.configuration.name) else { throw MilterFault.timedOut }
            let conversation = try await connect(member.configuration)
            return try await begin(member, conversation, connection)
        } catch {
            return fail(member, error)
        }
    }

    private func connect(_ milter: MilterConfiguration) async throws(MilterFault) -> MilterConversation {
        do throws(MilterFault) {
            return try await MilterConversation.open(milter, on: loop)
        } catch .timedOut {
            pool.noteHanging(milter)
            throw .timedOut
        }
    }

    private func begin(
        _ member: Member,
        _ conversation: MilterConversation,
        _ connection: (event: MilterEvent, macros: MilterMacros)
    ) async throws(MilterFault) -> MilterVerdict? {
        member.conversation = conversation
        let past = [connection] + (helo.map { [$0] } ?? [])
        for said in past where !member.isDone {
            let reply = try await conversation.tell(said.event, said.macros)
            if let verdict = judge(reply, member, ofClient: true) {
                // Of the client: whoever asks again is told again.
                member.conversation?.quit()
                member.conversation = nil
                return verdict
            }
        }
        return nil
    }

    private func tell(_ member: Member, _ event: MilterEvent, _ macros: MilterMacros) async -> MilterVerdict? {
        let isOfClient = event.stage == .connect || event.stage == .helo
        if !isOfClient, event.stage != nil, let fault = member.fault { return verdict(on: fault, of: member) }
        guard let conversation = member.conversation, !member.hasAccepted else { return nil }
        guard member.isInMessage || isOfClient || event.stage == nil else { return nil }
        do throws(MilterFault) {
            return judge(try await conversation.tell(event, macros), member, ofClient: isOfClient)
        } catch {
            return fail(member, error)
        }
    }

    /// - Parameter isOfClient: said of the connection or HELO.
    private func judge(_ reply: MilterReply?, _ member: Member, ofClient isOfClient: Bool = false) -> MilterVerdict? {
        let name = member.configuration.name
        switch reply {
        case nil, .proceed, .skip, .progress, .modification: return nil
        case .accept:
            guard isOfClient else {
                member.hasAccepted = true
                return nil
            }
            member.isDone = true
            member.conversation?.quit()
            member.conversation = nil
            return nil
        case .discard:
            guard !isOfClient else { return nil }
            let verdict = MilterVerdict(.discard, by: name)
            member.hasAccepted = true
            discard = verdict
            return verdict
        case .reject: return MilterVerdict(.refuse(.rejectedByMilter), by: name)
        case .tempfail: return MilterVerdict(.refuse(.deferredByMilter), by: name)
        case .refuse(let reply):
            return MilterVerdict(reply.code == .serviceNotAvailable ? .disconnect(reply) : .refuse(reply), by: name)
        case .shutdown, .connectionFailure: return MilterVerdict(.disconnect(.milterShutdown), by: name)
        }
    }

    private func fail(_ member: Member, _ fault: MilterFault) -> MilterVerdict? {
        logger.error(
            "milter failed",
            metadata: [
                "milter": "\(member.configuration.name)", "reason": "\(fault.text)",
                "on-failure": "\(member.configuration.onFailure.rawValue)",
            ]
        )
        onFault()
        member.conversation?.drop()
        member.conversation = nil
        member.isInMessage = false
        member.fault = fault
        return verdict(on: fault, of: member)
    }

    private func verdict(on fault: MilterFault, of member: Member) -> MilterVerdict? {
        switch member.configuration.onFailure {
        case .accept: nil
        case .defer: MilterVerdict(.refuse(.milterDeferred), by: member.configuration.name, fault: fault)
        case .reject: MilterVerdict(.refuse(.milterRejected), by: member.configuration.name, fault: fault)
        }
    }

    /// What stands behind a path, word by word.
    private static func words(_ text: String, behind path: String) -> [[UInt8]] {
        text.utf8.dropFirst(path.utf8.count).split(separator: UInt8(ascii: " ")).map(Array.init)
    }
}
