import DNS
import NIOCore

/// Follows a name from the root's servers down, as a resolver does that knows nothing, and prints each step.
struct DNSTrace {
    /// Tells the root's servers, and addresses of servers that come without.
    let resolver: DNSStub
    let port: Int
    let dnssec: Bool

    private static let maximumSteps = 32
    private static let maximumServers = 8

    private struct Server {
        var name: DomainName
        var address: SocketAddress
    }

    /// Prints the way to the answer.
    ///
    /// - Returns: the last answer; nil when nobody gave one.
    func run(_ question: Question) throws -> DNSMessage? {
        let root = try resolver.ask(.query(id: .random(in: .min ... .max), question: Question(name: .root, type: .ns)))
        var servers = root.answers.filter { $0.type == .ns }.compactMap(\.target).shuffled()
            .prefix(Self.maximumServers).flatMap { addresses(of: $0, []) }
        var zone = DomainName.root
        for _ in 0..<Self.maximumSteps {
            guard let (answer, server) = ask(question, servers) else {
                print("; no server of \(zone) answers")
                return nil
            }
            let address = server.address.ipAddress ?? ""
            let cut = answer.authorities.filter { record in
                record.type == .ns && question.name.isSubdomain(of: record.name)
                    && record.name.labelCount > zone.labelCount
            }
            guard answer.responseCode == .noError, answer.answers.isEmpty, let below = cut.first?.name else {
                print("; from \(server.name) (\(address)), for \(zone)")
                DNSAnswerText.printFull(answer)
                return answer
            }
            for record in answer.authorities where record.type != .rrsig || dnssec { print(record) }
            print("; from \(server.name) (\(address)), for \(zone)\n")
            zone = below
            servers = cut.compactMap(\.target).prefix(Self.maximumServers)
                .flatMap { addresses(of: $0, answer.additionals) }
        }
        print("; too many referrals")
        return nil
    }

    private func ask(_ question: Question, _ servers: [Server]) -> (DNSMessage, Server)? {
        for server in servers {
            var query = DNSMessage.query(id: .random(in: .min ... .max), question: question, dnssecOK: dnssec)
            query.flags.recursionDesired = false
            var stub = resolver
            stub.server = server.address
            stub.encryption = nil
            if let answer = try? stub.ask(query) { return (answer, server) }
        }
        return nil
    }

    /// From the referral, or by asking.
    private func addresses(of host: DomainName, _ glue: [ResourceRecord]) -> [Server] {
        var records = glue.filter { $0.name == host && $0.addressOctets != nil }
        for type in [RecordType.a, .aaaa] where records.isEmpty {
            let query = DNSMessage.query(id: .random(in: .min ... .max), question: Question(name: host, type: type))
            records = (try? resolver.ask(query))?.answers.filter { $0.type == type } ?? []
        }
        return records.compactMap { record in
            guard let octets = record.addressOctets,
                let address = try? SocketAddress(packedIPAddress: ByteBuffer(bytes: octets), port: port)
            else { return nil }
            return Server(name: host, address: address)
        }
    }
}
