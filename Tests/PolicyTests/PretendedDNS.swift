import DNS
import MailAuth
import NIOConcurrencyHelpers
import Policy
import Resolution

/// resolverd's answers from records of a master file.
final class PretendedDNS: Sendable {
    private let records: [ResourceRecord]
    private let failing: Set<DomainName>
    private let silent: Set<DomainName>
    private let questions = NIOLockedValueBox<[String]>([])

    /// - Parameter silent: names for which there is no answer as long as the asker is there.
    init(_ text: String, failing: [String] = [], silent: [String] = []) throws {
        let parsed = try MasterFile.parse(Array("$TTL 300\n\(text)\n".utf8), file: "zone", origin: .root) { _ in
            .failure(MasterFileIncludeError(reason: "not here"))
        }
        records = parsed.map(\.record)
        self.failing = Set(try failing.map { try DomainName($0) })
        self.silent = Set(try silent.map { try DomainName($0) })
    }

    /// What was asked, in its order.
    var asked: [String] { questions.withLockedValue { $0 } }

    var query: StubResolver.Query {
        { [self] (name, type) throws(ResolutionError) in
            questions.withLockedValue { $0.append("\(name) \(type)") }
            if failing.contains(name) { throw .timedOut }
            if silent.contains(name) {
                try? await Task.sleep(for: .seconds(60))
                throw .timedOut
            }
            return answer(name, type)
        }
    }

    /// Without being asked.
    func answer(_ name: DomainName, _ type: RecordType) -> Resolution {
        let answers = records.filter { $0.name == name && $0.type == type }
        let exists = records.contains { $0.name == name || $0.name.isSubdomain(of: name) }
        return Resolution(responseCode: exists ? .noError : .nameError, answers: answers)
    }
}
