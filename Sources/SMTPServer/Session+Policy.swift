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
        guard settings.policy.needsConnection, connectionFacts == nil else { return }
        guard let address = front.remoteAddress?.addressOctets else {
            connectionFacts = .local
            return
        }
        connectionFacts = await ClientLookup.run(
            address,
            lists: settings.dnsLists,
            trial: (resources.listTrial, logger),
            timeout: settings.clientTimeout,
            on: connection.eventLoop,
            query: resources.query
        )
    }

    /// Has the DNS asked for the name of a client whose messages aren't authenticated; those that are have it looked up with all else.
    func askForName() {
        clientsName = nil
        guard connectionFacts == nil, let address = front.remoteAddress?.addressOctets,
            kind != .smtp || settings.authentication == nil || mayRelayByAddress
        else { return }
        clientsName = ClientName(
            of: address,
            timeout: settings.clientTimeout,
            on: connection.eventLoop,
            query: resources.query
        )
    }

    /// The client's name, if it and the address lead to each other, and that is known by now.
    func verifiedName(_ authentication: AuthenticationVerdict?) -> String? {
        authentication?.clientName ?? connectionFacts?.name ?? clientsName?.known
    }

    /// What the rules say of a recipient that would be taken: the reply that refuses it, or nil.
    func refusal(of recipient: MailAddress, in transaction: Transaction) async -> Verdict? {
        guard !settings.policy.rules.isEmpty else { return nil }
        await lookUpClient()
        var trial = PolicyTrial(facts(transaction, recipients: [recipient.description]))
        let outcome = await trial.run(settings.policy.evaluate) { await self.askGreylist(about: $0, in: transaction) }
        self.transaction?.greylist.merge(trial.facts.greylist) { $1 }
        if trial.hasComeBack { self.transaction?.hasComeBack = true }
        await tarpit(outcome.delay)
        guard let verdict = refusal(by: outcome, in: transaction) else { return nil }
        let rule = (outcome.rule ?? outcome.routeRule)?.line
        logger.info(
            "recipient refused by a rule",
            metadata: [
                "client": "\(client)", "helo": "\(helo ?? "")", "sender": "\(transaction.sender.path)",
                "recipient": "\(recipient)", "status": "\(verdict.status)", "reason": "\(verdict.reason)",
                "rule": "\(rule.map { "\($0)" } ?? "none")",
            ]
        )
        return verdict
    }

    /// What is answered to a recipient. All of a message's go by one route: one of another comes in a transaction of its own, as
    /// recipients do that are one too many (RFC 5321 §4.5.3.1.10).
    private func refusal(by outcome: PolicyTable.Outcome, in transaction: Transaction) -> Verdict? {
        if let verdict = outcome.action.flatMap({ Verdict($0) }) { return verdict }
        guard !transaction.recipients.isEmpty else {
            self.transaction?.route = outcome.route
            return nil
        }
        return transaction.route == outcome.route ? nil : .sendApart
    }

    /// What the rules say of a message at its end, and whether it has come back after greylisting made it wait.
    func outcome(
        of transaction: Transaction,
        _ intake: MessageIntake,
        _ authentication: AuthenticationVerdict?
    ) async -> (outcome: PolicyTable.Outcome, hasComeBack: Bool) {
        guard !settings.policy.rules.isEmpty else { return (PolicyTable.Outcome(), false) }
        var facts = facts(transaction, recipients: transaction.recipients.map(\.address.description))
        facts.greylist = transaction.greylist
        var message = MessageFacts(authentication, size: intake.octets)
        if let excerpt = intake.excerpt { message.add(excerpt) }
        facts.message = message
        var trial = PolicyTrial(facts)
        let shown = identities(of: transaction, authentication)
        let outcome = await trial.run(settings.policy.evaluateAtEnd) { recipient in
            await self.askGreylist(about: recipient, in: transaction, identities: shown)
        }
        return (outcome, transaction.hasComeBack || trial.hasComeBack)
    }

    /// Lets the client wait for its reply. What was written before goes first.
    func tarpit(_ seconds: Int) async {
        guard seconds > 0 else { return }
        logger.debug("client has to wait for its reply", metadata: ["client": "\(client)", "seconds": "\(seconds)"])
        // Who is gone is found by whoever reads next.
        try? await flush()
        await connection.eventLoop.pause(.seconds(Int64(seconds)))
    }

    // MARK: Greylisting

    /// Domains that SPF and DKIM show for a message.
    func identities(of transaction: Transaction, _ authentication: AuthenticationVerdict?) -> [String] {
        guard let authentication else { return [] }
        let hasPassed = authentication.results.contains { $0.method == "spf" && $0.result == "pass" }
        let sender = hasPassed ? transaction.sender.path.address.map { [$0.lowercasedDomain] } ?? [] : []
        return sender + authentication.signedBy
    }

    /// - Parameter identities: domains that are known already; nil where SPF may have to be asked first.
    private func askGreylist(
        about recipient: String,
        in transaction: Transaction,
        identities: [String]? = nil
    ) async -> (state: PolicyFacts.Greylisting, isReturn: Bool) {
        // Whom no network leads to us: nobody could tell whether it has come back.
        guard front.remoteAddress?.addressOctets != nil else { return (.passes, false) }
        let sender = transaction.sender.path.address?.description ?? ""
        func ask(_ identities: [String]) async -> (state: PolicyFacts.Greylisting, isReturn: Bool) {
            await resources.greylist.ask(
                client: client,
                sender: sender,
                recipient: recipient,
                identities: identities,
                logger: logger
            )
        }
        let answer = await ask(identities ?? [])
        guard identities == nil, answer.state != .passes else { return answer }
        let shown = await shownSender(sender)
        return shown.isEmpty ? answer : await ask(shown)
    }

    /// The sender's domain where SPF shows it, asked once for all recipients: each time may be some hundred questions.
    private func shownSender(_ sender: String) async -> [String] {
        if let known = transaction?.shownSender { return known }
        guard settings.authentication != nil, let address = front.remoteAddress?.addressOctets else { return [] }
        let domain = await SenderLookup.domain(
            client: address,
            helo: helo ?? "",
            sender: sender,
            timeout: settings.clientTimeout,
            on: connection.eventLoop,
            query: resources.query
        )
        let shown = domain.map { [$0] } ?? []
        transaction?.shownSender = shown
        return shown
    }
}

/// Goes through the rules until nothing has to be asked.
private struct PolicyTrial {
    var facts: PolicyFacts
    private(set) var hasComeBack = false

    init(_ facts: PolicyFacts) { self.facts = facts }

    mutating func run(
        _ evaluate: (PolicyFacts) -> PolicyTable.Outcome,
        asking greylist: (String) async -> (state: PolicyFacts.Greylisting, isReturn: Bool)
    ) async -> PolicyTable.Outcome {
        while true {
            let outcome = evaluate(facts)
            guard !outcome.asksGreylist.isEmpty else { return outcome }
            for recipient in outcome.asksGreylist where facts.greylist[recipient] == nil {
                let (state, isReturn) = await greylist(recipient)
                facts.greylist[recipient] = state
                if isReturn { hasComeBack = true }
            }
        }
    }
}
