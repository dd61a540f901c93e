import CoreMetrics
import DNS
import Daemon
import LocalZones
import Logging
import NIOCore
import Network
import TSIG
import ZoneTransfer

extension QueryEngine {
    /// The answer to a query that came on a stream, where it asks for a zone or for what has changed in it.
    ///
    /// - Returns: nil for any other query.
    func transfer(_ query: ByteBuffer, _ client: Client) -> OutgoingTransfer? {
        guard query.asksForTransfer, let message = try? DNSMessage(decoding: query) else { return nil }
        let transfers = authority.transfers
        var client = client
        var request = message
        var signer: TSIGSigner?
        switch verify(query) {
        case .unsigned: break
        case .malformed: return transfers.single(message.response(.formatError), nil)
        case .refused(let refusal): return transfers.single(message.response(.notAuthoritative), refusal)
        case .signed(let answering):
            signer = answering
            client.signer = answering.signer
            request.additionals.removeAll { $0.type == .tsig }
        }
        if let edns = request.edns, edns.version != 0 { return transfers.single(request.response(.badVersion), signer) }
        let transfer = transfers.begin(zone(askedForBy: request, client), to: request, signer)
        if transfer.isOfZone {
            logger.info(
                "transfer",
                metadata: [
                    "zone": "\(request.questions.first?.name ?? .root)",
                    "to": "\(client.address?.ipAddress ?? "local")",
                    "key": "\(client.signer?.description ?? "none")",
                ]
            )
        }
        return transfer
    }

    /// The answer to a request for a zone where it can be only one message: the SOA record alone where differences are asked
    /// for, which tells whether there are any (RFC 1995 §2). A zone isn't to be had so (RFC 5936 §4.2).
    func transferInOneMessage(_ query: DNSMessage, _ type: RecordType, _ client: Client) -> DNSMessage {
        guard type == .ixfr else { return query.response(.formatError) }
        return zone(askedForBy: query, client).start.message(for: query)
    }

    private func zone(askedForBy query: DNSMessage, _ client: Client) -> ZoneTransfers.Answer {
        guard query.questions.count == 1, let question = query.questions.first else { return .failure(.formatError) }
        guard question.class == .internet else { return .failure(.notAuthoritative) }
        let asked: ZoneTransfers.Asked
        switch names.route(question.name) {
        case .local(let found) where found.origin == question.name: asked = .zone(found, signed: names.signed(found))
        case .broken where settings.zones.zones[question.name] != nil: asked = .broken
        default: asked = .unknown
        }
        let answer = authority.transfers.answer(
            query,
            asked,
            to: client.address?.addressOctets,
            signer: client.signer
        )
        if case .failure(.refused) = answer { counters.refused.increment() }
        return answer
    }
}

extension ByteBuffer {
    /// Whether a message looks like a query of type AXFR or IXFR.
    fileprivate var asksForTransfer: Bool {
        withUnsafeReadableBytes { octets in
            guard octets.count > DNSMessage.headerOctets, octets[2] & 0xF8 == 0, octets[4] == 0, octets[5] == 1 else {
                return false
            }
            var position = DNSMessage.headerOctets
            while position < octets.count, octets[position] != 0 {
                guard octets[position] <= DomainName.maximumLabelOctets else { return false }
                position += 1 + Int(octets[position])
            }
            guard position + 2 < octets.count else { return false }
            let type = RecordType(rawValue: UInt16(octets[position + 1]) << 8 | UInt16(octets[position + 2]))
            return type == .axfr || type == .ixfr
        }
    }
}
