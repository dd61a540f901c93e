import CoreMetrics
import DNS
import Daemon

extension QueryEngine {
    /// The answer to an update (RFC 2136 §3.8). Only what is signed changes anything.
    func answer(update query: DNSMessage, _ client: Client) async -> DNSMessage {
        let fault = await update(query, client)
        if fault == nil { settings.counters.updates.increment() } else { settings.counters.failedUpdates.increment() }
        var response = query.response(fault?.code ?? .noError)
        if let fault, fault.code == .refused {
            let error = ExtendedError(code: ExtendedError.prohibitedCode, text: fault.reason)
            response.edns?.options.append(error.option)
        }
        return response
    }

    private func update(_ query: DNSMessage, _ client: Client) async -> UpdateFault? {
        let request: UpdateRequest
        do {
            request = try UpdateRequest(query)
        } catch {
            return error
        }
        guard let zone = settings.localZones[request.zone] else {
            return UpdateFault(.notAuthoritative, "\(request.zone) is no zone of ours")
        }
        // Updates aren't forwarded to primaries.
        guard !zone.isSecondary else { return UpdateFault(.notImplemented, "the zone is changed at its primary") }
        guard let updates, !zone.update.isEmpty else { return UpdateFault(.refused, "the zone takes no updates") }
        guard let signer = client.signer else { return UpdateFault(.refused, "the update isn't signed") }
        if zone.sign != nil, let record = request.updates.first(where: { SignedZone.ownTypes.contains($0.type) }) {
            return UpdateFault(.refused, "\(record.type) is made as it's asked for")
        }
        return await updates.update(request, signer: signer)
    }
}
