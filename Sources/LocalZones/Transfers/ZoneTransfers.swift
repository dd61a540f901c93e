import CoreMetrics
import DNS
import Daemon
import NIOCore
import TSIG
import ZoneTransfer

/// Gives zones to others (RFC 5936, RFC 1995), so many at the same time.
package struct ZoneTransfers: Sendable {
    private let settings: ZoneSettings
    private let store: ZoneStore
    private let clock: Clocks
    private let counters: ZoneCounters
    private let places: TransferPlaces

    /// Which zone is asked for.
    package enum Asked {
        case zone(Zone, signed: SignedZone?)
        /// One of ours of which there is nothing to be had now.
        case broken
        case unknown
    }

    /// What there is to say to a request for a zone.
    package enum Answer {
        case failure(ResponseCode)
        /// The client has this version.
        case current(ResourceRecord?)
        case records(AnyIterator<ResourceRecord>)
        /// All of a zone that is to be signed.
        case signed(SignedZone)

        /// The answer that is one message.
        package func message(for query: DNSMessage) -> DNSMessage {
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

        /// The same in one message: the SOA record alone (RFC 1995 §2).
        package var start: Answer {
            switch self {
            case .failure, .current: self
            case .records(let records): .current(records.next())
            case .signed(let zone): .current(zone.zone.start)
            }
        }
    }

    package init(
        _ settings: ZoneSettings,
        store: ZoneStore,
        clock: Clocks,
        counters: ZoneCounters
    ) {
        self.settings = settings
        self.store = store
        self.clock = clock
        self.counters = counters
        places = TransferPlaces(settings.maximumTransfers)
    }

    /// What a client gets that asks for a zone.
    ///
    /// - Parameters:
    ///   - address: the client's, in network order.
    ///   - signer: the key that the query was signed with.
    package func answer(
        _ query: DNSMessage,
        _ asked: Asked,
        to address: [UInt8]?,
        signer: DomainName?
    ) -> Answer {
        let zone: Zone
        let signed: SignedZone?
        switch asked {
        case .zone(let found, let signing): (zone, signed) = (found, signing)
        case .broken: return .failure(.serverFailure)
        case .unknown: return .failure(.notAuthoritative)
        }
        guard settings.zones[zone.origin]?.allowTransfer.allows(address, signer: signer) == true else {
            return .failure(.refused)
        }
        guard let request = TransferRequest(query) else { return .failure(.formatError) }
        if let since = request.serial, !SerialNumber(zone.serial).isAfter(since) { return .current(zone.start) }
        // Each version has signatures of its own, so that there's no way to it but the whole.
        if let signed { return .signed(signed) }
        guard let since = request.serial, let differences = store.differences(to: zone, from: since.rawValue) else {
            return .records(zone.transferRecords)
        }
        // RFC 1995 §4: between two times the SOA record of the last version.
        let records = [[zone.start]] + differences.map(\.records) + [[zone.start]]
        return .records(AnyIterator(records.lazy.joined().makeIterator()))
    }

    /// Begins a transfer; one message says so where there is none, or no place for it.
    package func begin(_ answer: Answer, to query: DNSMessage, _ signer: TSIGSigner?) -> OutgoingTransfer {
        let source: OutgoingTransfer.Source
        switch answer {
        case .failure, .current: return single(answer.message(for: query), signer)
        case .records(let records): source = .records(records)
        case .signed(let zone): source = .signed(SignedTransfer(zone, now: clock.wallClock()))
        }
        guard let place = places.take() else {
            var response = query.response(.serverFailure)
            let error = ExtendedError(code: ExtendedError.notReadyCode, text: "too many transfers are under way")
            response.edns?.options.append(error.option)
            return single(response, signer)
        }
        counters.transfers.increment()
        return OutgoingTransfer(query, source, signer, place: place, clock: clock.secondsSince1970)
    }

    /// A message in the place of a transfer.
    package func single(_ message: DNSMessage, _ signer: TSIGSigner?) -> OutgoingTransfer {
        OutgoingTransfer(message, signer, clock: clock.secondsSince1970)
    }
}
