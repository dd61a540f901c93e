import Daemon
import DequeModule
import NIOCore
import Network
import SMTP
import TLS

/// An SMTP session with another host, from the greeting on. Belongs to its connection's event loop.
final class SMTPClient {
    /// The extensions that a host lists in its EHLO response.
    struct Extensions: Sendable, Equatable {
        private var keywords: [String: String] = [:]

        init(_ reply: Reply) {
            for line in reply.lines.dropFirst() {
                let words = line.split(separator: " ", maxSplits: 1)
                guard let keyword = words.first else { continue }
                keywords[keyword.uppercased()] = words.count > 1 ? String(words[1]) : ""
            }
        }

        init() {}

        func has(_ keyword: String) -> Bool { keywords[keyword] != nil }

        /// The mechanisms that the host takes logins by (RFC 4954 §3).
        var mechanisms: [String] { keywords["AUTH"]?.split(separator: " ").map { $0.uppercased() } ?? [] }

        /// What it takes of recipients in a transaction, and of transactions in a session (RFC 9422).
        func limit(_ name: String) -> Int? {
            let words = keywords["LIMITS"]?.split(separator: " ") ?? []
            let prefix = "\(name)="
            return words.first { $0.uppercased().hasPrefix(prefix) }.flatMap { Int($0.dropFirst(prefix.count)) }
                .flatMap { $0 > 0 ? $0 : nil }
        }

        /// The shortest time that the host delivers in (RFC 2852 §2). Seconds.
        var minimumDeliverBy: Int { keywords["DELIVERBY"].flatMap { Int($0) } ?? 0 }

        /// The largest message that the host takes, where it says so (RFC 1870). Octets.
        var maximumSize: Int? { keywords["SIZE"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } }
    }

    /// Why the session can't be used; another host may be tried.
    enum Failure: Error, Equatable {
        /// The connection broke, timed out, or carried what is not SMTP.
        case connection(String)
        /// The local address that connections should come from can't be used.
        case source(String)
        /// TLS failed where it was offered, because of the certificate or something else; the same host may be tried without where
        /// the policy allows that.
        case tls(String, CertificateFault?)
        /// The policy allows no session with this host.
        case policy(PolicyFault, String)
        /// The host doesn't take our credentials, or there is no way to give them to it.
        case login(String, Reply?)
        /// The host refused the session.
        case refused(Reply)
        /// TLS is required and not offered.
        case notEncrypted
        /// The message can't be read from queue-manager: no other host helps.
        case unreadable(String)
        /// The message has a line that is too long, and was broken off: it goes again in other lines.
        case longLine
        /// The message must go over verified TLS to hosts that see to it, too, and this is none (RFC 8689).
        case notAssured(String)
        /// Nobody waits for the result any more, and nothing more should be sent.
        case interrupted

        /// Whether a new session with the same host may do better.
        var newSessionMayHelp: Bool {
            switch self {
            case .connection, .refused: return true
            case .source, .tls, .policy, .login, .notEncrypted, .unreadable, .longLine, .notAssured, .interrupted:
                return false
            }
        }

        /// Whether it's what the message's sender wants of TLS that may be missing.
        var isAboutTLS: Bool {
            switch self {
            case .tls, .policy, .notEncrypted, .notAssured: return true
            case .connection, .source, .login, .refused, .unreadable, .longLine, .interrupted: return false
            }
        }

        /// Whether another host may do better.
        var otherHostMayHelp: Bool {
            switch self {
            case .connection, .source, .tls, .policy, .login, .refused, .notEncrypted, .notAssured: return true
            case .unreadable, .longLine, .interrupted: return false
            }
        }
    }

    let target: Target
    let terms: SessionTerms
    let connection: Connection
    private(set) var extensions = Extensions()
    private(set) var messages = 0
    /// MAIL commands, whatever came of them: what MAILMAX limits (RFC 9422).
    private(set) var transactions = 0
    /// Commands are on their way that the host hasn't answered yet, more than one of them (RFC 2920).
    var isPipelining = false
    private let settings: RelaySettings
    /// The most that the way to the first transaction may take, however slowly the host talks.
    private static let maximumGreetingTime = TimeAmount.minutes(30)
    private var parser = ReplyParser()
    /// What replies are still to come to, in order: commands by their verb.
    private var awaited: Deque<String> = ["the greeting"]

    init(_ target: Target, _ connection: Connection, terms: SessionTerms, settings: RelaySettings) {
        self.target = target
        self.terms = terms
        self.connection = connection
        self.settings = settings
    }

    /// Whether another message may go over this connection.
    var isReusable: Bool {
        messages < settings.reuseCount && transactions < (extensions.limit("MAILMAX") ?? .max) && !connection.hasEnded
            && connection.input.readableBytes == 0
    }

    func countMessage() { messages += 1 }

    func countTransaction() { transactions += 1 }

    /// What TLS of a session stands on.
    struct TLSUse {
        let context: TLSContext
        /// The name to ask for.
        let serverName: String?
        let resumption: TLSResumption
        /// What the host is shown where it asks for a certificate, and its name here.
        var identity: TLSIdentity?
        var identityName: String?
    }

    /// Greeting, EHLO (or HELO, or LHLO), TLS as the terms say, and EHLO again.
    ///
    /// - Parameters:
    ///   - tls: nil for clear text.
    ///   - time: how long all of it may take; nil for as long as a message's way may.
    func greet(tls: TLSUse?, within time: TimeAmount? = nil) async throws(Failure) {
        connection.idleTimeout = settings.times.command
        connection.deadline = .now() + (time ?? Self.maximumGreetingTime)
        if terms.isImplicitTLS, let tls { try await startTLS(tls) }
        let greeting = try await reply()
        guard greeting.code.isPositive else { throw .refused(greeting) }
        try await hello()
        guard let tls, !terms.isImplicitTLS else { return }
        let isOptional =
            switch terms.demand {
            case .clearText, .opportunistic: true
            case .encrypted, .verified: false
            }
        guard extensions.has("STARTTLS") else {
            if !isOptional { throw .notEncrypted }
            return
        }
        let answer = try await command("STARTTLS")
        guard answer.code == .ready else {
            if !isOptional { throw .refused(answer) }
            return
        }
        try await startTLS(tls)
        try await hello()
    }

    private func startTLS(_ tls: TLSUse) async throws(Failure) {
        let verification: ServerVerification =
            switch terms.demand {
            case .clearText, .encrypted: .nothing
            case .opportunistic(let verification), .verified(let verification): verification
            }
        // A session is resumed with the same host alone, and as the same client.
        let destination = "\(target.host) \(target.address) \(tls.identityName ?? "")"
        do {
            try await connection.startTLS(
                client: tls.context,
                serverName: tls.serverName,
                verification: verification,
                identity: tls.identity,
                resumption: (tls.resumption, destination)
            )
        } catch {
            let reason = if case .tls(let reason) = error { reason } else { "\(error)" }
            if connection.hasNoSignature { throw .policy(.noClientCertificate, reason) }
            // It's said that it's TLS that failed.
            let prefix = "TLS: "
            throw .tls(
                String(reason.hasPrefix(prefix) ? reason.dropFirst(prefix.count) : reason[...]),
                connection.certificateFault
            )
        }
    }

    private func hello() async throws(Failure) {
        let hostname = terms.source.hostname(for: target.address) ?? settings.hostname
        let isLocal = terms.language == .lmtp
        let answer = try await command("\(isLocal ? "LHLO" : "EHLO") \(hostname)")
        if answer.code.isPositive {
            extensions = Extensions(answer)
            return
        }
        guard answer.code.isPermanent, !isLocal else { throw .refused(answer) }
        let plain = try await command("HELO \(hostname)")
        guard plain.code.isPositive else { throw .refused(plain) }
        extensions = Extensions()
    }

    /// - Parameter verb: of the command that the line belongs to, where the line itself must not be logged.
    func command(_ line: String, in verb: String? = nil) async throws(Failure) -> Reply {
        write(line, in: verb)
        try await flush()
        return try await reply()
    }

    /// Adds a command to what the next `flush` sends. Lines come from checked values: no CR or LF is in them.
    func write(_ line: String, in verb: String? = nil) {
        connection.write(line)
        connection.write("\r\n")
        awaited.append("the reply to \(verb ?? String(line.prefix { $0 != " " }))")
    }

    /// The whole message, with its dot, has gone into what the next `flush` sends.
    func messageEnds() { awaited.append("the reply to the message") }

    func flush() async throws(Failure) {
        do {
            try await connection.flush()
        } catch {
            throw .connection(reason(error))
        }
    }

    /// The next reply. A host that says 421 is about to close (RFC 5321 §3.8).
    func reply() async throws(Failure) -> Reply {
        while true {
            do {
                if let reply = try parser.next(&connection.input) {
                    _ = awaited.popFirst()
                    if reply.code == .serviceNotAvailable { throw Failure.refused(reply) }
                    return reply
                }
            } catch let failure as Failure {
                throw failure
            } catch {
                throw .connection("\(stage) was malformed")
            }
            let more: Bool
            do {
                more = try await connection.receive()
            } catch {
                throw .connection(reason(error))
            }
            guard more else { throw .connection(reason(.closed)) }
        }
    }

    /// Sends QUIT and closes without waiting for the reply.
    func quit() {
        write("QUIT")
        connection.close()
    }

    /// Where the session stands.
    private var stage: String { awaited.first ?? "the message" }

    /// Why it ended, and where.
    private func reason(_ error: ConnectionError) -> String {
        let isSending = awaited.isEmpty
        switch error {
        case .closed: return "the connection was closed \(isSending ? "in the middle of" : "before") \(stage)"
        case .timedOut: return "timed out \(isSending ? "sending" : "waiting for") \(stage)"
        case .lineTooLong: return "\(stage) has a line that is too long"
        case .shuttingDown, .dismissed: return "shutting down"
        case .tls(let reason), .failed(let reason), .badSource(let reason):
            return "\(reason) \(isSending ? "in the middle of" : "before") \(stage)"
        }
    }

    /// Why there is no connection.
    ///
    /// - Parameter source: the local address that it should come from.
    static func connecting(_ error: ConnectionError, from source: SocketAddress?) -> Failure {
        switch error {
        case .closed: .connection("cannot connect: the connection was closed")
        case .timedOut: .connection("cannot connect: timed out")
        case .lineTooLong, .shuttingDown, .dismissed: .connection("cannot connect")
        case .tls(let reason), .failed(let reason): .connection("cannot connect: \(reason)")
        case .badSource(let reason): .source("cannot connect from \(source?.ipAddress ?? "here"): \(reason)")
        }
    }
}
