import CoreMetrics
import DNS
import Daemon

extension ZoneUpdates {
    /// The answer to an update (RFC 2136 §3.8). Only what is signed changes anything.
    ///
    /// - Parameter signer: the key that it was signed with, once that was checked.
    package func answer(_ query: DNSMessage, signer: DomainName?) async -> DNSMessage {
        let fault = await make(query, signer)
        if fault == nil { counters.updates.increment() } else { counters.failedUpdates.increment() }
        var response = query.response(fault?.code ?? .noError)
        if let fault, fault.code == .refused {
            let error = ExtendedError(code: ExtendedError.prohibitedCode, text: fault.reason)
            response.edns?.options.append(error.option)
        }
        return response
    }

    private func make(_ query: DNSMessage, _ signer: DomainName?) async -> UpdateFault? {
        let request: UpdateRequest
        do {
            request = try UpdateRequest(query)
        } catch {
            return error
        }
        guard let zone = settings.zones[request.zone] else {
            return UpdateFault(.notAuthoritative, "\(request.zone) is no zone of ours")
        }
        // Updates aren't forwarded to primaries.
        guard !zone.isSecondary else { return UpdateFault(.notImplemented, "the zone is changed at its primary") }
        guard !zone.update.isEmpty else { return UpdateFault(.refused, "the zone takes no updates") }
        guard let signer else { return UpdateFault(.refused, "the update isn't signed") }
        if zone.sign != nil, let record = request.updates.first(where: { SignedZone.ownTypes.contains($0.type) }) {
            return UpdateFault(.refused, "\(record.type) is made as it's asked for")
        }
        return await update(request, signer: signer)
    }

    /// What becomes of a record that the administrator publishes.
    package enum Publication: Sendable {
        /// It's served now, or no more.
        case done(zone: DomainName)
        /// The name is in no zone of ours.
        case elsewhere
        /// The zone is kept by hand, or at its primary.
        case notHere(zone: DomainName, reason: String)
        case failed(UpdateFault)
    }

    /// Makes a text the only TXT record of a name, or takes its TXT records away. In a zone that takes no updates, nothing is changed.
    package func publish(_ text: [UInt8]?, at name: DomainName, timeToLive: UInt32) async -> Publication {
        let zones = settings.zones.values.filter { name.isSubdomain(of: $0.origin) }
        guard let zone = zones.max(by: { $0.origin.labelCount < $1.origin.labelCount }) else { return .elsewhere }
        guard !zone.isSecondary else {
            return .notHere(zone: zone.origin, reason: "the zone is changed at its primary")
        }
        guard !zone.update.isEmpty else { return .notHere(zone: zone.origin, reason: "the zone takes no updates") }
        var records: [ResourceRecord] = []
        if let text {
            let strings = stride(from: 0, to: text.count, by: 255).map { text[$0..<min($0 + 255, text.count)] }
            let data = strings.flatMap { [UInt8($0.count)] + $0 }
            guard
                let record = try? ResourceRecord(name: name, type: .txt, timeToLive: timeToLive, wireData: data)
            else { return .failed(UpdateFault(.formatError, "this is no text of a record")) }
            records = [record]
        }
        let request = UpdateRequest(zone: zone.origin, name, .txt, records)
        if let fault = await update(request, signer: nil) { return .failed(fault) }
        return .done(zone: zone.origin)
    }
}
