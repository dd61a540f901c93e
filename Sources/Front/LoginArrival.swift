import Accounts
import Bus
import NIOCore
import Network
import SMTP

/// The mailbox process's side of a login handover: the client, with the mailbox that authd names.
package struct LoginArrival: Sendable {
    package let mailbox: AccountMailbox
    /// The client's address as the front says it; for the record only.
    package let client: String
    /// Whether the client's connection to the front is encrypted; for the record only.
    package let isEncrypted: Bool
    /// By which the session may give the client back to the front; nil where the front doesn't take it.
    package let mark: ReturnMark?

    /// A front sends little: verb, ticket, client.
    private static var limits: FrameLimits {
        var limits = FrameLimits()
        limits.head = 4096
        limits.fields = 16
        limits.body = 0
        return limits
    }

    /// Reads the front's request and redeems its ticket. Where that fails, the front is told why.
    ///
    /// - Returns: nil when there is no session; close the connection then. Otherwise answer with `accept` or `refuse`.
    package static func receive(
        on connection: Connection,
        service: LoginService,
        accounts: AccountsClient
    ) async -> LoginArrival? {
        do {
            var parser = FrameParser(limits: limits)
            guard let request = try await connection.readFrame(&parser) else { return nil }
            guard request.verb == "SESSION", let ticket = request["ticket"] else {
                await answer(connection, .reject, .invalidCommand, "expected SESSION with a ticket")
                return nil
            }
            let mailbox = try await accounts.redeem(ticket: ticket, service: service)
            return LoginArrival(
                mailbox: mailbox,
                client: request["client"] ?? "unknown",
                isEncrypted: request["tls"] == "yes",
                mark: request["return"].flatMap { ReturnMark(text: $0) }
            )
        } catch let error as FrameError {
            await answer(connection, .reject, .syntaxError, error.text)
        } catch let error as AccountsError {
            switch error {
            case .refused(let status, let text): await answer(connection, .reject, status, text)
            case .deferred(let status, let text): await answer(connection, .defer, status, text)
            case .unavailable(let reason): await answer(connection, .defer, .systemTrouble, reason)
            }
        } catch {
            // The front went away: nobody is left to tell.
        }
        return nil
    }

    /// Says that the session begins; what follows on the connection is the session's.
    ///
    /// - Parameter text: for people, such as the number of messages.
    package func accept(on connection: Connection, text: String? = nil) async throws(ConnectionError) {
        var reply = Frame.ok(tag: nil, [Frame.Field("address", mailbox.address)])
        reply["text"] = text
        connection.write(reply)
        try await connection.flush()
    }

    /// Gives the client back: it has not logged in any more. What it said that the session hasn't listened to goes with it. The
    /// session's last act.
    ///
    /// - Parameter unheard: octets of the client that came before those in the connection's input.
    package static func giveBack(
        _ connection: Connection,
        by mark: ReturnMark,
        unheard: ByteBuffer
    ) async throws(ConnectionError) {
        connection.idleTimeout = .seconds(30)
        connection.write(mark.octets)
        connection.write(unheard)
        repeat {
            connection.write(connection.input)
            connection.input = ByteBuffer()
            try await connection.flush()
        } while try await connection.receive()
    }

    /// Says why the mailbox can't be opened.
    ///
    /// - Parameters:
    ///   - kind: `defer` where trying again may help.
    package static func refuse(
        _ connection: Connection,
        _ kind: ReplyKind,
        status: EnhancedStatusCode,
        text: String
    ) async {
        await answer(connection, kind, status, text)
    }

    private static func answer(
        _ connection: Connection,
        _ kind: ReplyKind,
        _ status: EnhancedStatusCode,
        _ text: String
    ) async {
        connection.write(Frame.reply(kind, status: status, text: text))
        try? await connection.flush()
    }
}
