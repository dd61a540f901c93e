import ArgumentParser
import DNS
import Daemon
import MailAuth
import MailRules
import NIOCore
import Network
import Policy
import SMTP
import SMTPServer

#if canImport(Glibc)
import Glibc
#endif

/// `martlet policy`: the rules of smtpd.
struct PolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Shows and tries out what smtpd does with which mail.",
        subcommands: [Show.self, Test.self]
    )

    /// `martlet policy show`.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the rules that smtpd goes through.")

        @OptionGroup var instance: InstanceOptions
        @Option(help: "smtp, submission, submissions or lmtp.") var listener = ListenerKind.smtp
        @Flag(help: "For programs: one JSON document.") var json = false

        func run() throws {
            try instance.enter()
            let smtpd = ServerSettings(try Configuration.load("etc/martlet.toml"))
            let rules = smtpd.settings(of: listener).policy.rules
            if json { return try JSONOutput.print(rules.map(RuleDocument.init)) }
            for rule in rules { print("\(rule.line): \(rule.text)") }
        }
    }

    /// `martlet policy test`.
    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says which rule decides about mail, and what becomes of it, without sending any.",
            discussion: """
                Reads etc/martlet.toml as it is, not as smtpd has read it. Without FILE, rules about the message itself \
                stay open. Exits with 0 where the mail is taken, with 1 where it's refused, with 75 where it has to wait.
                """
        )

        @OptionGroup var source: LookupOptions
        @Option(help: ArgumentHelp("The client's address.", valueName: "ADDRESS")) var client: String
        @Option(help: ArgumentHelp("What the client calls itself.", valueName: "NAME")) var helo = "unknown"
        @Option(help: ArgumentHelp("The reverse-path; empty for a report.", valueName: "ADDRESS")) var sender = ""
        @Option(help: ArgumentHelp("A recipient; may come more than once.", valueName: "ADDRESS")) var recipient:
            [String]
        @Option(help: "smtp, submission, submissions or lmtp.") var listener = ListenerKind.smtp
        @Option(help: ArgumentHelp("The account that the client logged in to.", valueName: "ADDRESS")) var account:
            String?
        @Flag(help: "The connection is encrypted.") var tls = false
        @Flag(help: "The mail comes back after greylisting has made it wait.") var cameBack = false
        @Flag(help: "For programs: one JSON document.") var json = false
        @Argument(help: "The message; - for standard input.") var file: String?

        func validate() throws {
            guard Self.address(client) != nil else { throw ValidationError("\"\(client)\" is not an address") }
        }

        func run() async throws {
            try source.instance.enter()
            let configuration = try Configuration.load("etc/martlet.toml")
            let wait = Int(configuration.authd.greylist.wait.nanoseconds / 1_000_000_000)
            let trial = try await trial(
                of: ServerSettings(configuration).settings(of: listener),
                greylisting: cameBack ? .passes : .waits(wait)
            )
            if json { try JSONOutput.print(TrialDocument(trial)) } else { trial.print() }
            switch trial.end {
            case .refused: throw ExitCode(1)
            case .delayed: throw ExitCode(75)
            case .taken, .junk, .held, .discarded: return
            }
        }

        private func trial(
            of smtpd: ServerSettings,
            greylisting: PolicyFacts.Greylisting
        ) async throws -> PolicyTrial {
            let lookup = try source.lookup()
            let address = Self.address(client) ?? []
            var facts = PolicyFacts(listener: listener.rawValue, client: address)
            facts.helo = helo
            facts.isHeloOurs = PolicyFacts.isHeloOurs(
                helo,
                account: account,
                isRelay: smtpd.relayFrom.contains { $0.contains(address) },
                // What the client would connect to isn't known, but whoever comes from this host connects to itself.
                here: Self.isLoopback(address) ? address : nil,
                remote: address,
                ownNames: smtpd.ownNames
            )
            facts.isEncrypted = tls
            facts.account = account
            facts.sender = sender
            facts.time = Self.minutesOfTheDay()
            facts.greylist = Dictionary(recipient.map { ($0, greylisting) }) { first, _ in first }
            if smtpd.policy.needsConnection {
                facts.connection = await ConnectionFacts(of: address, lists: smtpd.dnsLists, lookup: lookup)
            }
            var trial = PolicyTrial()
            for recipient in recipient {
                facts.recipients = [recipient]
                trial.recipients.append((recipient, smtpd.policy.evaluate(facts)))
            }
            facts.recipients = recipient
            guard let file else { return trial }
            var octets = 0
            var excerpt = MessageExcerpt(bodyLimit: smtpd.policyBody)
            try FileOctets.read(file) {
                octets += $0.count
                excerpt.append($0)
            }
            try await judge(file, octets, excerpt, facts, smtpd, lookup, &trial)
            return trial
        }

        private func judge(
            _ file: String,
            _ octets: Int,
            _ excerpt: MessageExcerpt,
            _ facts: PolicyFacts,
            _ smtpd: ServerSettings,
            _ lookup: any MailAuthLookup,
            _ trial: inout PolicyTrial
        ) async throws {
            var facts = facts
            facts.message = MessageFacts(size: octets)
            // As smtpd: strangers' mail alone.
            if listener == .smtp, account == nil, !smtpd.relayFrom.contains(where: { $0.contains(facts.client) }),
                let policy = smtpd.authentication
            {
                var message = MessageFile(file)
                let hashed = try message.hash()
                let query = SPFQuery(address: facts.client, mailFrom: Array(sender.utf8), helo: Array(helo.utf8))
                let check = await AuthenticationCheck.run(
                    hashed,
                    spf: [await AuthenticationCheck.SPF(query, lookup: lookup)],
                    lookup: lookup,
                    now: Glibc.time(nil),
                    sample: 0
                )
                facts.message = MessageFacts(check, size: octets)
                trial.authentication = policy.action(on: check, of: hashed)
            }
            facts.message?.add(excerpt)
            trial.results = facts.message?.results ?? [:]
            trial.atEnd = smtpd.policy.evaluateAtEnd(facts)
        }

        private static func address(_ text: String) -> [UInt8]? {
            AddressText.parse4(Array(text.utf8)) ?? AddressText.parse6(Array(text.utf8))
        }

        private static func isLoopback(_ address: [UInt8]) -> Bool {
            AddressRange("127.0.0.0/8")?.contains(address) == true || AddressRange("::1")?.contains(address) == true
        }

        private static func minutesOfTheDay() -> Int {
            var now = Glibc.time(nil)
            var parts = tm()
            localtime_r(&now, &parts)
            return Int(parts.tm_hour) * 60 + Int(parts.tm_min)
        }
    }
}

/// What the rules, and after them the author's domain, make of mail.
struct PolicyTrial {
    enum End: String {
        case taken, junk, held, discarded, refused, delayed
    }

    var recipients: [(address: String, outcome: PolicyTable.Outcome)] = []
    /// nil where there was no message.
    var atEnd: PolicyTable.Outcome?
    var authentication: AuthenticationVerdict.Action?
    /// By method.
    var results: [String: String] = [:]

    /// The worst that happens.
    var end: End {
        let refusals = recipients.compactMap { $0.outcome.action.flatMap(Self.end) }.filter {
            $0 == .refused || $0 == .delayed
        }
        if let first = refusals.first { return first }
        if let action = atEnd?.action { return Self.end(action) ?? .taken }
        switch authentication {
        case .reject: return .refused
        case .defer: return .delayed
        case .quarantine: return .junk
        case .accept, .acceptAsForwarded, nil: return .taken
        }
    }

    private static func end(_ action: PolicyAction) -> End? {
        switch action {
        case .accept: .taken
        case .reject: .refused
        case .defer: .delayed
        case .junk: .junk
        case .hold: .held
        case .discard: .discarded
        case .addField, .route, .score, .greylist, .tarpit: nil
        }
    }

    /// For people.
    func print() {
        for (address, outcome) in recipients { Swift.print("RCPT \(shown(address)): \(Self.text(outcome))") }
        guard let atEnd else { return Swift.print("the message: not looked at") }
        for (method, result) in results.sorted(by: { $0.key < $1.key }) { Swift.print("\(method): \(result)") }
        Swift.print("the message: \(Self.text(atEnd))")
        for field in atEnd.fields { Swift.print("added: \(field)") }
        if let rule = atEnd.routeRule, let name = atEnd.route { Swift.print("route: \(name), by line \(rule.line)") }
        if atEnd.action == nil, let authentication { Swift.print("DMARC and SPF: \(Self.text(authentication))") }
        Swift.print("it is \(end.rawValue)")
    }

    private static func text(_ outcome: PolicyTable.Outcome) -> String {
        let delay = outcome.delay > 0 ? ", \(outcome.delay) s later" : ""
        let route = outcome.route.map { ", by the route \($0)" } ?? ""
        if let rule = outcome.rule { return "line \(rule.line) decides: \(rule.text)\(delay)\(route)" }
        return undecided(outcome) + delay + route
    }

    private static func undecided(_ outcome: PolicyTable.Outcome) -> String {
        outcome.isOpen ? "to be decided once the message is there" : "no rule decides"
    }

    private static func text(_ action: AuthenticationVerdict.Action) -> String {
        switch action {
        case .accept: "accepted"
        case .acceptAsForwarded(let sealer): "accepted, since \(shown(sealer)) saw DMARC pass"
        case .quarantine: "into Junk"
        case .reject(let status, let text): "550 \(status) \(shown(text))"
        case .defer(let status, let text): "451 \(status) \(shown(text))"
        }
    }
}

private struct RuleDocument: Encodable {
    let line: Int
    let rule: String

    init(_ rule: PolicyRule) {
        line = rule.line
        self.rule = rule.text
    }
}

private struct TrialDocument: Encodable {
    struct Decision: Encodable {
        let recipient: String?
        let decidedBy: RuleDocument?
        let isOpen: Bool
        let fields: [String]
        let route: String?
        /// Seconds.
        let delay: Int

        init(_ outcome: PolicyTable.Outcome, recipient: String? = nil) {
            self.recipient = recipient
            decidedBy = outcome.rule.map(RuleDocument.init)
            isOpen = outcome.isOpen
            fields = outcome.fields
            route = outcome.route
            delay = outcome.delay
        }

        enum CodingKeys: String, CodingKey {
            case recipient, fields, route, delay
            case decidedBy = "decided-by"
            case isOpen = "open"
        }
    }

    let recipients: [Decision]
    let message: Decision?
    let results: [String: String]
    let end: String

    init(_ trial: PolicyTrial) {
        recipients = trial.recipients.map { Decision($0.outcome, recipient: $0.address) }
        message = trial.atEnd.map { Decision($0) }
        results = trial.results
        end = trial.end.rawValue
    }
}

extension ListenerKind: ExpressibleByArgument {}
