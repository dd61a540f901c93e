import ArgumentParser
import DNS
import MIME
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// `martlet auth`: what the mechanisms of mail authentication say together.
struct AuthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auth",
        abstract: "Checks who a message is from.",
        subcommands: [AuthCheckCommand.self]
    )
}

/// `martlet auth check FILE`.
struct AuthCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Explains what SPF, DKIM, ARC and DMARC say of a message, and why.",
        discussion: """
            SPF needs --client-ip; without it SPF is left out, and DMARC rests on DKIM alone. Exits with 0 when DMARC \
            passes or the author's domain has no policy, with 1 when it fails, with 2 when that can't be said.
            """
    )

    @OptionGroup var options: CheckOptions
    @Option(help: "The address that the message came from.") var clientIP: String?
    @Option(help: "The name that the client gave in HELO or EHLO.") var helo: String?
    @Option(help: "The sender of the envelope; empty for a bounce.") var mailFrom: String?
    @Option(help: "The name of this host, for the Authentication-Results field.") var authservID = "localhost"

    func validate() throws {
        if clientIP == nil, helo != nil || mailFrom != nil {
            throw ValidationError("--helo and --mail-from need --client-ip")
        }
        if clientIP != nil, helo == nil, mailFrom == nil {
            throw ValidationError("--client-ip needs --helo or --mail-from")
        }
    }

    func run() async throws {
        let queries = try spfQueries()
        let (hashed, lookup) = try options.message()
        var spf: [AuthenticationCheck.SPF] = []
        for query in queries { spf.append(await AuthenticationCheck.SPF(query, lookup: lookup)) }
        let check = await AuthenticationCheck.run(hashed, spf: spf, lookup: lookup, now: options.now, sample: 0)
        if options.json {
            try JSONOutput.print(AuthCheckDocument(check, authservID: Array(authservID.utf8)))
        } else {
            AuthCheckText.print(check, authservID: Array(authservID.utf8))
        }
        switch check.dmarc.result {
        case .pass, .none: return
        case .fail: throw ExitCode(1)
        case .temperror, .permerror: throw ExitCode(2)
        }
    }

    /// One for the client's name, one for the sender.
    private func spfQueries() throws -> [SPFQuery] {
        guard let clientIP else { return [] }
        guard let address = AddressText.parse4(Array(clientIP.utf8)) ?? AddressText.parse6(Array(clientIP.utf8)) else {
            throw ValidationError("\"\(clientIP)\" is not an address")
        }
        let receiver = Array(authservID.utf8)
        let now = options.now
        let name = Array((helo ?? "").utf8)
        var queries: [SPFQuery] = []
        if helo != nil {
            queries.append(SPFQuery(address: address, helo: name, receiver: receiver, secondsSince1970: now))
        }
        if let mailFrom {
            let sender = Array(mailFrom.utf8)
            queries.append(
                SPFQuery(address: address, mailFrom: sender, helo: name, receiver: receiver, secondsSince1970: now)
            )
        }
        return queries
    }
}

/// All checks, for people.
enum AuthCheckText {
    static func print(_ check: AuthenticationCheck, authservID: [UInt8]) {
        printSPF(check)
        Swift.print("DKIM: does a domain vouch for the message?")
        DKIMOutcomeText.print(check.dkim, indent: "    ")
        Swift.print("ARC: what did hosts on the way see?")
        ARCOutcomeText.print(check.arc, indent: "    ")
        printDMARC(check.dmarc)
        Swift.print("")
        let field = check.results(authservID: authservID).field
        for line in field.split(separator: 10) {
            let text = line.filter { $0 != 13 }
            Swift.print((text.first == 9 ? "\t" : "") + shown(Array(text.drop { $0 == 9 })))
        }
    }

    private static func printSPF(_ check: AuthenticationCheck) {
        Swift.print("SPF: may the client send for the domain?")
        if check.spf.isEmpty { Swift.print("    not checked: no --client-ip") }
        for (query, outcome) in check.spf.map({ ($0.query, $0.outcome) }) {
            let what = query.identity == .helo ? "name of the client" : "sender"
            Swift.print("    \(what), domain \(shown(query.domain)):")
            for step in outcome.trace {
                let indent = String(repeating: "    ", count: step.depth + 2)
                let note = step.note.isEmpty ? "" : "  # \(shown(step.note))"
                let domain = step.kind == .record ? "\(shown(step.domain)): " : "    "
                Swift.print("\(indent)\(domain)\(shown(step.text))\(note)")
            }
            Swift.print("        result: \(outcome.result.rawValue): \(shown(outcome.reason))")
        }
    }

    private static func printDMARC(_ outcome: DMARCOutcome) {
        Swift.print("DMARC: is a vouched domain the author's?")
        if !outcome.domain.isEmpty { Swift.print("    author's domain: \(shown(outcome.domain))") }
        for step in outcome.steps {
            let text = step.text.map { ": \(shown($0))" } ?? ""
            let note = step.note.isEmpty ? "" : "  # \(shown(step.note))"
            Swift.print("    \(shown(ResultText.name(step.name)))\(text)\(note)")
        }
        for alignment in outcome.alignments {
            let identifier = alignment.identifier
            Swift.print(
                "    \(identifier.mechanism.rawValue) \(identifier.passed ? "passed" : "did not pass"), "
                    + "\(alignment.isAligned ? "aligned" : "not aligned"): \(shown(alignment.reason))"
            )
        }
        Swift.print("    result: \(outcome.result.rawValue): \(shown(outcome.reason))")
        if outcome.record != nil {
            Swift.print(
                "    the domain asks for \(outcome.policyTag)=\(outcome.policy.rawValue); "
                    + "what to do with the message: \(outcome.disposition.rawValue)"
            )
        }
    }
}

/// All checks, for programs.
struct AuthCheckDocument: Encodable {
    struct SPF: Encodable {
        var identity: String
        var outcome: SPFOutcomeDocument
    }

    struct Alignment: Encodable {
        var mechanism: String
        var domain: String
        var passed: Bool
        var isAligned: Bool
        var reason: String
    }

    struct DMARC: Encodable {
        var result: String
        var reason: String
        var domain: String
        var policyDomain: String?
        var policy: String
        var policyTag: String
        var disposition: String
        var alignments: [Alignment]
    }

    var spf: [SPF]
    var dkim: [DKIMOutcomeDocument]
    var arc: ARCOutcomeDocument
    var dmarc: DMARC
    var authenticationResults: String

    init(_ check: AuthenticationCheck, authservID: [UInt8]) {
        let text = { (octets: [UInt8]) in String(decoding: octets, as: UTF8.self) }
        spf = check.spf.map {
            SPF(identity: $0.query.identity.rawValue, outcome: SPFOutcomeDocument($0.outcome, $0.query))
        }
        dkim = check.dkim.map(DKIMOutcomeDocument.init)
        arc = ARCOutcomeDocument(check.arc)
        dmarc = DMARC(
            result: check.dmarc.result.rawValue,
            reason: check.dmarc.reason,
            domain: text(check.dmarc.domain),
            policyDomain: check.dmarc.policyDomain.map(ResultText.name),
            policy: check.dmarc.policy.rawValue,
            policyTag: check.dmarc.policyTag,
            disposition: check.dmarc.disposition.rawValue,
            alignments: check.dmarc.alignments.map {
                Alignment(
                    mechanism: $0.identifier.mechanism.rawValue,
                    domain: text($0.identifier.domain),
                    passed: $0.identifier.passed,
                    isAligned: $0.isAligned,
                    reason: $0.reason
                )
            }
        )
        authenticationResults = text(check.results(authservID: authservID).field)
    }
}
