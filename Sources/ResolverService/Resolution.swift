import DNS
import Daemon
import NIOCore

/// What comes of a question: from local zones, the cache and other servers put together.
struct Resolution {
    var code = ResponseCode.noError
    var answers: [ResourceRecord] = []
    var authorities: [ResourceRecord] = []
    var additionals: [ResourceRecord] = []
    var isAuthoritative = false
    /// Whether all of it is proven by signatures.
    private(set) var isAuthentic = false
    /// What the client is to know of it beside.
    private(set) var note: ExtendedError?
    var error: ExtendedError?
    /// Whether anything came from elsewhere, so that times to live run down.
    private(set) var isForeign = false
    /// Whether local zones have anything to do with it.
    private(set) var dependsOnZones = false
    /// Whether signatures of ours are in it.
    private var isSigned = false
    /// Whether the response code goes with a proof by RFC 9824, as the client wished.
    private(set) var isCompact = false
    /// Whether the client is to ask again on a stream.
    private(set) var isTruncated = false
    /// That names on the way, which wildcards stood for, aren't there themselves.
    private var proofs: [ResourceRecord] = []
    private var isKept = true
    private var hasParts = false

    /// Seconds for which the whole may be kept; nil for as long as the zones stay as they are.
    var lifetime: UInt32? {
        guard isKept, error == nil else { return 0 }
        guard isForeign else { return isSigned ? ZoneSigner.answerLifetime : nil }
        let shortest = answers.shortestLife(with: authorities.shortestLife(with: additionals.shortestLife()))
        return min(shortest ?? 0, isSigned ? ZoneSigner.answerLifetime : .max)
    }

    mutating func add(_ local: LocalAnswer, isFirst: Bool) {
        if isFirst { isAuthoritative = local.isAuthoritative }
        dependsOnZones = true
        isAuthentic = false
        hasParts = true
        code = local.code
        answers += local.answers
        isSigned = isSigned || local.isSigned
        isCompact = isCompact || local.isCompact
        proofs += local.proofs
        authorities = local.authorities + proofs
        additionals = local.additionals
    }

    /// That the answer isn't for everybody, so that it must not be kept.
    mutating func restrict() { isKept = false }

    mutating func add(_ outcome: Outcome) {
        isAuthentic = outcome.security == .secure && (isAuthentic || !hasParts)
        hasParts = true
        isForeign = true
        if outcome.lifetime == 0 || outcome.note != nil { isKept = false }
        note = note ?? outcome.note
        code = outcome.code
        answers += outcome.answers
        authorities = outcome.authorities + proofs
        additionals = []
        if let error = outcome.error { fail(error) }
    }

    /// The same with other answers, which nobody signed.
    func translated(_ answers: [ResourceRecord]) -> Resolution {
        var resolution = self
        resolution.answers = answers
        resolution.authorities = []
        resolution.additionals = []
        resolution.isAuthentic = false
        resolution.isAuthoritative = false
        return resolution
    }

    /// Adds an alias of our own making.
    mutating func add(alias: ResourceRecord) {
        hasParts = true
        isAuthentic = false
        answers.append(alias)
    }

    /// Nothing of a chain is worth anything without its end.
    mutating func fail(_ error: ExtendedError) {
        let dependsOnZones = dependsOnZones
        self = Resolution()
        self.dependsOnZones = dependsOnZones
        code = .serverFailure
        self.error = error
    }

    /// That it isn't signed now. Whoever can't be forged is told so; the others are to come by a stream.
    mutating func exhaust(isDatagram: Bool) {
        fail(ExtendedError(code: 0, text: "too many signatures would have to be made"))
        guard isDatagram else { return }
        self = Resolution()
        isTruncated = true
        isKept = false
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
    /// What it may have by where it is.
    var standing: ClientStanding
    /// CO: NXDOMAIN may go with a proof by RFC 9824.
    var compactOK = false
    /// Whether the answer goes into a datagram.
    var isDatagram = false
    /// The key that the query was signed with.
    var signer: DomainName?

    /// The client's address in network order; nil for a program on this machine.
    var address: [UInt8]? { standing.octets.isEmpty ? nil : standing.octets }
}

extension Resolution {
    /// That the answer isn't given, and why.
    mutating func withhold(_ error: ExtendedError) {
        fail(error)
        code = .refused
    }
}

/// Follows a question through local zones, cache and servers, from alias to alias.
final class ResolutionWalk: Sendable {
    let names: NameSpace
    let shards: [Shard]
    let settings: ResolverSettings
    let signer: ZoneSigner

    /// How many queries one question may cost over all its aliases.
    private static let maximumQueries = 200

    init(names: NameSpace, shards: [Shard], settings: ResolverSettings, signer: ZoneSigner) {
        self.names = names
        self.shards = shards
        self.settings = settings
        self.signer = signer
    }

    func resolve(_ question: Question, _ rights: QueryRights) async -> Resolution {
        var resolution = Resolution()
        var name = question.name
        var queriesLeft = Self.maximumQueries
        for step in 0...Zone.maximumAliases {
            if question.type == .ptr, rights.takesMadeUpAddresses, let alias = settings.dns64?.alias(name),
                let target = alias.target
            {
                resolution.add(alias: alias)
                name = target
                continue
            }
            let route = names.route(name, question.type, asksOthers: rights.mayRecurse && rights.recursionDesired)
            switch route {
            case .local(let zone):
                if let list = settings.localZones[zone.origin]?.allowQuery {
                    resolution.restrict()
                    guard rights.address == nil || list.allows(rights.address, signer: rights.signer) else {
                        // What came before the alias into this zone is all that the client may know.
                        return step > 0 ? resolution : .refusal("this zone isn't for you")
                    }
                } else if !rights.standing.rights.contains(.localZones) {
                    guard settings.allowQuery?.allows(rights.address, signer: rights.signer) ?? true else {
                        return step > 0 ? resolution : .refusal("our zones aren't for you")
                    }
                }
                let local: LocalAnswer
                do {
                    local = try answer(Question(name: name, type: question.type), in: zone, rights)
                } catch {
                    resolution.exhaust(isDatagram: rights.isDatagram)
                    return resolution
                }
                resolution.add(local, isFirst: step == 0)
                guard let next = local.next else { return resolution }
                name = next
                continue
            case .broken:
                resolution.fail(ExtendedError(code: ExtendedError.notReadyCode, text: "the zone's file has an error"))
                return resolution
            case .forward, .recursion, .nowhere: break
            }
            guard rights.mayRecurse, rights.recursionDesired else {
                // A local alias that leads elsewhere is the whole answer for those who may not go there.
                if step > 0 { return resolution }
                return .refusal(rights.mayRecurse ? "recursion wasn't desired" : "recursion isn't for you")
            }
            guard let source = route.source else {
                resolution.fail(ExtendedError(code: ExtendedError.notReadyCode, text: "no forwarders are configured"))
                return resolution
            }
            if question.type == .any {
                resolution.answers.append(contentsOf: Self.minimalAny(name))
                return resolution
            }
            let outcome = await lookUp(name, question.type, source, rights, queriesLeft)
            queriesLeft -= outcome.queries
            resolution.add(outcome)
            if exposesPrivateAddress(outcome) {
                let text = "an address of a private network, which no public name has"
                resolution.withhold(ExtendedError(code: ExtendedError.filteredCode, text: text))
                return resolution
            }
            guard let next = outcome.next, resolution.error == nil else { return resolution }
            name = next
        }
        resolution.fail(ExtendedError(code: 0, text: "too many aliases"))
        return resolution
    }

    private func answer(
        _ question: Question,
        in zone: Zone,
        _ rights: QueryRights
    ) throws(ZoneSigner.Exhausted) -> LocalAnswer {
        guard let signed = names.signed(zone) else {
            guard rights.dnssecOK, let presigned = PresignedZone(zone) else { return zone.answer(question) }
            return presigned.answer(question)
        }
        let client = ZoneSigner.Client(
            dnssecOK: rights.dnssecOK,
            compactOK: rights.compactOK && rights.dnssecOK,
            isDatagram: rights.isDatagram
        )
        return try signer.answer(question, in: signed, for: client)
    }

    private func lookUp(
        _ name: DomainName,
        _ type: RecordType,
        _ source: Shard.Source,
        _ rights: QueryRights,
        _ maximumQueries: Int
    ) async -> Outcome {
        var key = Outcome.Key(name: name, type: type, checkingDisabled: rights.checkingDisabled)
        // Servers of zones validate nothing: where we don't either, it's all one.
        if case .zones = source, !settings.validates { key.checkingDisabled = false }
        let outcome = await Shard.responsible(for: name, shards).lookUp(key, source, maximumQueries: maximumQueries)
        return rights.dnssecOK ? outcome : outcome.withoutSignatures(of: type)
    }

    /// Whether a name of the world is said to be at an address that only this network can reach (DNS rebinding), be it by a
    /// hint.
    private func exposesPrivateAddress(_ outcome: Outcome) -> Bool {
        guard settings.refusesPrivateAddresses else { return false }
        return outcome.answers.contains { record in
            let isExposed =
                record.addressOctets.map(AddressPolicy.isPrivate)
                ?? record.addressHints.contains(where: AddressPolicy.isPrivate)
            return isExposed && !names.isPrivate(record.name, settings)
        }
    }

    /// RFC 8482 §4.2: nobody is asked for everything.
    private static func minimalAny(_ name: DomainName) -> [ResourceRecord] {
        let data = [7] + Array("RFC8482".utf8) + [0]
        let record = try? ResourceRecord(name: name, type: .hinfo, timeToLive: 3600, wireData: data)
        return record.map { [$0] } ?? []
    }
}
