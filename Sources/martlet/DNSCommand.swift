import ArgumentParser
import DNS
import Daemon
import NIOCore

/// `martlet dns`: questions to a DNS server, our own unless another is named.
struct DNSCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dns",
        abstract: "Asks DNS servers, and looks after our own.",
        subcommands: [
            DNSLookupCommand.self, DNSCacheCommand.self, DNSZonesCommand.self, DNSServersCommand.self,
            DNSLogCommand.self, DNSReloadCommand.self, DNSSyncCommand.self, DNSTransferCommand.self,
        ],
        defaultSubcommand: DNSLookupCommand.self
    )
}

/// `martlet dns lookup NAME [TYPE] [@SERVER[:PORT]]`.
struct DNSLookupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookup",
        abstract: "Looks a name up.",
        usage: "martlet dns lookup [NAME [TYPE]] [@SERVER[:PORT]]",
        discussion: """
            An address in the place of NAME asks for the name that belongs to it. Without TYPE, A and AAAA are asked for.
            Without @SERVER, resolverd is asked through run/dns.sock. Exits with 1 when there is no such record, with 2
            when no answer came. Without NAME, questions are read from standard input, a line each: NAME, NAME TYPE, or
            "server ADDRESS", "full", "short", "dnssec" and "quit".
            """
    )

    @OptionGroup var instance: InstanceOptions
    @Flag(help: "All sections of the answer.") var full = false
    @Flag(help: "For programs: one JSON document.") var json = false
    @Flag(help: "Ask for signatures too.") var dnssec = false
    @Flag(help: "Ask from the root's servers down, and show each step.") var trace = false
    @Flag(help: "Check the signatures, and show the chain of trust.") var validate = false
    @Option(help: "DS or DNSKEY records that trust begins with, in the place of the root's.") var trustAnchors: String?
    @Option(help: "Where servers of zones listen (for --trace).") var serverPort = 53
    @Argument(help: "A name or an address, perhaps a type, perhaps a server behind @.") var words: [String] = []

    func run() async throws {
        guard words.contains(where: { !$0.hasPrefix("@") }) else { return try DNSPrompt(self).run() }
        let request = try DNSLookupRequest(words)
        if request.server == nil { try instance.enter() }
        let resolver = DNSStub(server: request.server)
        if trace || validate { return try await follow(request, resolver) }
        try show(request)
    }

    /// The way down from the root, or the chain of trust.
    private func follow(_ request: DNSLookupRequest, _ resolver: DNSStub) async throws {
        do {
            for question in request.questions {
                if trace, try DNSTrace(resolver: resolver, port: serverPort, dnssec: dnssec).run(question) == nil {
                    throw ExitCode(2)
                }
                guard validate else { continue }
                let validation = DNSValidation(resolver: resolver, anchors: try DNSValidation.anchors(trustAnchors))
                if try await !validation.run(question) { throw ExitCode(1) }
            }
        } catch let error as DNSStub.Failure {
            DNSStub.complain("\(request.serverName): \(error)")
            throw ExitCode(2)
        }
    }

    /// Asks and prints what came.
    func show(_ request: DNSLookupRequest) throws {
        var answers: [DNSMessage] = []
        for question in request.questions {
            let query = DNSMessage.query(id: .random(in: .min ... .max), question: question, dnssecOK: dnssec)
            do {
                answers.append(try DNSStub(server: request.server).ask(query))
            } catch {
                DNSStub.complain("\(request.serverName): \(error)")
                throw ExitCode(2)
            }
        }
        if json {
            try JSONOutput.print(answers.map(DNSAnswerDocument.init))
        } else if full {
            for answer in answers { DNSAnswerText.printFull(answer) }
        } else {
            DNSAnswerText.printShort(answers)
        }
        if answers.allSatisfy({ $0.answers.isEmpty }) { throw ExitCode(1) }
    }
}

/// What the words of the command line ask for.
struct DNSLookupRequest {
    var questions: [Question]
    /// nil for resolverd on its own socket.
    var server: SocketAddress?
    var serverName = "resolverd"

    init(_ words: [String]) throws {
        var rest = words
        if let index = rest.firstIndex(where: { $0.hasPrefix("@") }) {
            serverName = String(rest.remove(at: index).dropFirst())
            guard let address = ConfigurationTable.address(serverName, port: 53) else {
                throw ValidationError("\"\(serverName)\" is not an address such as 192.0.2.1 or [2001:db8::1]:53")
            }
            server = address
        }
        guard let text = rest.first, rest.count <= 2 else { throw ValidationError("a name is needed, perhaps a type") }
        var types = [RecordType.a, .aaaa]
        if rest.count == 2 {
            guard let type = RecordType(mnemonic: Array(rest[1].utf8)) else {
                throw ValidationError("unknown type \"\(rest[1])\"")
            }
            types = [type]
        }
        if rest.count == 1, let reverse = Self.reverseName(text) {
            questions = [Question(name: reverse, type: .ptr)]
            return
        }
        do {
            let name = try DomainName(text)
            questions = types.map { Question(name: name, type: $0) }
        } catch {
            throw ValidationError("\"\(text)\" is not a domain name (\(error))")
        }
    }

    /// The name whose PTR record belongs to an address (RFC 1035 §3.5, RFC 3596 §2.5); nil for anything else.
    private static func reverseName(_ text: String) -> DomainName? {
        if let octets = AddressText.parse4(Array(text.utf8)) {
            return try? DomainName(octets.reversed().map { String($0) }.joined(separator: ".") + ".in-addr.arpa")
        }
        guard let octets = AddressText.parse6(Array(text.utf8)) else { return nil }
        let digits = octets.reversed().map { String($0 & 15, radix: 16) + "." + String($0 >> 4, radix: 16) }
        return try? DomainName(digits.joined(separator: ".") + ".ip6.arpa")
    }
}
