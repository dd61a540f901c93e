import Daemon
import Milter
import NIOCore
import Network

#if canImport(Glibc)
import Glibc
#endif

/// One connection to a milter, of which all but the packets is known above. Belongs to one event loop.
final class MilterConversation {
    let agreement: MilterAgreement
    private let connection: Connection
    private let configuration: MilterConfiguration
    /// Whether it is in a state in which libmilter takes another client's connection: behind the end of a message that
    /// was to go on, and nowhere else.
    private(set) var mayBeKept = false
    /// The macros of events that the milter isn't told of.
    private var skipped: [MilterStage: (event: MilterEvent, macros: MilterMacros)] = [:]

    /// Until when all milters must be done with a message, whatever progress this one reports; nil where none is judged.
    var limit: NIODeadline?
    /// The same for one event before the message.
    private static let longestWork = TimeAmount.minutes(10)
    /// The most changes that it may make to one message.
    private static let maximumChanges = 2000

    private init(_ connection: Connection, _ agreement: MilterAgreement, _ configuration: MilterConfiguration) {
        self.connection = connection
        self.agreement = agreement
        self.configuration = configuration
    }

    /// Connects and agrees on what is said.
    static func open(
        _ configuration: MilterConfiguration,
        on loop: any EventLoop
    ) async throws(MilterFault) -> MilterConversation {
        let connection: Connection
        do throws(ConnectionError) {
            switch configuration.endpoint {
            case .internet(let address):
                connection = try await .connect(to: address, on: loop, timeout: configuration.connectTimeout)
            case .unix(let path):
                connection = try await .connect(unix: path, on: loop, patience: configuration.connectTimeout)
            }
        } catch {
            throw MilterFault(error)
        }
        do throws(MilterFault) {
            connection.write(MilterAgreement.offer)
            try await flush(connection, until: .now() + configuration.connectTimeout)
            let packet = try await packet(connection, until: .now() + configuration.connectTimeout)
            do throws(MilterProtocolError) {
                return MilterConversation(connection, try MilterAgreement(packet), configuration)
            } catch {
                throw .misbehaving(error)
            }
        } catch {
            connection.abort()
            throw error
        }
    }

    /// Whether another client's events can go here, as far as is known.
    var isUsable: Bool { !connection.hasEnded && connection.input.readableBytes == 0 }

    // MARK: Telling

    /// Tells the milter of an event.
    ///
    /// - Returns: its reply; nil where it isn't told of such events, or doesn't answer them.
    func tell(_ event: MilterEvent, _ macros: MilterMacros) async throws(MilterFault) -> MilterReply? {
        mayBeKept = false
        try requireSilence()
        let chosen = macros.chosen(event.stage.flatMap { agreement.macros[$0] })
        guard agreement.wants(event) else {
            // Its macros may be wanted later: the last ones of each stage, however often a client says it.
            if let stage = event.stage { skipped[stage] = (event, chosen) }
            return nil
        }
        if let stage = event.stage { skipped[stage] = nil }
        connection.write { buffer in
            for skipped in skipped.values { skipped.macros.write(for: skipped.event, to: &buffer) }
            chosen.write(for: event, to: &buffer)
            event.write(to: &buffer)
        }
        skipped = [:]
        guard agreement.answers(event) else {
            switch event {
            case .header: break
            // As far as the milter reads, so that nobody fills the memory with what it isn't to answer.
            default:
                let end = NIODeadline.now() + configuration.commandTimeout
                try await Self.flush(connection, until: limit.map { min($0, end) } ?? end)
            }
            return nil
        }
        let limit = limit ?? .now() + Self.longestWork
        let end = min(.now() + configuration.commandTimeout, limit)
        try await Self.flush(connection, until: end)
        var reply = try await reply(until: end)
        while reply == .progress {
            reply = try await self.reply(until: min(.now() + configuration.commandTimeout, limit))
        }
        if case .modification(let change) = reply { throw .misbehaving(.unexpectedReply(change.code)) }
        if reply == .skip {
            guard case .body = event, agreement.steps.contains(.skip) else {
                throw .misbehaving(.unexpectedReply(UInt8(ascii: "s")))
            }
        }
        return reply
    }

    /// Tells the milter that the message is whole.
    ///
    /// - Parameter message: changed as the milter wants it, unless it refuses it.
    func end(_ message: inout MilteredMessage, _ macros: MilterMacros) async throws(MilterFault) -> MilterReply {
        try requireSilence()
        let wanted = agreement.macros[.endOfMessage]
        connection.write { buffer in
            macros.chosen(wanted).write(for: .endOfMessage, to: &buffer)
            MilterEvent.endOfMessage.write(to: &buffer)
        }
        let limit = limit ?? .now() + Self.longestWork
        try await Self.flush(connection, until: min(.now() + configuration.messageTimeout, limit))
        var draft = message
        var body: NewBody?
        var changes = 0
        let leadingSpace = agreement.steps.contains(.leadingSpace)
        while true {
            let reply = try await reply(until: min(.now() + configuration.messageTimeout, limit))
            switch reply {
            case .progress: continue
            case .modification(let change):
                guard agreement.allows(change) else { throw .misbehaving(.notAgreed(change.code)) }
                if case .replaceBody(let piece) = change {
                    var new = body ?? draft.emptyBody()
                    new.append(piece)
                    try draft.check(new)
                    body = new
                    continue
                }
                changes += 1
                guard changes <= Self.maximumChanges else { throw .impossible("it makes too many changes") }
                try draft.apply(change, leadingSpace: leadingSpace)
            case .proceed, .accept:
                if var body {
                    body.finish()
                    try draft.replaceBody(body)
                }
                message = draft
                mayBeKept = reply == .proceed
                return reply
            case .skip: throw .misbehaving(.unexpectedReply(UInt8(ascii: "s")))
            case .discard, .reject, .tempfail, .refuse, .shutdown, .connectionFailure: return reply
            }
        }
    }

    /// Tells it that nothing comes of the transaction. No answer follows.
    func abort() {
        connection.write { MilterEvent.abort.write(to: &$0) }
        connection.flushSoon()
        skipped = skipped.filter { $0.key == .connect || $0.key == .helo }
        mayBeKept = false
    }

    /// Ends the client's events, for another client's.
    func release() {
        connection.write { MilterEvent.quitForNext.write(to: &$0) }
        connection.flushSoon()
    }

    /// Ends the connection.
    func quit() {
        connection.write { MilterEvent.quit.write(to: &$0) }
        connection.peerIsDone = true
        connection.close()
    }

    /// Ends the connection with one that is of no more use.
    func drop() { connection.abort() }

    // MARK: Hearing

    /// What came unasked would be taken for the answer to something else.
    private func requireSilence() throws(MilterFault) {
        guard connection.input.readableBytes == 0 else { throw .impossible("it answers what it was not asked") }
    }

    private func reply(until end: NIODeadline) async throws(MilterFault) -> MilterReply {
        let packet = try await Self.packet(connection, until: end)
        do throws(MilterProtocolError) {
            return try MilterReply(packet)
        } catch {
            throw .misbehaving(error)
        }
    }

    private static func packet(
        _ connection: Connection,
        until end: NIODeadline
    ) async throws(MilterFault) -> MilterPacket {
        connection.deadline = end
        while true {
            do throws(MilterProtocolError) {
                if let packet = try MilterPacket.next(from: &connection.input) { return packet }
            } catch {
                throw .misbehaving(error)
            }
            // One that never pauses is never waited for.
            guard NIODeadline.now() < end else { throw .timedOut }
            acknowledgeAtOnce(connection)
            do throws(ConnectionError) {
                guard try await connection.receive() else { throw ConnectionError.closed }
            } catch {
                throw MilterFault(error)
            }
        }
    }

    /// Lets the kernel acknowledge what arrives without delay. libmilter writes each change and its last word apart, and the
    /// second waits for the acknowledgement of the first: 40 ms a message. To be said again before each wait (tcp(7)).
    private static func acknowledgeAtOnce(_ connection: Connection) {
        guard connection.channel.remoteAddress?.port != nil else { return }
        let option = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_QUICKACK))
        try? connection.channel.syncOptions?.setOption(option, value: 1)
    }

    private static func flush(_ connection: Connection, until end: NIODeadline) async throws(MilterFault) {
        connection.deadline = end
        do throws(ConnectionError) { try await connection.flush() } catch { throw MilterFault(error) }
    }
}
