import Bus
import Encodings
import NIOCore
import SASL
import SMTP

/// Asks authd (docs/protocols.md, "auth.sock"), for all sessions of one event loop; every call must come from its
/// thread.
package final class AccountsClient: Sendable {
    private let authority: BusClient

    /// - Parameters:
    ///   - path: of authd's socket, as this process sees it.
    ///   - timeout: how long to wait for an answer; authd delays clients that guess passwords.
    package init(path: String, on loop: any EventLoop, timeout: TimeAmount = .seconds(30)) {
        authority = BusClient(path: path, on: loop, timeout: timeout)
    }

    /// Checks a user name and a password.
    ///
    /// - Parameter client: the client's address, by which authd slows down those who guess.
    /// - Throws: `refused` with 5.7.8 when they are wrong.
    package func verify(
        service: LoginService,
        user: String,
        password: String,
        client: String
    ) async throws(AccountsError) -> VerifiedLogin {
        let reply = try await request(
            Frame("VERIFY", ["service": service.rawValue, "user": user, "password": password, "client": client])
        )
        return try Self.login(reply, service)
    }

    /// Checks an access token.
    ///
    /// - Throws: `refused` with 5.7.8 when it isn't good, or is another user's.
    package func verify(
        service: LoginService,
        token: TokenCredentials,
        client: String
    ) async throws(AccountsError) -> VerifiedLogin {
        var question = Frame("TOKEN", ["service": service.rawValue, "token": token.token, "client": client])
        question["user"] = token.user
        return try Self.login(try await request(question), service)
    }

    /// Checks whose a client certificate is.
    ///
    /// - Parameters:
    ///   - chain: the certificate and those behind it, in DER, by which the client has made its connection.
    ///   - user: as whom the client wants to log in; nil for whomever the certificate names.
    /// - Throws: `refused` with 5.7.8 when it's nobody's, or another user's.
    package func verify(
        service: LoginService,
        certificate chain: [[UInt8]],
        user: String?,
        client: String
    ) async throws(AccountsError) -> VerifiedLogin {
        var question = Frame("CERTIFICATE", ["service": service.rawValue, "client": client])
        question["user"] = user
        question.fields += chain.map { Frame.Field("certificate", Base64.text($0)) }
        return try Self.login(try await request(question), service)
    }

    /// Passes the client's first message of SCRAM on.
    ///
    /// - Parameter bindings: of the client's connection, where -PLUS is offered to it.
    /// - Throws: `refused` with 5.7.8 when the message is not accepted.
    package func beginScram(
        service: LoginService,
        mechanism: SASLMechanismName,
        message: [UInt8],
        bindings: ChannelBindings,
        client: String
    ) async throws(AccountsError) -> ScramChallenge {
        var question = Frame(
            "SCRAM",
            [
                "service": service.rawValue, "mechanism": mechanism.rawValue, "message": Base64.text(message),
                "client": client,
            ]
        )
        question["tls-exporter"] = bindings.exporter.map { Base64.text($0) }
        question["tls-server-end-point"] = bindings.serverEndPoint.map { Base64.text($0) }
        let reply = try await request(question)
        return ScramChallenge(
            exchange: try Self.required("exchange", reply),
            challenge: try Self.octets("challenge", reply),
            user: reply["user"] ?? "",
            service: service
        )
    }

    /// Passes the client's second message on.
    ///
    /// - Returns: the login, and the server's last message, which the client awaits.
    /// - Throws: `refused` with 5.7.8 when user or password are wrong.
    package func finishScram(
        _ challenge: ScramChallenge,
        message: [UInt8]
    ) async throws(AccountsError) -> (login: VerifiedLogin, confirmation: [UInt8]) {
        let reply = try await request(
            Frame("SCRAM", ["exchange": challenge.exchange, "message": Base64.text(message)])
        )
        return (try Self.login(reply, challenge.service), try Self.octets("confirmation", reply))
    }

    private static func login(_ reply: Frame, _ service: LoginService) throws(AccountsError) -> VerifiedLogin {
        let address = try required("address", reply)
        guard service != .smtp else { return VerifiedLogin(address: address, ticket: nil) }
        return VerifiedLogin(address: address, ticket: try required("ticket", reply))
    }

    private static func octets(_ name: String, _ reply: Frame) throws(AccountsError) -> [UInt8] {
        guard let octets = Base64.decode(try required(name, reply).utf8) else {
            throw .unavailable("authd: malformed \(name)")
        }
        return octets
    }

    /// Turns a ticket into the mailbox that it was given for. It is void afterwards.
    ///
    /// - Throws: `refused` with 5.7.8 when there is no such ticket (any more), or it's another service's.
    package func redeem(ticket: String, service: LoginService) async throws(AccountsError) -> AccountMailbox {
        try Self.mailbox(try await request(Frame("REDEEM", ["service": service.rawValue, "ticket": ticket])))
    }

    /// Whether a recipient is ours.
    ///
    /// - Parameter address: without brackets.
    /// - Throws: `refused` with 5.1.1 when one of our domains has no such address.
    package func recipient(_ address: String) async throws(AccountsError) -> RecipientOwner {
        let reply = try await request(Frame("RECIPIENT", ["address": address]))
        switch reply["kind"] {
        case "local": return reply["reports-only"] == "yes" ? .returnPath : .local
        case "foreign": return .foreign
        default: throw .unavailable("authd: kind: \(reply["kind"] ?? "missing")")
        }
    }

    /// The address of our postmaster, for mail to `<Postmaster>` without a domain (RFC 5321 §4.5.1).
    ///
    /// - Throws: `refused` where there is none.
    package func postmaster() async throws(AccountsError) -> String {
        try Self.required("address", try await request(Frame("RECIPIENT", ["address": "postmaster"])))
    }

    /// Follows aliases to a mailbox, or to the addresses that mail is forwarded to.
    ///
    /// - Parameters:
    ///   - address: without brackets.
    ///   - isExpanded: whether it's one of the addresses that `expand` gave for another: its own mailbox is meant.
    /// - Throws: `refused` with 5.1.1 when there is no such address, 5.4.6 when aliases loop.
    package func expand(_ address: String, isExpanded: Bool = false) async throws(AccountsError) -> Expansion {
        var question = Frame("EXPAND", ["address": address])
        if isExpanded { question["expanded"] = "yes" }
        let reply = try await request(question)
        let targets = reply.all("forward")
        guard targets.isEmpty else { return .forward(targets, owner: reply["owner"]) }
        return .mailbox(try Self.mailbox(reply), extension: reply["extension"])
    }

    /// Says that mail doesn't fit into a mailbox, so that for a minute no more is taken for it.
    ///
    /// - Parameter address: of the account.
    package func isFull(_ address: String) async throws(AccountsError) {
        _ = try await request(Frame("FULL", ["address": address]))
    }

    /// Closes the connection to authd; requests without an answer fail as unavailable.
    package func close() { authority.close() }

    func request(_ request: Frame) async throws(AccountsError) -> Frame {
        let reply: Frame
        do throws(BusError) {
            reply = try await authority.request(request)
        } catch {
            switch error {
            case .unavailable(let reason), .malformed(let reason): throw .unavailable(reason)
            case .timedOut: throw .unavailable("authd did not answer in time")
            }
        }
        switch reply.replyKind {
        case .ok: return reply
        case .defer:
            throw .deferred(
                status: Self.status(reply, ofClass: 4) ?? .refusedForNow,
                text: reply["text"] ?? "try again later"
            )
        case .reject:
            let status = Self.status(reply, ofClass: 5) ?? .securityRequired
            let text = reply["text"] ?? "refused"
            // That the request was not allowed or malformed says nothing about the address: mail must not bounce for it.
            guard status == .tooManyRecipientsEver || status != .notAuthorized && status.subject != 5 else {
                throw .unavailable("authd: \(text)")
            }
            throw .refused(status: status, text: text)
        case nil: throw .unavailable("authd: unexpected reply \(reply.verb)")
        }
    }

    private static func status(_ reply: Frame, ofClass statusClass: UInt8) -> EnhancedStatusCode? {
        reply.status.flatMap { $0.statusClass == statusClass ? $0 : nil }
    }

    private static func mailbox(_ reply: Frame) throws(AccountsError) -> AccountMailbox {
        guard let quota = reply.integer("quota"), quota >= 0 else { throw .unavailable("authd: malformed quota") }
        return AccountMailbox(
            address: try required("address", reply),
            mailbox: try required("mailbox", reply),
            format: try required("format", reply),
            quota: quota
        )
    }

    private static func required(_ name: String, _ reply: Frame) throws(AccountsError) -> String {
        guard let value = reply[name], !value.isEmpty else { throw .unavailable("authd: no \(name) in the reply") }
        return value
    }
}
