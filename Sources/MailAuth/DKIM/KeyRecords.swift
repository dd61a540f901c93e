import DNS

/// Key records looked up once each, many at a time.
struct KeyRecords: Sendable {
    private let answers: [DomainName: Result<[[UInt8]], MailAuthLookupError>]

    /// Asks for all names at once; there must be no more of them than limits allow signatures.
    init(_ names: Set<DomainName>, lookup: any MailAuthLookup) async {
        answers = await withTaskGroup(of: (DomainName, Result<[[UInt8]], MailAuthLookupError>).self) { group in
            for name in names {
                group.addTask {
                    do throws(MailAuthLookupError) { return (name, .success(try await lookup.txt(name))) } catch {
                        return (name, .failure(error))
                    }
                }
            }
            var answers: [DomainName: Result<[[UInt8]], MailAuthLookupError>] = [:]
            for await (name, answer) in group { answers[name] = answer }
            return answers
        }
    }

    /// The texts at a name.
    func texts(_ name: DomainName) throws(SignatureFault) -> [[UInt8]] {
        let shown = SPFLookups.text(name)
        switch answers[name] {
        case .success(let texts) where !texts.isEmpty: return texts
        case .failure(.temporary), nil: throw SignatureFault(.temperror, "the key at \(shown) could not be looked up")
        case .success, .failure: throw SignatureFault(.permerror, "there is no key at \(shown)")
        }
    }
}
