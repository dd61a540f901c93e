import DNS
import MIME

/// One hop's three fields, by their places in the header (RFC 8617 §4.1).
package struct ARCSet: Sendable, Equatable {
    package let instance: Int
    /// ARC-Authentication-Results.
    package let results: Int
    /// ARC-Message-Signature.
    package let messageSignature: Int
    /// ARC-Seal.
    package let seal: Int
}

/// The sets of a message.
package struct ARCChain: Sendable, Equatable {
    /// By instance, from 1 without a gap.
    package let sets: [ARCSet]
    /// The highest instance of any field, whether or not the sets are sound; 0 where there are none.
    package let highestInstance: Int
    /// Why the sets are not sound; nil where they are.
    package let fault: String?
    /// The place of the seal of the highest instance, whether or not the sets are sound.
    let newestSeal: Int?

    /// The most sets that a message may have (RFC 8617 §4.2.1).
    package static let maximumSets = 50

    private enum Part: CaseIterable {
        case results, messageSignature, seal

        var name: StaticString {
            switch self {
            case .results: "ARC-Authentication-Results"
            case .messageSignature: "ARC-Message-Signature"
            case .seal: "ARC-Seal"
            }
        }
    }

    /// The ARC-Message-Signature fields that a check may look at.
    static func messageSignatures(in header: HeaderBlock) -> [HeaderField] {
        Array(
            header.fields.filter { ASCII.equal(header.octets[$0.name], Part.messageSignature.name) }.prefix(maximumSets)
        )
    }

    /// Finds the sets of a header (RFC 8617 §5.2, steps 1 and 3).
    package init(_ header: HeaderBlock) {
        var found: [Int: [Part: Int]] = [:]
        var fault: String?
        var count = 0
        for (place, field) in header.fields.enumerated() {
            guard let part = Part.allCases.first(where: { ASCII.equal(header.octets[field.name], $0.name) }) else {
                continue
            }
            count += 1
            guard count <= 3 * Self.maximumSets else {
                fault = "there are more than \(Self.maximumSets) ARC sets"
                break
            }
            guard let instance = Self.instance(part, header.octets[field.value]) else {
                fault = fault ?? "a field \(part.name) has no instance (i=)"
                continue
            }
            if found[instance, default: [:]].updateValue(place, forKey: part) != nil {
                fault = fault ?? "there are two fields \(part.name) of instance \(instance)"
            }
        }
        let highest = found.keys.max() ?? 0
        highestInstance = highest
        newestSeal = found[highest]?[.seal]
        var sets: [ARCSet] = []
        if highest > Self.maximumSets { fault = fault ?? "there are more than \(Self.maximumSets) ARC sets" }
        if fault == nil, highest > 0 {
            for instance in 1...highest {
                guard let parts = found[instance], let results = parts[.results], let seal = parts[.seal],
                    let messageSignature = parts[.messageSignature]
                else {
                    fault = "the ARC set of instance \(instance) is not complete"
                    break
                }
                sets.append(
                    ARCSet(instance: instance, results: results, messageSignature: messageSignature, seal: seal)
                )
            }
        }
        self.fault = fault ?? (count > 0 && highest == 0 ? "the ARC fields have no instances" : nil)
        self.sets = fault == nil ? sets : []
    }

    private static func instance(_ part: Part, _ value: ArraySlice<UInt8>) -> Int? {
        let number: Int?
        if part == .results {
            number = ARCAuthenticationResults.instance(value)
        } else {
            number = (try? TagList(Array(value)))?["i"].flatMap { $0.count <= 4 ? ASCII.number($0) : nil }
        }
        return number.flatMap { (1...9999).contains($0) ? $0 : nil }
    }
}

/// The field that carries what a hop found: an instance, then an Authentication-Results payload (RFC 8617 §4.1.1).
package enum ARCAuthenticationResults {
    static func instance(_ value: ArraySlice<UInt8>) -> Int? {
        var lexer = ResultsLexer(value)
        guard lexer.keyword().map({ ASCII.equal($0, "i") }) == true, lexer.take(UInt8(ascii: "=")),
            let number = lexer.keyword(), number.count <= 4, lexer.take(UInt8(ascii: ";"))
        else { return nil }
        return ASCII.number(number)
    }

    /// What is behind the instance; nil where there is none.
    package static func payload(_ value: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard instance(value) != nil, let end = value.firstIndex(of: UInt8(ascii: ";")) else { return nil }
        return value[(end + 1)...]
    }
}

/// An ARC-Seal field (RFC 8617 §4.1.3).
package struct ARCSeal: Sendable {
    package let instance: Int
    package let algorithm: SignatureAlgorithm
    package let signature: [UInt8]
    package let domain: [UInt8]
    package let selector: [UInt8]
    /// cv=.
    package let chainValidation: ARCResult
    let keyName: DomainName
    let signatureExtent: Range<Int>

    package init(field value: ArraySlice<UInt8>) throws(SignatureFault) {
        let reader = try SignatureTags(value, what: "ARC-Seal")
        instance = try reader.instance()
        algorithm = try reader.algorithm()
        (signature, signatureExtent) = try reader.signature()
        (domain, selector, keyName) = try reader.key()
        let text = String(decoding: try reader.required("cv").map(ASCII.lower), as: UTF8.self)
        guard let validation = ARCResult(rawValue: text) else {
            throw SignatureFault(.permerror, "cv= of the ARC-Seal is neither none nor pass nor fail")
        }
        chainValidation = validation
        for name in ["h", "bh", "c"] as [StaticString] where reader.has(name) {
            throw SignatureFault(.permerror, "an ARC-Seal must not have \(name)=")
        }
    }
}
