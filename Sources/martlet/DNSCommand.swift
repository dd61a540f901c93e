import ArgumentParser
import DNS
import Daemon
import NIOCore
import TLS

/// `martlet dns`: questions to a DNS server, our own unless another is named.
struct DNSCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dns",
        abstract: "Asks DNS servers, and looks after our own.",
        subcommands: [
            DNSLookupCommand.self, DNSCacheCommand.self, DNSZonesCommand.self, DNSServersCommand.self,
            DNSAnchorsCommand.self, DNSLogCommand.self, DNSStatisticsCommand.self, DNSReloadCommand.self,
            DNSSyncCommand.self, DNSTransferCommand.self, DNSKeyCommand.self,
        ],
        defaultSubcommand: DNSLookupCommand.self
    )
}

/// `martlet dns lookup NAME [TYPE] [@SERVER]`.
struct DNSLookupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookup",
        abstract: "Looks a name up.",
        usage: "martlet dns lookup [NAME [TYPE]] [@SERVER[:PORT]]",
        discussion: """
            An address in the place of NAME asks for the name that belongs to it. Without TYPE, A and AAAA are asked for.
            SERVER is an address or a name, with a port behind ":" or "#" where it's not 53; an IPv6 address with ":PORT"
            stands in brackets. tls://SERVER and https://SERVER/PATH are asked by DNS over TLS and HTTPS; a name behind "#"
            is what the certificate must be for, where that isn't SERVER. Without a server resolverd is asked through
            run/dns.sock.

            Exits with 0 when there are such records, with 1 when there are none, with 2 when no answer came, or one that
            says neither (such as SERVFAIL); with --validate also with 1 when the answer is bogus.

            Without NAME, questions are read from standard input, a line each; "help" says what else can be said there.
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
    @Option(name: [.customShort("x"), .long], help: ArgumentHelp("The name of an address.", valueName: "address"))
    var reverse: String?
    @Option(name: .shortAndLong, help: "The type to ask for.") var type: String?
    @Flag(help: "Ask by TCP at once.") var tcp = false
    @Flag(help: "Ask by DNS over TLS.") var tls = false
    @Flag(help: "Ask by DNS over HTTPS.") var https = false
    @Option(
        help: ArgumentHelp("Authorities whose certificates count, in the place of the system's.", valueName: "file")
    )
    var ca: String?
    @Flag(help: "Take any certificate: whoever is on the way may answer.") var insecure = false
    @Flag(help: "Ask for what the server itself has (RD is not set).") var noRecursion = false
    @Flag(help: "Ask for answers that the server found to be bogus too (CD is set).") var checkingDisabled = false
    @Option(help: "Seconds to wait for an answer (3 from a server, 15 from resolverd).") var timeout: Int?
    @Option(help: "How often a server is asked by UDP.") var attempts = 3
    @Argument(help: "A name or an address, perhaps a type, perhaps a server behind @.") var words: [String] = []

    private func checkLimits() throws {
        guard (1...300).contains(timeout ?? 1), (1...20).contains(attempts), (1...65535).contains(serverPort) else {
            throw ValidationError("timeouts are 1 to 300 seconds, attempts 1 to 20, ports 1 to 65535")
        }
        guard [tls, https, tcp].count(where: { $0 }) <= 1 else {
            throw ValidationError("--tcp, --tls and --https exclude each other")
        }
        guard ca == nil || !insecure else { throw ValidationError("--ca and --insecure exclude each other") }
    }

    func run() async throws {
        try checkLimits()
        guard reverse != nil || words.contains(where: { !$0.hasPrefix("@") }) else {
            return try await DNSPrompt(self).run()
        }
        let request = try request(words)
        if request.server == nil { try instance.enter() }
        try await answer(request)
    }

    /// What words ask for, with the options' help.
    func request(_ words: [String]) throws -> DNSLookupRequest {
        let transport: DNSServerAddress.Transport = tls ? .tls : https ? .https(path: "/dns-query") : .plain
        let request = try DNSLookupRequest(words, type: type, reverse: reverse, transport: transport)
        if request.server == nil, tls || https { throw ValidationError("--tls and --https need a server") }
        return request
    }

    /// Asks in the way that the options say, and prints what came.
    func answer(_ request: DNSLookupRequest) async throws {
        let stub = try stub(request)
        if trace || validate { try await follow(request, stub) } else { try show(request, stub) }
    }

    private func stub(_ request: DNSLookupRequest) throws -> DNSStub {
        var stub = DNSStub(server: request.server?.address)
        if let server = request.server {
            do {
                stub.encryption = try DNSEncryption(server, authorities: ca, verifies: !insecure)
            } catch let error as TLSError {
                throw ValidationError(error.description)
            }
        }
        stub.usesTCP = tcp
        stub.attempts = attempts
        if let timeout { stub.seconds = timeout }
        return stub
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
                let document = try await validation.run(question, prints: !json)
                if json { try JSONOutput.print(document) }
                if document.security == "bogus" { throw ExitCode(1) }
            }
        } catch let error as DNSStub.Failure {
            DNSStub.complain("\(request.serverName): \(error)")
            throw ExitCode(2)
        }
    }

    private func show(_ request: DNSLookupRequest, _ stub: DNSStub) throws {
        var exchanges: [DNSStub.Exchange] = []
        for question in request.questions {
            var query = DNSMessage.query(id: .random(in: .min ... .max), question: question, dnssecOK: dnssec)
            query.flags.recursionDesired = !noRecursion
            query.flags.checkingDisabled = checkingDisabled
            do {
                exchanges.append(try stub.exchange(query))
            } catch {
                DNSStub.complain("\(request.serverName): \(error)")
                throw ExitCode(2)
            }
        }
        let answers = exchanges.map(\.answer)
        if json {
            try JSONOutput.print(exchanges.map { DNSAnswerDocument($0, server: request.serverName) })
        } else if full {
            for exchange in exchanges { DNSAnswerText.printFull(exchange, server: request.serverName) }
        } else {
            DNSAnswerText.printShort(answers)
        }
        guard answers.allSatisfy({ $0.answers.isEmpty }) else { return }
        let isDenied = answers.allSatisfy { $0.responseCode == .noError || $0.responseCode == .nameError }
        throw ExitCode(isDenied ? 1 : 2)
    }
}
