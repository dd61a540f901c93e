import Cryptography
import DNS

/// Key records looked up once each, many at a time.
struct KeyRecords: Sendable {
    private enum Answer: Sendable {
        case texts([[UInt8]])
        case nothing
        case unknown
    }

    private var answers: [DomainName: Answer] = [:]
    private let known: KnownRecords?

    /// Asks for all names at once; there must be no more of them than limits allow signatures.
    init(_ names: Set<DomainName>, lookup: any MailAuthLookup) async {
        known = lookup.knownRecords
        if names.count < 2 {
            for name in names { answers[name] = await Self.ask(name, lookup) }
            return
        }
        let names = Array(names)
        // Answers go by the place of their name: a task's result of a name and a typed error side by side is not passed
        // on whole by optimised builds of Swift 6.3.
        let found = await withTaskGroup(of: (Int, Answer).self) { group in
            for (place, name) in names.enumerated() {
                group.addTask { (place, await Self.ask(name, lookup)) }
            }
            var found = [Answer](repeating: .unknown, count: names.count)
            for await (place, answer) in group { found[place] = answer }
            return found
        }
        for (name, answer) in zip(names, found) { answers[name] = answer }
    }

    private static func ask(_ name: DomainName, _ lookup: any MailAuthLookup) async -> Answer {
        do throws(MailAuthLookupError) {
            let texts = try await lookup.txt(name)
            return texts.isEmpty ? .nothing : .texts(texts)
        } catch {
            return error.isVoid ? .nothing : .unknown
        }
    }

    /// The key that a record holds.
    ///
    /// - Parameter read: is told of the record once it has been read, whether or not its key can be used.
    func key(
        _ text: [UInt8],
        for algorithm: SignatureAlgorithm,
        limits: SignatureLimits,
        read: (DKIMKeyRecord) -> Void = { _ in }
    ) throws(SignatureFault) -> PublicKey {
        if let known = known?.key(of: text, for: algorithm, limits) {
            read(known.record)
            return known.key
        }
        let record = try DKIMKeyRecord(text)
        read(record)
        let key = try record.publicKey(for: algorithm, limits: limits)
        known?.keep(KnownRecords.Key(record: record, key: key), of: text, for: algorithm, limits)
        return key
    }

    /// The texts at a name.
    func texts(_ name: DomainName) throws(SignatureFault) -> [[UInt8]] {
        let shown = SPFLookups.text(name)
        switch answers[name] {
        case .texts(let texts): return texts
        case .nothing: throw SignatureFault(.permerror, "there is no key at \(shown)")
        case .unknown, nil: throw SignatureFault(.temperror, "the key at \(shown) could not be looked up")
        }
    }
}
