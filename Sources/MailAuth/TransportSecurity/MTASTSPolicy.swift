import DNS
import MIME

/// Why a policy file is none (RFC 8461 §3.2).
package enum MTASTSPolicyError: Error, Sendable, Equatable {
    case tooLong
    /// Not `STSv1`, or no version.
    case badVersion
    case badMode
    case badMaximumAge
    /// A pattern that is no name, or none in a policy that needs one.
    case badExchange
    /// A line that is not a key, a colon and a value.
    case badLine(Int)
}

/// What a domain asks of those who send mail to it (RFC 8461 §3.2).
package struct MTASTSPolicy: Sendable, Hashable {
    package enum Mode: String, Sendable {
        /// Do not deliver where the exchange is none of these, or its certificate is not good.
        case enforce
        /// Deliver anyway, and report.
        case testing
        /// There is no policy any more.
        case none
    }

    /// The most octets of a policy file that are read (RFC 8461 §3.3 suggests 64 kilobytes).
    package static let maximumOctets = 65_536
    /// The most seconds that a policy may be kept (RFC 8461 §3.2): about a year.
    package static let longestAge = 31_557_600
    /// The most patterns that are read.
    static let maximumPatterns = 200

    package var mode: Mode
    /// Seconds.
    package var maximumAge: Int
    /// Names, or `*.` and a name.
    package var patterns: [[UInt8]]

    package init(mode: Mode, maximumAge: Int, patterns: [[UInt8]]) {
        self.mode = mode
        self.maximumAge = maximumAge
        self.patterns = patterns
    }

    /// Reads the file at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`. Lines end in LF or CRLF; of a key that may be
    /// there once, the first counts; unknown keys don't.
    package init(reading octets: [UInt8]) throws(MTASTSPolicyError) {
        guard octets.count <= Self.maximumOctets else { throw .tooLong }
        var single: [[UInt8]: ArraySlice<UInt8>] = [:]
        patterns = []
        for (index, line) in octets.split(separator: ASCII.lineFeed, omittingEmptySubsequences: false).enumerated() {
            let line = ASCII.trim(line)
            if line.isEmpty { continue }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else {
                throw .badLine(index + 1)
            }
            let key = Array(ASCII.trim(line[..<colon]))
            let value = ASCII.trim(line[(colon + 1)...])
            if key.elementsEqual(Array("mx".utf8)) {
                guard Self.isPattern(value), patterns.count < Self.maximumPatterns else { throw .badExchange }
                patterns.append(Array(value))
            } else if single.count < 100, single[key] == nil {
                single[key] = value
            }
        }
        guard let version = single[Array("version".utf8)], version.elementsEqual(Array("STSv1".utf8)) else {
            throw .badVersion
        }
        guard let value = single[Array("mode".utf8)], let mode = Mode(rawValue: String(decoding: value, as: UTF8.self))
        else { throw .badMode }
        self.mode = mode
        guard let digits = single[Array("max_age".utf8)], (1...10).contains(digits.count),
            digits.allSatisfy(ASCII.isDigit)
        else { throw .badMaximumAge }
        maximumAge = min(digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }, Self.longestAge)
        guard mode == .none || !patterns.isEmpty else { throw .badExchange }
    }

    private static func isPattern(_ text: ArraySlice<UInt8>) -> Bool {
        let name = text.starts(with: [UInt8(ascii: "*"), UInt8(ascii: ".")]) ? text.dropFirst(2) : text
        return name.count <= 253
            && name.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { label in
                (1...63).contains(label.count)
                    && label.allSatisfy { ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == UInt8(ascii: "-") }
            }
    }

    /// Whether a host may take the domain's mail (RFC 8461 §4.1): an asterisk stands for exactly one label.
    package func matches(_ exchange: DomainName) -> Bool {
        patterns.contains { pattern in
            if pattern.first == UInt8(ascii: "*") {
                guard let name = try? DomainName(presentation: pattern.dropFirst(2)) else { return false }
                return exchange.parent == name
            }
            return (try? DomainName(presentation: pattern)) == exchange
        }
    }

    /// The file. What is no pattern is left out, lest it become lines of its own.
    package func written() -> [UInt8] {
        var file = Array("version: STSv1\r\nmode: \(mode.rawValue)\r\n".utf8)
        for pattern in patterns where Self.isPattern(pattern[...]) {
            file += Array("mx: ".utf8) + pattern + [0x0D, 0x0A]
        }
        return file + Array("max_age: \(maximumAge)\r\n".utf8)
    }
}
