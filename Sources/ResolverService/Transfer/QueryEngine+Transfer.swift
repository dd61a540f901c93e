import CoreMetrics
import DNS
import Daemon
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
        let clock = settings.secondsSince1970
        var client = client
        var request = message
        var signer: TSIGSigner?
        switch TSIGVerification.verify(Array(query.readableBytesView), keys: settings.keys.current, now: clock()) {
        case .unsigned: break
        case .malformed: return OutgoingTransfer(message.response(.formatError), nil, clock: clock)
        case .refused(let refusal):
            return OutgoingTransfer(message.response(.notAuthoritative), refusal, clock: clock)
        case .signed(let answering):
            signer = answering
            client.signer = answering.signer
            request.additionals.removeAll { $0.type == .tsig }
        }
        if let edns = request.edns, edns.version != 0 {
            return OutgoingTransfer(request.response(.badVersion), signer, clock: clock)
        }
        let outcome = answer(transfer: request, client)
        let source: OutgoingTransfer.Source
        switch outcome {
        case .failure, .current: return OutgoingTransfer(outcome.message(for: request), signer, clock: clock)
        case .records(let records): source = .records(records)
        case .signed(let zone): source = .signed(SignedTransfer(zone, now: settings.wallClock()))
        }
        guard let place = settings.transferPlaces.take() else {
            var response = request.response(.serverFailure)
            let error = ExtendedError(code: ExtendedError.notReadyCode, text: "too many transfers are under way")
            response.edns?.options.append(error.option)
            return OutgoingTransfer(response, signer, clock: clock)
        }
        settings.counters.transfers.increment()
        logger.info(
            "transfer",
            metadata: [
                "zone": "\(request.questions.first?.name ?? .root)", "to": "\(client.address?.ipAddress ?? "local")",
                "key": "\(client.signer?.description ?? "none")",
            ]
        )
        return OutgoingTransfer(request, source, signer, place: place, clock: clock)
    }

    /// The answer to a request for a zone where it can be only one message: the SOA record alone where differences are asked
    /// for, which tells whether there are any (RFC 1995 §2). A zone isn't to be had so (RFC 5936 §4.2).
    func answer(transferInOneMessage query: DNSMessage, _ type: RecordType, _ client: Client) -> DNSMessage {
        guard type == .ixfr else { return query.response(.formatError) }
        let outcome = answer(transfer: query, client)
        switch outcome {
        case .failure, .current: return outcome.message(for: query)
        case .records(let records): return TransferAnswer.current(records.next()).message(for: query)
        case .signed(let zone): return TransferAnswer.current(zone.zone.start).message(for: query)
        }
    }

    private func answer(transfer query: DNSMessage, _ client: Client) -> TransferAnswer {
        guard query.questions.count == 1, let question = query.questions.first else { return .failure(.formatError) }
        guard question.class == .internet else { return .failure(.notAuthoritative) }
        let zone: Zone
        switch names.route(question.name) {
        case .local(let found) where found.origin == question.name: zone = found
        // What there is of a broken zone isn't to be had from us now.
        case .broken where settings.localZones[question.name] != nil: return .failure(.serverFailure)
        default: return .failure(.notAuthoritative)
        }
        let list = settings.localZones[zone.origin]?.allowTransfer
        guard list?.allows(client.address?.addressOctets, signer: client.signer) == true else {
            settings.counters.refused.increment()
            return .failure(.refused)
        }
        guard let request = TransferRequest(query) else { return .failure(.formatError) }
        if let since = request.serial, !SerialNumber(zone.serial).isAfter(since) { return .current(zone.start) }
        // Each version has signatures of its own, so that there's no way to it but the whole.
        if let signed = names.signed(zone) { return .signed(signed) }
        guard let since = request.serial else { return .records(zone.transferRecords) }
        guard let differences = store?.differences(to: zone, from: since.rawValue) else {
            return .records(zone.transferRecords)
        }
        // RFC 1995 §4: between two times the SOA record of the last version.
        let records = [[zone.start]] + differences.map(\.records) + [[zone.start]]
        return .records(AnyIterator(records.lazy.joined().makeIterator()))
    }
}

/// What there is to say to a request for a zone.
private enum TransferAnswer {
    case failure(ResponseCode)
    /// The client has this version.
    case current(ResourceRecord?)
    case records(AnyIterator<ResourceRecord>)
    /// All of a zone that is to be signed.
    case signed(SignedZone)

    /// The answer that is one message.
    func message(for query: DNSMessage) -> DNSMessage {
        switch self {
        case .failure(let code): return query.response(code)
        case .current(let start):
            var response = query.response()
            response.flags.isAuthoritative = true
            response.answers = start.map { [$0] } ?? []
            return response
        case .records, .signed: return query.response(.serverFailure)
        }
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
