import DNS
import Daemon
import LocalZones
import NIOCore
import Recursion

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

    /// What happens to a question: the zones of ours have the first word (RFC 1034 §4.3.2), then the cache and others' servers
    /// (§5.3.3), and each alias on the way begins anew.
    func resolve(_ question: Question, _ rights: QueryRights) async -> Resolution {
        var resolution = Resolution()
        var name = question.name
        var queriesLeft = Self.maximumQueries
        for step in 0...AliasChain.maximum {
            let asked = Question(name: name, type: question.type)
            let next: DomainName?
            if let alias = madeUpAlias(asked, rights) {
                resolution.add(alias: alias)
                next = alias.target
            } else {
                let route = names.route(name, question.type, asksOthers: rights.mayRecurse && rights.recursionDesired)
                switch route {
                case .local(let zone):
                    next = answer(asked, from: zone, rights, isFirst: step == 0, &resolution)
                case .broken:
                    next = nil
                    resolution.fail(
                        ExtendedError(code: ExtendedError.notReadyCode, text: "the zone's file has an error")
                    )
                case .forward, .recursion, .nowhere:
                    next = await ask(asked, route.source, rights, isFirst: step == 0, &queriesLeft, &resolution)
                }
            }
            guard let next else { return resolution }
            name = next
        }
        resolution.fail(ExtendedError(code: 0, text: "too many aliases"))
        return resolution
    }

    // MARK: Our own zones

    /// What a zone of ours says (RFC 1034 §4.3.2); where an alias leads out of it, gives where to.
    private func answer(
        _ question: Question,
        from zone: Zone,
        _ rights: QueryRights,
        isFirst: Bool,
        _ resolution: inout Resolution
    ) -> DomainName? {
        if let text = refusal(of: zone, rights, &resolution) {
            // What came before the alias into this zone is all that the client may know.
            if isFirst { resolution = .refusal(text) }
            return nil
        }
        do {
            let local = try answer(question, in: zone, rights)
            resolution.add(local, isFirst: isFirst)
            return local.next
        } catch {
            resolution.exhaust(isDatagram: rights.isDatagram)
            return nil
        }
    }

    /// Why a client may not have the zone; nil where it may.
    private func refusal(of zone: Zone, _ rights: QueryRights, _ resolution: inout Resolution) -> String? {
        if let list = settings.zones.zones[zone.origin]?.allowQuery {
            resolution.restrict()
            let mayHave = rights.address == nil || list.allows(rights.address, signer: rights.signer)
            return mayHave ? nil : "this zone isn't for you"
        }
        guard !rights.standing.rights.contains(.localZones) else { return nil }
        let mayHave = settings.allowQuery?.allows(rights.address, signer: rights.signer) ?? true
        return mayHave ? nil : "our zones aren't for you"
    }

    // MARK: The cache, and others' servers

    /// What the cache and others' servers say (RFC 1034 §5.3.3); where an alias leads to what these servers weren't asked for,
    /// gives where to.
    private func ask(
        _ question: Question,
        _ source: AnswerSource?,
        _ rights: QueryRights,
        isFirst: Bool,
        _ queriesLeft: inout Int,
        _ resolution: inout Resolution
    ) async -> DomainName? {
        guard rights.mayRecurse, rights.recursionDesired else {
            // A local alias that leads elsewhere is the whole answer for those who may not go there.
            if isFirst {
                resolution = .refusal(rights.mayRecurse ? "recursion wasn't desired" : "recursion isn't for you")
            }
            return nil
        }
        guard let source else {
            resolution.fail(ExtendedError(code: ExtendedError.notReadyCode, text: "no forwarders are configured"))
            return nil
        }
        if question.type == .any {
            resolution.answers.append(contentsOf: Self.minimalAny(question.name))
            return nil
        }
        let outcome = await lookUp(question.name, question.type, source, rights, queriesLeft)
        queriesLeft -= outcome.queries
        resolution.add(outcome)
        if exposesPrivateAddress(outcome) {
            let text = "an address of a private network, which no public name has"
            resolution.withhold(ExtendedError(code: ExtendedError.filteredCode, text: text))
            return nil
        }
        return resolution.error == nil ? outcome.next : nil
    }

    /// The alias from a made-up address's name to that of the address it stands for (RFC 6147 §5.3.1).
    private func madeUpAlias(_ question: Question, _ rights: QueryRights) -> ResourceRecord? {
        guard question.type == .ptr, rights.takesMadeUpAddresses, let alias = settings.dns64?.alias(question.name),
            alias.target != nil
        else { return nil }
        return alias
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
        _ source: AnswerSource,
        _ rights: QueryRights,
        _ maximumQueries: Int
    ) async -> Outcome {
        var key = Outcome.Key(name: name, type: type, checkingDisabled: rights.checkingDisabled)
        // Servers of zones validate nothing: where we don't either, it's all one.
        if case .zones = source, !settings.recursion.validates { key.checkingDisabled = false }
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
