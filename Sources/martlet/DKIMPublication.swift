import Bus
import DNS
import Daemon
import MailAuth
import NIOCore
import NIOPosix
import Network
import Policy
import Resolution

/// Puts the records of DKIM keys into zones that resolverd serves, and looks what the DNS has of them.
enum DKIMPublication {
    /// What the DNS says of a key.
    enum Finding: String, Encodable {
        /// The record is there and has the key.
        case right
        case missing
        /// There is another key, or no key record.
        case differs
        /// The record says that the domain is only trying (t=y): nobody may count on its signatures.
        case testing
        /// No answer now.
        case unknown
    }

    /// What became of records that were to be published.
    enum Result {
        case done(zone: String)
        /// The zone is somebody else's, or kept by hand: for people.
        case byHand(String)
    }

    /// Publishes a key's record where resolverd has the zone and may change it; nil takes it away.
    static func publish(_ record: [UInt8]?, _ name: String) async -> Result {
        var request = Frame("PUBLISH")
        request["name"] = name
        if let record { request["text"] = String(decoding: record, as: UTF8.self) }
        let asked = request
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return await Task(executorPreference: LoopExecutor.of(loop)) {
            let client = BusClient(path: "run/dns-control.sock", on: loop, timeout: .seconds(10))
            defer { client.close() }
            do throws(BusError) {
                let reply = try await client.request(asked)
                guard reply.replyKind == .ok else { return .byHand(reply["text"] ?? "refused") }
                return .done(zone: reply["zone"] ?? "")
            } catch {
                return .byHand("resolverd does not answer")
            }
        }.value
    }

    /// What the DNS has at the names of keys, as resolverd sees it.
    static func look(_ keys: [SigningKey]) async -> [Finding] {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return await Task(executorPreference: LoopExecutor.of(loop)) {
            let resolver = StubResolver(path: "run/dns.sock", on: loop, timeout: .seconds(5))
            defer { resolver.close() }
            let lookup = ResolverLookup(on: loop) { (name, type) async throws(ResolutionError) in
                try await resolver.query(name, type)
            }
            var findings: [Finding] = []
            for key in keys { findings.append(await look(key, lookup)) }
            return findings
        }.value
    }

    private static func look(_ key: SigningKey, _ lookup: any MailAuthLookup) async -> Finding {
        guard let name = SigningName.recordName(domain: key.name.domain, selector: key.name.selector),
            let wanted = try? DKIMKeyRecord(key.record)
        else { return .differs }
        let texts: [[UInt8]]
        do throws(MailAuthLookupError) {
            texts = try await lookup.txt(name)
        } catch {
            return error.isVoid ? .missing : .unknown
        }
        guard texts.count == 1, let record = texts.first.flatMap({ try? DKIMKeyRecord($0) }), record.key == wanted.key,
            record.keyType == wanted.keyType
        else { return texts.isEmpty ? .missing : .differs }
        return record.isTesting ? .testing : .right
    }
}
