import DNS
import Logging
import MailAuth
import NIOConcurrencyHelpers
import NIOCore

/// Whether lists have what every list must have, 127.0.0.2, and nothing that none may, 127.0.0.1 (RFC 5782 §5): a domain that was
/// given up, or sold to somebody with a wildcard, would list everybody or nobody (RFC 6471 §3.4). Each is tried once an hour, for all loops.
package final class DNSListTrial: Sendable {
    /// What is wrong with a list.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        case hasEverybody
        case hasNobody

        package var description: String {
            switch self {
            case .hasEverybody: "it lists 127.0.0.1, which no list may"
            case .hasNobody: "it does not list 127.0.0.2, which every list must"
            }
        }
    }

    private struct Finding {
        var fault: Fault?
        var until: NIODeadline
    }

    private let findings = NIOLockedValueBox<[String: Finding]>([:])

    private static let lifetime = TimeAmount.hours(1)
    /// Until the next try where there was no answer.
    private static let patience = TimeAmount.minutes(1)

    package init() {}

    /// The names of lists that aren't to be believed. Those that it's time for are tried first.
    package func faulty(
        _ lists: [DNSList],
        lookup: any MailAuthLookup,
        logger: Logger,
        now: NIODeadline = .now()
    ) async -> Set<String> {
        let known = findings.withLockedValue { $0 }
        let due = lists.filter { known[$0.name].map { $0.until <= now } ?? true }
        await withTaskGroup(of: Void.self) { group in
            for list in due {
                group.addTask { self.note(await list.trial(lookup), of: list, known[list.name]?.fault, logger, now) }
            }
        }
        return findings.withLockedValue { findings in
            Set(lists.map(\.name).filter { findings[$0]?.fault != nil })
        }
    }

    private func note(
        _ result: Result<Void, Fault>?,
        of list: DNSList,
        _ before: Fault?,
        _ logger: Logger,
        _ now: NIODeadline
    ) {
        let finding: Finding
        switch result {
        // What was known goes on.
        case nil: finding = Finding(fault: before, until: now + Self.patience)
        case .success: finding = Finding(fault: nil, until: now + Self.lifetime)
        case .failure(let fault): finding = Finding(fault: fault, until: now + Self.lifetime)
        }
        // Sessions that came together have tried it together.
        let former = findings.withLockedValue { $0.updateValue(finding, forKey: list.name) }
        guard former?.fault != finding.fault else { return }
        if let fault = finding.fault {
            logger.warning("DNS list ignored", metadata: ["list": "\(list.name)", "reason": "\(fault)"])
        } else {
            logger.notice("DNS list in use again", metadata: ["list": "\(list.name)"])
        }
    }
}

extension DNSList {
    /// Asks for the two addresses; nil where there is no answer now.
    package func trial(_ lookup: any MailAuthLookup) async -> Result<Void, DNSListTrial.Fault>? {
        async let none = has([127, 0, 0, 1], lookup)
        guard let required = await has([127, 0, 0, 2], lookup), let forbidden = await none else { return nil }
        if forbidden { return .failure(.hasEverybody) }
        return required ? .success(()) : .failure(.hasNobody)
    }

    /// Whether it has an address, by whatever code; nil where there is no answer, or none that a list may give.
    private func has(_ address: [UInt8], _ lookup: any MailAuthLookup) async -> Bool? {
        guard let name = ReverseNameCheck.labels(of: address).flatMap(name),
            let answers = await Self.answers(name, lookup)
        else { return nil }
        if answers.isEmpty { return false }
        // Somebody who has an address of his own for every name is no list.
        guard answers.allSatisfy({ $0.first == 127 }) else { return address.last == 1 }
        return Self.isAnswer(answers) ? true : nil
    }
}
