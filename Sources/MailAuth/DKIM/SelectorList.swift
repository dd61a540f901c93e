import DNS
import MIME

/// How far a key has come. The raw value stands in the file.
package enum SelectorState: String, Sendable, Hashable, CaseIterable {
    /// It signs nothing yet: its record is on the way into the DNS.
    case published
    /// It signs.
    case active
    /// It signs no more; its record is still needed for what it signed.
    case retiring
    /// Its private key is gone, and its record may go.
    case retired
}

/// A domain's keys: the file `etc/dkim/DOMAIN/selectors`, with a line for each: selector, algorithm, state, and since when
/// (`YYYYMMDDHHmmSS`, UTC). The private key is in `SELECTOR.pem` beside it. Empty lines and what follows `#` are passed over.
package struct SelectorList: Sendable, Equatable {
    package struct Entry: Sendable, Equatable {
        package let selector: String
        package let algorithm: SignatureAlgorithm
        package private(set) var state: SelectorState
        /// Since when it's in its state. Seconds since 1970.
        package private(set) var since: UInt32

        package init(selector: String, algorithm: SignatureAlgorithm, state: SelectorState, since: UInt32) {
            self.selector = selector
            self.algorithm = algorithm
            self.state = state
            self.since = since
        }

        /// Brings it into another state.
        package mutating func change(to state: SelectorState, at now: UInt32) {
            self.state = state
            since = now
        }

        /// The file of the private key, beside the list.
        package var keyFile: String { "\(selector).pem" }
    }

    /// In the file's order; no selector twice.
    package var entries: [Entry]

    /// Where the directories of domains are, relative to the instance directory.
    package static let directory = "etc/dkim"
    /// The file in the directory of a domain.
    package static let fileName = "selectors"
    /// The largest file that is read. Octets.
    package static let maximumOctets = 64 * 1024
    /// The most keys of a domain.
    package static let maximumEntries = 64

    package init(_ entries: [Entry] = []) { self.entries = entries }

    /// What is wrong with a file.
    package struct Malformed: Error, Equatable, CustomStringConvertible {
        /// Counts from 1.
        package let line: Int
        package let reason: String

        package var description: String { "line \(line): \(reason)" }
    }

    /// Reads the file's octets. A faulty line makes the whole file one: a key that is not known of would sign nothing.
    package init(parsing octets: [UInt8]) throws(Malformed) {
        entries = []
        let lines = octets.split(separator: ASCII.lineFeed, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let content = line.prefix { $0 != UInt8(ascii: "#") }
            let words = content.split { $0 == ASCII.space || $0 == ASCII.tab || $0 == ASCII.carriageReturn }
            if words.isEmpty { continue }
            do throws(Fault) {
                let entry = try Self.entry(words)
                if entries.contains(where: { $0.selector == entry.selector }) {
                    throw Fault(reason: "\"\(entry.selector)\" stands here twice")
                }
                guard entries.count < Self.maximumEntries else {
                    throw Fault(reason: "more than \(Self.maximumEntries) selectors")
                }
                entries.append(entry)
            } catch {
                throw Malformed(line: index + 1, reason: error.reason)
            }
        }
    }

    private struct Fault: Error {
        let reason: String
    }

    private static func entry(_ words: [ArraySlice<UInt8>]) throws(Fault) -> Entry {
        guard words.count == 4 else { throw Fault(reason: "a selector, an algorithm, a state and a time are needed") }
        let texts = words.map { String(decoding: $0, as: UTF8.self) }
        guard isSelector(texts[0]) else { throw Fault(reason: "this is no selector") }
        guard let algorithm = SignatureAlgorithm(rawValue: texts[1]), algorithm != .rsaSHA1 else {
            throw Fault(reason: "the algorithm is rsa-sha256 or ed25519-sha256")
        }
        guard let state = SelectorState(rawValue: texts[2]) else {
            throw Fault(reason: "the state is \(SelectorState.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard words[3].count == 14, let since = Moment.parse(words[3]) else {
            throw Fault(reason: "the time is YYYYMMDDHHmmSS")
        }
        return Entry(selector: texts[0], algorithm: algorithm, state: state, since: since)
    }

    /// Whether a text may be a selector of ours: one label of small letters, digits and hyphens, since it's a file's name, too.
    package static func isSelector(_ text: String) -> Bool {
        let octets = text.utf8
        let hyphen = UInt8(ascii: "-")
        return (1...63).contains(octets.count) && octets.first != hyphen && octets.last != hyphen
            && octets.allSatisfy { ASCII.isDigit($0) || (0x61...0x7A).contains($0) || $0 == hyphen }
    }

    /// Whether a text may be the name of a domain's directory: a domain in ASCII and small letters, which is no `..`.
    package static func isDomain(_ text: String) -> Bool {
        guard let name = MailDomain.hostName(Array(text.utf8)) else { return false }
        return text.utf8.allSatisfy { $0 < 0x80 && ASCII.lower($0) == $0 } && name.labelCount > 0
    }

    /// The file's octets.
    package var octets: [UInt8] {
        let head = "# selector algorithm state since; martlet dkim keeps this file\n"
        let lines = entries.map {
            "\($0.selector) \($0.algorithm.rawValue) \($0.state.rawValue) \(Moment.print($0.since))\n"
        }
        return Array((head + lines.joined()).utf8)
    }
}
