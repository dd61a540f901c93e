import CoreMetrics
import Front
import Logging
import MIME
import MailRules
import NIOCore
import Network
import Policy
import SMTP

extension Session {
    /// What is known of the transaction, for the rules.
    private func facts(_ transaction: Transaction, recipients: [String]) -> PolicyFacts {
        var facts = PolicyFacts(listener: kind.rawValue, client: front.remoteAddress?.addressOctets ?? [])
        facts.helo = helo ?? ""
        facts.isHeloOurs = isHeloOurs
        facts.isEncrypted = connection.tls != nil
        facts.account = user
        facts.sender = transaction.sender.path.address?.description ?? ""
        facts.recipients = recipients
        let now = DateTime.now()
        facts.time = now.hour * 60 + now.minute
        facts.connection = connectionFacts
        return facts
    }

    /// Whether a stranger from elsewhere calls himself by a name or an address of ours.
    private var isHeloOurs: Bool {
        PolicyFacts.isHeloOurs(
            helo,
            account: user,
            isRelay: mayRelayByAddress,
            here: front.localAddress?.addressOctets,
            remote: front.remoteAddress?.addressOctets,
            ownNames: settings.ownNames
        )
    }

    /// Asks the DNS about the client, once, where rules want to know.
    func lookUpClient() async {
        guard settings.policy.needsConnection, connectionFacts == nil, let address = front.remoteAddress?.addressOctets
        else { return }
        connectionFacts = await ClientLookup.run(
            address,
            lists: settings.dnsLists,
            timeout: settings.clientTimeout,
            on: connection.eventLoop,
            query: resources.query
        )
    }

    /// What the rules say of a recipient that would be taken: the reply that refuses it, or nil.
    func refusal(of recipient: MailAddress, in transaction: Transaction) async -> Verdict? {
        guard !settings.policy.rules.isEmpty else { return nil }
        await lookUpClient()
        let outcome = settings.policy.evaluate(facts(transaction, recipients: [recipient.description]))
        guard let rule = outcome.rule, let verdict = outcome.action.flatMap({ Verdict($0) }) else { return nil }
        logger.info(
            "recipient refused by a rule",
            metadata: [
                "client": "\(client)", "helo": "\(helo ?? "")", "sender": "\(transaction.sender.path)",
                "recipient": "\(recipient)", "status": "\(verdict.status)", "rule": "\(rule.line)",
            ]
        )
        return verdict
    }

    /// What the rules say of a message at its end.
    func outcome(
        of transaction: Transaction,
        octets: Int,
        _ authentication: AuthenticationVerdict?
    ) -> PolicyTable.Outcome {
        guard !settings.policy.rules.isEmpty else { return PolicyTable.Outcome() }
        var facts = facts(transaction, recipients: transaction.recipients.map(\.address.description))
        facts.message = MessageFacts(
            authentication?.results ?? [],
            signedBy: authentication?.signedBy ?? [],
            size: octets
        )
        return settings.policy.evaluateAtEnd(facts)
    }
}
