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
}
