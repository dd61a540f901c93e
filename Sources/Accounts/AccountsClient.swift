import Bus
import NIOCore
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
        let address = try Self.required("address", reply)
        guard service != .smtp else { return VerifiedLogin(address: address, ticket: nil) }
        return VerifiedLogin(address: address, ticket: try Self.required("ticket", reply))
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
        case "local": return .local
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
        guard targets.isEmpty else { return .forward(targets) }
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

    private func request(_ request: Frame) async throws(AccountsError) -> Frame {
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
            guard status != .notAuthorized, status.subject != 5 else { throw .unavailable("authd: \(text)") }
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
