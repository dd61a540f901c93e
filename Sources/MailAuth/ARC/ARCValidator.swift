import Cryptography
import DNS
import MIME

/// What a chain is worth (RFC 8617 §4.4).
package enum ARCResult: String, Sendable, CaseIterable {
    /// There are no sets.
    case none
    case pass
    case fail
}

/// What a check of a chain says, and why.
package struct ARCOutcome: Sendable {
    package var result: ARCResult
    /// One sentence for people.
    package var reason: String
    package var chain: ARCChain
    /// A key could not be looked up now: later the result may be another.
    package var isTemporary = false
    /// The lowest instance whose message signature and all above still hold; 0 where all do (RFC 8617 §5.2). nil where
    /// the chain does not pass.
    package var oldestPass: Int?
    /// What the message signatures say that were checked, from the highest instance down.
    package var messageSignatures: [DKIMOutcome] = []
    /// The domains of the seals that were checked, from the highest instance down, and whether they hold.
    package var seals: [(instance: Int, domain: [UInt8], isGood: Bool)] = []

    /// The highest set says itself that the chain is broken: nothing is sealed after it (RFC 8617 §5.1).
    package var endsInFailure = false

    /// What this host said of a message when it came in, for its seal when it goes out (RFC 8617 §5.1).
    ///
    /// - Parameter results: its Authentication-Results.
    /// - Returns: nil where the message has sets and nobody could say what they are worth.
    package init?(_ header: HeaderBlock, found results: AuthenticationResults) {
        let chain = ARCChain(header)
        let hasSets = chain.highestInstance > 0 || chain.fault != nil
        let said = results.entries.first { $0.method.elementsEqual("arc".utf8) }?.result
        let result =
            hasSets ? said.flatMap { ARCResult(rawValue: String(decoding: $0, as: UTF8.self)) } : ARCResult.none
        guard let result, hasSets == (result != .none) else { return nil }
        self.init(result: chain.fault == nil ? result : .fail, reason: "as it came in", chain: chain)
        let seal = chain.newestSeal.flatMap { try? ARCSeal(field: header.octets[header.fields[$0].value]) }
        endsInFailure = seal?.chainValidation == .fail
    }

    package init(result: ARCResult, reason: String, chain: ARCChain) {
        self.result = result
        self.reason = reason
        self.chain = chain
    }
}

/// Validates the chain of a message (RFC 8617 §5.2).
package struct ARCValidator {
    private let message: HashedMessage
    private let chain: ARCChain
    private let now: Int
    private let limits: SignatureLimits
    private var outcome: ARCOutcome

    /// What the message's chain says.
    ///
    /// - Parameter now: seconds since 1970.
    package static func validate(
        _ message: HashedMessage,
        lookup: any MailAuthLookup,
        now: Int,
        limits: SignatureLimits = SignatureLimits()
    ) async -> ARCOutcome {
        let chain = ARCChain(message.header)
        var validator = ARCValidator(
            message: message,
            chain: chain,
            now: now,
            limits: limits,
            outcome: ARCOutcome(result: .none, reason: "the message has no ARC sets", chain: chain)
        )
        guard !message.isHeaderCut else {
            validator.fail("the header has more than \(limits.headerOctets) octets")
            return validator.outcome
        }
        guard chain.highestInstance > 0 || chain.fault != nil else { return validator.outcome }
        guard message.header.hasOnlyFields else {
            validator.fail("the header has a line that is no field, which some take for the body")
            return validator.outcome
        }
        do throws(SignatureFault) {
            try await validator.run(lookup)
        } catch {
            validator.outcome.isTemporary = error.result == .temperror
            validator.fail(error.reason)
        }
        return validator.outcome
    }

    private mutating func fail(_ reason: String) {
        outcome.result = .fail
        outcome.reason = reason
    }

    private mutating func run(_ lookup: any MailAuthLookup) async throws(SignatureFault) {
        let newestSeal = chain.newestSeal.flatMap { try? ARCSeal(field: value($0)) }
        outcome.endsInFailure = newestSeal?.chainValidation == .fail
        if let fault = chain.fault { throw SignatureFault(.permerror, fault) }
        var seals: [ARCSeal] = []
        for set in chain.sets {
            let seal = try ARCSeal(field: value(set.seal))
            seals.append(seal)
            try checkChainValidation(seal)
        }
        guard let newest = chain.sets.last else { return }
        let newestSignature = try DKIMSignature(field: value(newest.messageSignature), kind: .arcMessage)
        let olderSignatures = chain.sets.dropLast().map { set in
            (set, try? DKIMSignature(field: value(set.messageSignature), kind: .arcMessage))
        }
        var names = Set(seals.map(\.keyName) + [newestSignature.keyName])
        names.formUnion(olderSignatures.compactMap { $0.1?.keyName })
        let keys = await KeyRecords(names, lookup: lookup)

        let newestOutcome = check(newestSignature, newest, keys)
        guard newestOutcome.result == .pass else {
            throw SignatureFault(
                newestOutcome.result,
                "the newest ARC-Message-Signature (i=\(newest.instance)) does not hold: \(newestOutcome.reason)"
            )
        }
        outcome.oldestPass = oldestPass(olderSignatures, keys)
        try checkSeals(seals, keys)
        outcome.result = .pass
        outcome.reason = "every seal (\(chain.sets.count)) and the newest message signature hold"
    }

    private func value(_ place: Int) -> ArraySlice<UInt8> { message.header.octets[message.header.fields[place].value] }

    /// RFC 8617 §5.2, steps 2 and 3.
    private func checkChainValidation(_ seal: ARCSeal) throws(SignatureFault) {
        if seal.instance == chain.highestInstance, seal.chainValidation == .fail {
            throw SignatureFault(.fail, "the newest set (i=\(seal.instance)) says that the chain is broken (cv=fail)")
        }
        let wanted: ARCResult = seal.instance == 1 ? .none : .pass
        guard seal.chainValidation == wanted else {
            throw SignatureFault(
                .fail,
                "the seal of instance \(seal.instance) has cv=\(seal.chainValidation.rawValue), not \(wanted.rawValue)"
            )
        }
    }

    private mutating func check(_ signature: DKIMSignature, _ set: ARCSet, _ keys: KeyRecords) -> DKIMOutcome {
        let check = SignatureCheck(message: message, place: set.messageSignature, now: now, limits: limits)
        let outcome = check.outcome(signature, keys)
        self.outcome.messageSignatures.append(outcome)
        return outcome
    }

    private mutating func oldestPass(_ older: [(ARCSet, DKIMSignature?)], _ keys: KeyRecords) -> Int {
        for (set, signature) in older.reversed() {
            guard outcome.messageSignatures.count < limits.chainSignatures, let signature else {
                return set.instance + 1
            }
            guard check(signature, set, keys).result == .pass else { return set.instance + 1 }
        }
        return 0
    }

    /// RFC 8617 §5.2, step 6: from the newest seal down.
    private mutating func checkSeals(_ seals: [ARCSeal], _ keys: KeyRecords) throws(SignatureFault) {
        // What a seal covers begins with what the one before it covers.
        var scope: [UInt8] = []
        var ends: [Int] = []
        for set in chain.sets {
            scope += Self.scope(of: set, in: message.header)
            ends.append(scope.count)
        }
        guard ends.reduce(0, +) <= limits.sealedOctets else {
            outcome.oldestPass = nil
            throw SignatureFault(.permerror, "the seals cover more than \(limits.sealedOctets) octets together")
        }
        for ((set, end), seal) in zip(zip(chain.sets, ends), seals).reversed() {
            let last = Canonicalization.relaxed.field(message.header.fields[set.seal], in: message.header.octets)
            var input = Array(scope[..<(end - last.count)])
            input += SignatureInput.unsigned(
                message.header.fields[set.seal],
                in: message.header,
                extent: seal.signatureExtent,
                canonicalization: .relaxed
            )
            do throws(SignatureFault) {
                let key = try key(of: seal, keys)
                guard SignatureInput.isValid(seal.signature, of: input, key: key, algorithm: seal.algorithm) else {
                    throw SignatureFault(.fail, "its signature does not fit")
                }
                outcome.seals.append((seal.instance, seal.domain, true))
            } catch {
                outcome.seals.append((seal.instance, seal.domain, false))
                outcome.oldestPass = nil
                throw SignatureFault(
                    error.result,
                    "the seal of instance \(seal.instance) does not hold: \(error.reason)"
                )
            }
        }
    }

    private func key(of seal: ARCSeal, _ keys: KeyRecords) throws(SignatureFault) -> PublicKey {
        var fault: SignatureFault?
        for text in try keys.texts(seal.keyName).prefix(limits.keyRecords) {
            do throws(SignatureFault) {
                return try keys.key(text, for: seal.algorithm, limits: limits)
            } catch { fault = fault ?? error }
        }
        throw fault ?? SignatureFault(.permerror, "there is no key")
    }

    /// What a seal covers of one set, its own field last (RFC 8617 §5.1.1).
    static func scope(of set: ARCSet, in header: HeaderBlock) -> [UInt8] {
        [set.results, set.messageSignature, set.seal].flatMap {
            Canonicalization.relaxed.field(header.fields[$0], in: header.octets)
        }
    }
}
