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

    init(_ command: DNSLookupCommand) {
        self.command = command
        server = command.words.first
        self.command.words = []
    }

    func run() throws {
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
            switch (first, words.count) {
            case ("quit", 1), ("exit", 1): return
            case ("full", 1): prompt.command.full = true
            case ("short", 1): prompt.command.full = false
            case ("dnssec", 1): prompt.command.dnssec.toggle()
            case ("server", 2): prompt.server = "@" + words[1]
            default: prompt.ask(words)
            }
        }
    }

    private func ask(_ words: [String]) {
        do {
            let hasServer = words.contains { $0.hasPrefix("@") }
            try command.show(DNSLookupRequest(words + (hasServer ? [] : server.map { [$0] } ?? [])))
        } catch let error as ValidationError {
            print(error.message)
        } catch {
            // What went wrong has been said; the next question may go better.
        }
    }
}
