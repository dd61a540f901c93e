import ArgumentParser
import DNS
import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// Reads questions from standard input and answers each, as nslookup does when it's started without a name.
struct DNSPrompt {
    private var command: DNSLookupCommand
    private var server: String?

    private static let help = """
        NAME [TYPE] [@SERVER]   asks; an address in the place of NAME asks for the name that belongs to it
        trace NAME [TYPE]       from the root's servers down
        validate NAME [TYPE]    with the chain of trust
        server [SERVER]         asks this server from now on; without SERVER, resolverd
        set type=TYPE           asks for this type where no other is named; any: for A and AAAA
        set tcp, set notcp      asks by TCP at once, or by UDP first
        set recurse, norecurse  asks for the answer, or for what the server itself has
        set timeout=SECONDS     waits so long
        set retry=NUMBER        asks so often
        set all                 says what is set
        full, short, json       how answers are shown
        dnssec                  asks for signatures too, or no more
        exit
        """

    init(_ command: DNSLookupCommand) {
        self.command = command
        server = command.words.first
        self.command.words = []
    }

    func run() async throws {
        var prompt = self
        let isTerminal = isatty(STDIN_FILENO) == 1
        // Without a server the instance's own resolver is asked, from its directory.
        if server == nil { try command.instance.enter() }
        while true {
            if isTerminal { print("> ", terminator: "") }
            fflush(nil)
            guard let line = readLine() else { return }
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map { String($0) }
            guard let first = words.first else { continue }
            if words.count == 1, ["quit", "exit"].contains(first) { return }
            await prompt.obey(first, Array(words.dropFirst()), words)
        }
    }

    private mutating func obey(_ first: String, _ rest: [String], _ words: [String]) async {
        switch (first, rest.count) {
        case ("help", 0), ("?", 0): print(Self.help)
        case ("full", 0): (command.full, command.json) = (true, false)
        case ("short", 0): (command.full, command.json) = (false, false)
        case ("json", 0): command.json = true
        case ("dnssec", 0): command.dnssec.toggle()
        case ("server", 0): server = nil
        case ("server", 1): await use(rest[0])
        case ("set", _): for word in rest { set(word) }
        case ("trace", 1...), ("validate", 1...):
            var other = command
            other.trace = first == "trace"
            other.validate = first == "validate"
            await ask(other, rest)
        default: await ask(command, words)
        }
    }

    private mutating func use(_ name: String) async {
        do {
            // Its address is looked up once, and what is no server is said at once.
            _ = try DNSLookupRequest([".", "@" + name])
            server = "@" + name
        } catch {
            print((error as? ValidationError)?.message ?? "\(error)")
        }
    }

    private mutating func set(_ word: String) {
        let parts = word.split(separator: "=", maxSplits: 1).map { String($0) }
        switch (parts.first ?? "", parts.count == 2 ? parts[1] : nil) {
        case ("type", let type?), ("querytype", let type?), ("q", let type?), ("ty", let type?):
            if type.lowercased() == "any" {
                command.type = nil
            } else if RecordType(mnemonic: Array(type.utf8)) != nil {
                command.type = type
            } else {
                print("unknown type \"\(shown(type))\"")
            }
        case ("tcp", nil), ("vc", nil): command.tcp = true
        case ("notcp", nil), ("novc", nil): command.tcp = false
        case ("recurse", nil): command.noRecursion = false
        case ("norecurse", nil): command.noRecursion = true
        case ("debug", nil), ("d2", nil): command.full = true
        case ("nodebug", nil), ("nod2", nil): command.full = false
        case ("timeout", let text?):
            if let seconds = Int(text), (1...300).contains(seconds) {
                command.timeout = seconds
            } else {
                print("1 to 300")
            }
        case ("retry", let text?):
            if let number = Int(text), (1...20).contains(number) { command.attempts = number } else { print("1 to 20") }
        case ("all", nil): showAll()
        default: print("unknown setting \"\(shown(word))\"; \"help\" says what there is")
        }
    }

    private func showAll() {
        print("server: \(server.map { String($0.dropFirst()) } ?? "resolverd")")
        print("type: \(command.type?.uppercased() ?? "A and AAAA")")
        print("transport: \(command.tls ? "tls" : command.https ? "https" : command.tcp ? "tcp" : "udp, then tcp")")
        print("recursion: \(command.noRecursion ? "not asked for" : "asked for")")
        print(
            "timeout: \(command.timeout.map { "\($0) s" } ?? "3 s (15 s from resolverd)"), attempts: \(command.attempts)"
        )
    }

    private func ask(_ command: DNSLookupCommand, _ words: [String]) async {
        do {
            let hasServer = words.contains { $0.hasPrefix("@") }
            let request = try command.request(words + (hasServer ? [] : server.map { [$0] } ?? []))
            if request.server == nil { try command.instance.enter() }
            try await command.answer(request)
        } catch let error as ValidationError {
            print(error.message)
        } catch {
            // What went wrong has been said; the next question may go better.
        }
    }
}
