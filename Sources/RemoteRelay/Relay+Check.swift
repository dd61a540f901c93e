import Daemon
import NIOCore
import Network
import SMTP

extension Relay {
    /// How long another host may take for a check: a stranger waits for it meanwhile.
    private static let checkTime = TimeAmount.seconds(10)

    /// Asks the next hop whether it takes mail for an address, up to RCPT. What it says of a report counts, since nobody else's
    /// address is used for a question.
    ///
    /// - Parameter route: where mail for it goes instead of to the hosts of its domain.
    /// - Returns: `relayed` where it takes it, `failed` where it refuses it for good, `delayed` for all else.
    func check(_ recipient: MailAddress, by route: RelayRoute? = nil) async -> DeliveryResult {
        var hosts: RelayHosts?
        switch route {
        case .pipe: return DeliveryResult(.relayed, .recipientValid, "a route gives it to a program")
        case .discard: return DeliveryResult(.relayed, .recipientValid, "a route discards it")
        case .error(let status, let text):
            return DeliveryResult(status.statusClass == 5 ? .failed : .delayed, status, text)
        case .hosts(let route): hosts = route
        case nil: break
        }
        let targets: [Target]
        switch await lookup.targets(of: recipient.domain, route: hosts) {
        case .success(let found): targets = found
        case .failure(let failure): return failure.result
        }
        let sts = hosts == nil ? await mtaSTS(of: recipient.domain) : .init()
        var last = DeliveryResult.unreachable(.noAnswer, "there is no host to ask")
        // The best hosts alone: a stranger waits.
        for target in targets.prefix(2) {
            do throws(SMTPClient.Failure) {
                return try await check(recipient, at: target, sts)
            } catch {
                last = DeliveryResult(error, with: target.remote)
                // That a host doesn't want to talk says nothing of the recipient.
                if last.action.isFinal { last = .unreachable(.noAnswer, last.text) }
            }
        }
        return last
    }

    /// Whether a refusal of RCPT says that there is no such mailbox, or that it takes nothing: others may be about the one who asks,
    /// such as a block of our address, and hold for all of a domain.
    private static func isAboutMailbox(_ reply: Reply) -> Bool {
        guard let status = reply.status else { return [550, 551, 553].contains(reply.code.value) }
        guard status.statusClass == 5 else { return false }
        return switch status.subject {
        // 5.1.7 and 5.1.8 are about the sender (RFC 3463 §3.2).
        case 1: ![7, 8].contains(status.detail)
        case 2: true
        // What Exchange Online says of mailboxes that it doesn't have.
        case 4: status.detail == 1 && reply.code.value == 550
        default: false
        }
    }

    private func check(
        _ recipient: MailAddress,
        at target: Target,
        _ sts: MTASTSPolicies.Finding
    ) async throws(SMTPClient.Failure) -> DeliveryResult {
        let client = try await session(with: target, of: recipient.domain, sts, within: Self.checkTime)
        do throws(SMTPClient.Failure) {
            client.connection.deadline = .now() + Self.checkTime
            let takesUTF8 = client.extensions.has("SMTPUTF8")
            let isUTF8 = recipient.needsUTF8 && takesUTF8
            guard let address = takesUTF8 ? recipient : recipient.inASCII else {
                release(client)
                let text = "does not take UTF-8 addresses"
                return DeliveryResult(.failed, .noUTF8Addresses, text, remote: client.target.remote)
            }
            client.countTransaction()
            let mail = try await client.command("MAIL FROM:<>\(isUTF8 ? " SMTPUTF8" : "")")
            var reply = mail
            if mail.code.isPositive { reply = try await client.command("RCPT TO:<\(address)>") }
            let isAboutRecipient = mail.code.isPositive
            if try await client.command("RSET").code.isPositive { release(client) } else { client.quit() }
            let result = DeliveryResult(reply, from: target.remote, after: isAboutRecipient ? "RCPT" : "MAIL")
            if reply.code.isPositive {
                return DeliveryResult(.relayed, .recipientValid, "\(target.remote) takes it")
            }
            guard isAboutRecipient || !result.action.isFinal else {
                return .unreachable(.noAnswer, "it takes no mail without a sender: \(result.diagnostic ?? result.text)")
            }
            guard !reply.code.isPermanent || Self.isAboutMailbox(reply) else {
                return .unreachable(.noAnswer, "it refuses for another reason: \(result.diagnostic ?? result.text)")
            }
            return result
        } catch {
            client.connection.abort()
            throw error
        }
    }
}
