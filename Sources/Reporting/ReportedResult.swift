import Bus

/// What reportd is told of (docs/protocols.md, "report.sock"); its frames are what is on disk as well.
package enum ReportedResult: Sendable, Hashable {
    case dmarc(DMARCEvaluation)
    case tls(TLSSessionResult)

    /// A frame that isn't one.
    package struct Malformed: Error {}

    package var frame: Frame {
        switch self {
        case .dmarc(let evaluation): Frame(DMARCEvaluation.verb, evaluation.fields)
        case .tls(let result): Frame(TLSSessionResult.verb, result.fields)
        }
    }

    package init(_ frame: Frame) throws(Malformed) {
        // A row is small, whoever made it up.
        guard frame.fields.count <= 160, frame.fields.allSatisfy({ $0.value.utf8.count <= Self.longest * 3 }) else {
            throw Malformed()
        }
        switch frame.verb {
        case DMARCEvaluation.verb: self = .dmarc(try DMARCEvaluation(frame))
        case TLSSessionResult.verb: self = .tls(try TLSSessionResult(frame))
        default: throw Malformed()
        }
    }

    /// Octets of one value.
    private static let longest = 255

    /// A domain has no more octets than that; what has is a stranger's invention.
    static func clipped(_ text: String) -> String {
        guard text.utf8.count > longest else { return text }
        var clipped = String.UnicodeScalarView()
        var octets = 0
        for scalar in text.unicodeScalars {
            octets += UTF8.width(scalar)
            guard octets <= longest else { break }
            clipped.append(scalar)
        }
        return String(clipped)
    }
}
