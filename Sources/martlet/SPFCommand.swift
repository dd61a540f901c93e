import ArgumentParser
import DNS
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// `martlet spf`: who may send a domain's mail.
struct SPFCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spf",
        abstract: "Explains SPF records (RFC 7208).",
        subcommands: [SPFExplainCommand.self]
    )
}

/// `martlet spf explain DOMAIN`.
struct SPFExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Shows a domain's record with all that it includes, or what it says of a client.",
        discussion: """
            Without --ip, the whole tree of records is walked, its lookups are counted, and what is wrong is said; exits \
            with 1 when there is something. With --ip, one check is made and explained step by step; exits with 0 for \
            pass, with 1 for fail, softfail, neutral and none, with 2 for temperror and permerror.
            """
    )

    @Argument(help: "The domain.") var domain: String
    @Option(help: "The client's address.") var ip: String?
    @Option(help: "The sender's address (else postmaster at the domain).") var sender: String?
    @Option(help: "The name that the client gives (else the domain).") var helo: String?
    @Flag(help: "For programs: one JSON document.") var json = false
    @OptionGroup var source: LookupOptions

    func run() async throws {
        let lookup = try source.lookup()
        guard let ip else {
            if sender != nil || helo != nil { throw ValidationError("--sender and --helo need --ip") }
            return try await showTree(lookup)
        }
        guard let address = AddressText.parse4(Array(ip.utf8)) ?? AddressText.parse6(Array(ip.utf8)) else {
            throw ValidationError("\"\(ip)\" is not an address")
        }
        let query = SPFQuery(
            address: address,
            mailFrom: Array((sender ?? "postmaster@\(domain)").utf8),
            helo: Array((helo ?? domain).utf8),
            secondsSince1970: time(nil)
        )
        let outcome = await SPFCheck.run(query, lookup: lookup)
        if json { try JSONOutput.print(SPFOutcomeDocument(outcome, query)) } else { show(outcome, query) }
        switch outcome.result {
        case .pass: return
        case .fail, .softfail, .neutral, .none: throw ExitCode(1)
        case .temperror, .permerror: throw ExitCode(2)
        }
    }

    private func showTree(_ lookup: any MailAuthLookup) async throws {
        let tree = await SPFTree.walk(Array(domain.utf8), lookup: lookup)
        if json {
            try JSONOutput.print(SPFTreeDocument(tree))
        } else {
            for line in tree.lines {
                let indent = String(repeating: "    ", count: line.depth)
                if line.isRecord {
                    print("\(indent)\(shown(line.domain)): \(shown(line.text))")
                } else {
                    let note = line.note.isEmpty ? "" : "  # \(shown(line.note))"
                    print("\(indent)  \(line.needsLookup ? "*" : " ") \(shown(line.text))\(note)")
                }
            }
            print(
                "terms that need lookups (*): \(tree.lookups) of 10; lookups that find nothing: \(tree.voidLookups) of 2"
            )
            for problem in tree.problems { print("! \(shown(problem))") }
        }
        if !tree.problems.isEmpty { throw ExitCode(1) }
    }

    private func show(_ outcome: SPFOutcome, _ query: SPFQuery) {
        for step in outcome.trace {
            let indent = String(repeating: "    ", count: step.depth)
            let note = step.note.isEmpty ? "" : "  # \(shown(step.note))"
            switch step.kind {
            case .record: print("\(indent)\(shown(step.domain)): \(shown(step.text))\(note)")
            default: print("\(indent)    \(shown(step.text))\(note)")
            }
        }
        print("result: \(outcome.result.rawValue): \(shown(outcome.reason))")
        print(
            "terms that needed lookups: \(outcome.lookups) of 10; lookups that found nothing: \(outcome.voidLookups) of 2"
        )
        if let explanation = outcome.explanation { print("the domain explains: \(shown(explanation))") }
        print(shown(ReceivedSPF.field(outcome, of: query).filter { $0 != 0x0D && $0 != 0x0A }))
    }
}

/// A tree as programs read it.
struct SPFTreeDocument: Encodable {
    struct Line: Encodable {
        var depth: Int
        var domain: String
        var text: String
        var kind: String
        var note: String
        var needsLookup: Bool
    }

    var lines: [Line]
    var lookups: Int
    var voidLookups: Int
    var problems: [String]

    init(_ tree: SPFTree) {
        lines = tree.lines.map {
            Line(
                depth: $0.depth,
                domain: String(decoding: $0.domain, as: UTF8.self),
                text: String(decoding: $0.text, as: UTF8.self),
                kind: $0.isRecord ? "record" : "term",
                note: $0.note,
                needsLookup: $0.needsLookup
            )
        }
        lookups = tree.lookups
        voidLookups = tree.voidLookups
        problems = tree.problems
    }
}

/// A check as programs read it.
struct SPFOutcomeDocument: Encodable {
    struct Step: Encodable {
        var kind: String
        var depth: Int
        var domain: String
        var text: String
        var note: String
    }

    var result: String
    var reason: String
    var domain: String
    var mechanism: String?
    var explanation: String?
    var lookups: Int
    var voidLookups: Int
    var trace: [Step]
    var receivedSPF: String

    init(_ outcome: SPFOutcome, _ query: SPFQuery) {
        let text = { (octets: [UInt8]) in String(decoding: octets, as: UTF8.self) }
        result = outcome.result.rawValue
        reason = outcome.reason
        domain = text(outcome.domain)
        mechanism = outcome.mechanism.map(text)
        explanation = outcome.explanation.map(text)
        lookups = outcome.lookups
        voidLookups = outcome.voidLookups
        trace = outcome.trace.map {
            Step(kind: $0.kind.rawValue, depth: $0.depth, domain: text($0.domain), text: text($0.text), note: $0.note)
        }
        receivedSPF = text(ReceivedSPF.field(outcome, of: query))
    }
}
