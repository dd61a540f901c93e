import Accounts
import Bus
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import SMTP

/// Asks the next hop, by remote-relay, whether it has a recipient, for the sessions of one event loop. Belongs to the loop.
final class RecipientForwardCheck: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let client: BusClient
    private let accounts: AccountsClient
    private let loop: any EventLoop
    private let known: KnownRecipients
    /// Questions under way, and who waits for their answers.
    private var asked: [MailAddress: [CheckedContinuation<RecipientKind, Never>]] = [:]

    /// remote-relay gives each of two hosts ten seconds for its greeting, and ten more.
    private static let timeout = TimeAmount.seconds(45)

    /// - Parameters:
    ///   - accounts: who knows where mail for a domain goes.
    ///   - known: what was said to any loop.
    init(path: String, accounts: AccountsClient, _ known: KnownRecipients, on loop: any EventLoop) {
        self.accounts = accounts
        self.known = known
        client = BusClient(path: path, on: loop, timeout: Self.timeout)
        self.loop = loop
    }

    /// `foreign` where the next hop takes the recipient, `unknown` where it doesn't, `deferred` where nobody knows now.
    ///
    /// - Parameter client: the address of whoever wants to send to it; each has only a share of all questions.
    func kind(of address: MailAddress, for client: String) async -> RecipientKind {
        loop.assertInEventLoop()
        if let kind = known.kind(of: address) { return kind }
        if asked[address] != nil {
            return await withCheckedContinuation { asked[address]?.append($0) }
        }
        asked[address] = []
        let kind = await ask(address, client)
        loop.assertInEventLoop()
        known.keep(kind, address)
        for waiting in asked.removeValue(forKey: address) ?? [] { waiting.resume(returning: kind) }
        return kind
    }

    private func ask(_ address: MailAddress, _ asker: String) async -> RecipientKind {
        var question = Frame("CHECK", ["recipient": address.description, "client": asker])
        do throws(AccountsError) {
            question.fields += try await accounts.route(for: .init(destination: address.domain))?.fields ?? []
        } catch {
            return .deferred("authd: \(error)")
        }
        do throws(BusError) {
            let reply = try await client.request(question)
            let text = reply["text"] ?? ""
            switch reply.replyKind {
            case .ok: return .foreign
            case .reject:
                // A question that isn't understood says nothing of the recipient.
                guard let status = reply.status, status.statusClass == 5, status.subject != 5 else {
                    return .deferred("remote-relay: \(text)")
                }
                return .unknown(status: status, text: "the next hop does not take it")
            case .defer, nil: return .deferred(text.isEmpty ? "remote-relay: \(reply.verb)" : text)
            }
        } catch {
            return .deferred("remote-relay: \(error)")
        }
    }
}

/// What next hops said of recipients, for a while; for all loops, since a client's next connection may come to any.
final class KnownRecipients: Sendable {
    private struct Known {
        let kind: RecipientKind
        let until: NIODeadline
    }

    private let known = NIOLockedValueBox<[MailAddress: Known]>([:])

    /// A recipient that is there stays so for a while; one that isn't may come soon.
    private static let positiveTime = TimeAmount.hours(1)
    private static let negativeTime = TimeAmount.minutes(5)
    private static let maximum = 10_000

    func kind(of address: MailAddress) -> RecipientKind? {
        known.withLockedValue { $0[address] }.flatMap { $0.until > .now() ? $0.kind : nil }
    }

    /// Keeps what a next hop said; what nobody knew is asked again.
    func keep(_ kind: RecipientKind, _ address: MailAddress) {
        let time: TimeAmount
        switch kind {
        case .foreign: time = Self.positiveTime
        case .unknown: time = Self.negativeTime
        case .local, .returnPath, .full, .deferred: return
        }
        let now = NIODeadline.now()
        known.withLockedValue { known in
            if known.count >= Self.maximum {
                known = known.filter { $0.value.until > now }
                // Anybody can ask for addresses that aren't there.
                if known.count >= Self.maximum { known = known.filter { $0.value.kind == .foreign } }
                if known.count >= Self.maximum { known.removeAll() }
            }
            known[address] = Known(kind: kind, until: now + time)
        }
    }
}
