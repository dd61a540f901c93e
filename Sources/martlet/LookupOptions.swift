import ArgumentParser
import DNS
import Daemon
import MailAuth
import NIOCore

/// Where a command that checks mail has its DNS answers from.
struct LookupOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A DNS server to ask (else resolverd of the instance).", valueName: "HOST[:PORT]"))
    var resolver: String?
    @Option(help: ArgumentHelp("A master file with all records there are, instead of the DNS.", valueName: "FILE"))
    var zone: String?
    @OptionGroup var instance: InstanceOptions

    func validate() throws {
        if resolver != nil, zone != nil { throw ValidationError("--resolver and --zone exclude each other") }
    }

    func lookup() throws -> any MailAuthLookup {
        if let zone {
            let octets = try FileOctets.read(zone, most: 64 << 20)
            do {
                return try ZoneLookup(masterFile: octets, file: zone)
            } catch {
                throw ValidationError("\(error)")
            }
        }
        guard let resolver else {
            try instance.enter()
            return ServerLookup(stub: DNSStub(server: nil))
        }
        return ServerLookup(stub: DNSStub(server: try Self.address(resolver)))
    }

    private static func address(_ text: String) throws -> SocketAddress {
        if let address = ConfigurationTable.address(text, port: 53) { return address }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let port = parts.count == 2 ? Int(parts[1]) : 53, (1...65535).contains(port),
            let address = try? SocketAddress.makeAddressResolvingHost(String(parts[0]), port: port)
        else {
            throw ValidationError("\"\(text)\" is not the address of a server such as 192.0.2.1 or [2001:db8::1]:53")
        }
        return address
    }
}

/// Lookups through a DNS server; each waits for its answer.
struct ServerLookup: MailAuthServer {
    let stub: DNSStub

    func answer(_ name: DomainName, _ type: RecordType) async throws(MailAuthLookupError) -> MailAuthAnswer {
        let query = DNSMessage.query(id: .random(in: .min ... .max), question: Question(name: name, type: type))
        guard let answer = try? stub.ask(query) else { throw .temporary }
        return MailAuthAnswer(
            responseCode: answer.responseCode,
            records: answer.answers,
            isRecursive: answer.flags.recursionAvailable
        )
    }
}

/// Octets of strangers as text for a terminal: printable characters only.
func shown(_ octets: [UInt8]) -> String {
    String(decoding: octets, as: UTF8.self).unicodeScalars.reduce(into: "") { text, scalar in
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: text += "?"
        default: text.unicodeScalars.append(scalar)
        }
    }
}

/// Text of strangers for a terminal.
func shown(_ text: String) -> String { shown(Array(text.utf8)) }
