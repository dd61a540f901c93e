import DNS
import NIOCore

/// What comes of a question: from local zones, the cache and other servers put together.
struct Resolution {
    var code = ResponseCode.noError
    var answers: [ResourceRecord] = []
    var authorities: [ResourceRecord] = []
    var additionals: [ResourceRecord] = []
    var isAuthoritative = false
    var error: ExtendedError?
    /// Whether anything came from elsewhere, so that times to live run down.
    private(set) var isForeign = false
    private var isKept = true

    /// Seconds for which the whole may be kept; nil for as long as the zones stay as they are.
    var lifetime: UInt32? {
        guard isForeign else { return error == nil ? nil : 0 }
        guard isKept, error == nil else { return 0 }
        return (answers + authorities + additionals).map(\.timeToLive).min() ?? 0
    }

    mutating func add(_ local: LocalAnswer, isFirst: Bool) {
        if isFirst { isAuthoritative = local.isAuthoritative }
        code = local.code
        answers += local.answers
        authorities = local.authorities
        additionals = local.additionals
    }

    mutating func add(_ outcome: Outcome) {
        isForeign = true
        if outcome.lifetime == 0 { isKept = false }
        code = outcome.code
        answers += outcome.answers
        authorities = outcome.authorities
        additionals = []
        if let error = outcome.error { fail(error) }
    }

    /// Nothing of a chain is worth anything without its end.
    mutating func fail(_ error: ExtendedError) {
        self = Resolution()
        code = .serverFailure
        self.error = error
    }

    static func refusal(_ text: String) -> Resolution {
        var resolution = Resolution()
        resolution.code = .refused
        resolution.error = ExtendedError(code: ExtendedError.prohibitedCode, text: text)
        return resolution
    }
}

/// What a client may ask for, and how.
struct QueryRights {
    /// Whether it's among those whose questions about other than local zones are answered.
    var mayRecurse: Bool
    /// RD, DO and CD of its query.
    var recursionDesired: Bool
    var dnssecOK: Bool
    var checkingDisabled: Bool
}

/// Follows a question through local zones, cache and servers, from alias to alias.
struct ResolutionWalk: Sendable {
    let names: NameSpace
    let shards: [Shard]

    func resolve(_ question: Question, _ rights: QueryRights) async -> Resolution {
        var resolution = Resolution()
        var name = question.name
        for step in 0...Zone.maximumAliases {
            switch names.route(name) {
            case .local(let zone):
                let local = zone.answer(Question(name: name, type: question.type))
                resolution.add(local, isFirst: step == 0)
                guard let next = local.next else { return resolution }
                name = next
                continue
            case .broken:
                resolution.fail(ExtendedError(code: ExtendedError.notReadyCode, text: "the zone's file has an error"))
                return resolution
            case .forward, .nowhere: break
            }
            guard rights.mayRecurse, rights.recursionDesired else {
                // A local alias that leads elsewhere is the whole answer for those who may not go there.
                if step > 0 { return resolution }
                return .refusal(rights.mayRecurse ? "recursion wasn't desired" : "recursion isn't for you")
            }
            guard case .forward(let servers) = names.route(name) else {
                resolution.fail(ExtendedError(code: ExtendedError.notReadyCode, text: "no forwarders are configured"))
                return resolution
            }
            if question.type == .any {
                resolution.answers.append(contentsOf: Self.minimalAny(name))
                return resolution
            }
            let outcome = await lookUp(name, question.type, servers, rights)
            resolution.add(outcome)
            guard let next = outcome.next, resolution.error == nil else { return resolution }
            name = next
        }
        resolution.fail(ExtendedError(code: 0, text: "too many aliases"))
        return resolution
    }

    private func lookUp(
        _ name: DomainName,
        _ type: RecordType,
        _ servers: [SocketAddress],
        _ rights: QueryRights
    ) async -> Outcome {
        let key = Outcome.Key(
            name: name,
            type: type,
            dnssecOK: rights.dnssecOK,
            checkingDisabled: rights.checkingDisabled
        )
        let shard = shards[Int(UInt(bitPattern: name.hashValue) % UInt(shards.count))]
        return await shard.lookUp(key, servers) { [names] target in
            if case .forward(let others) = names.route(target) { others == servers } else { false }
        }
    }

    /// RFC 8482 §4.2: nobody is asked for everything.
    private static func minimalAny(_ name: DomainName) -> [ResourceRecord] {
        let data = [7] + Array("RFC8482".utf8) + [0]
        let record = try? ResourceRecord(name: name, type: .hinfo, timeToLive: 3600, wireData: data)
        return record.map { [$0] } ?? []
    }
}
