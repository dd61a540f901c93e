import DNS
import NIOConcurrencyHelpers
import NIOCore
import TSIG
import ZoneTransfer

/// The answer to a request for a zone on a stream: one message after the other, each made when it's to be sent, all from
/// one version of the zone (RFC 5936 §3), and signed where the request was (RFC 8945 §5.3.1).
final class OutgoingTransfer {
    private var writer: TransferWriter<AnyIterator<ResourceRecord>>?
    /// The only message, where there is nothing to transfer.
    private var single: DNSMessage?
    private var signer: TSIGSigner?
    private let clock: @Sendable () -> UInt64
    private var place: TransferPlaces.Place?

    /// - Parameter place: held until the transfer is over.
    init(
        _ query: DNSMessage,
        _ records: AnyIterator<ResourceRecord>,
        _ signer: TSIGSigner?,
        place: TransferPlaces.Place,
        clock: @escaping @Sendable () -> UInt64
    ) {
        writer = TransferWriter(answering: query, with: records, reserve: signer?.overhead ?? 0)
        self.signer = signer
        self.place = place
        self.clock = clock
    }

    /// One message and no transfer.
    init(_ message: DNSMessage, _ signer: TSIGSigner?, clock: @escaping @Sendable () -> UInt64) {
        single = message
        self.signer = signer
        self.clock = clock
    }

    /// The next message; nil after the last one.
    ///
    /// - Throws: where a record is too long: the transfer must be seen to have failed then.
    func next() throws(TransferError) -> ByteBuffer? {
        if let message = single {
            single = nil
            return signed(message.encode(maximum: DNSMessage.maximumOctets - (signer?.overhead ?? 0)))
        }
        guard let octets = try writer?.next() else {
            place = nil
            return nil
        }
        return signed(octets)
    }

    private func signed(_ octets: [UInt8]) -> ByteBuffer {
        ByteBuffer(bytes: signer?.sign(octets, now: clock()) ?? octets)
    }
}

/// How many transfers to others may be under way.
final class TransferPlaces: Sendable {
    private let free: NIOLockedValueBox<Int>

    init(_ count: Int) { free = NIOLockedValueBox(count) }

    /// One of them; it's free again when this goes.
    final class Place: Sendable {
        private let places: TransferPlaces

        fileprivate init(_ places: TransferPlaces) { self.places = places }

        deinit { places.free.withLockedValue { $0 += 1 } }
    }

    /// nil where all are taken.
    func take() -> Place? {
        let isFree = free.withLockedValue { free in
            guard free > 0 else { return false }
            free -= 1
            return true
        }
        return isFree ? Place(self) : nil
    }
}
