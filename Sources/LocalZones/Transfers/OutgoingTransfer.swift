import DNS
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import TSIG
import ZoneTransfer

/// The answer to a request for a zone on a stream: one message after the other, each made when it's to be sent, all from
/// one version of the zone (RFC 5936 §3), and signed where the request was (RFC 8945 §5.3.1).
package final class OutgoingTransfer {
    /// What there is to send.
    enum Source {
        case records(AnyIterator<ResourceRecord>)
        /// What has to be signed first.
        case signed(SignedTransfer)
    }

    /// Records that were signed and aren't in a message yet.
    private final class Queue {
        var records: ArraySlice<ResourceRecord> = []
    }

    /// The zone that was asked for.
    package let zone: DomainName?
    /// Whether it's more than one message that says so.
    package var isOfZone: Bool { writer != nil }
    private var writer: TransferWriter<AnyIterator<ResourceRecord>>?
    private var signing: SignedTransfer?
    private let queue = Queue()
    /// The only message, where there is nothing to transfer.
    private var single: DNSMessage?
    private var signer: TSIGSigner?
    private let clock: @Sendable () -> UInt64
    private var place: TransferPlaces.Place?

    /// - Parameter place: held until the transfer is over.
    init(
        _ query: DNSMessage,
        _ source: Source,
        _ signer: TSIGSigner?,
        place: TransferPlaces.Place,
        clock: @escaping @Sendable () -> UInt64
    ) {
        zone = query.questions.first?.name
        let records: AnyIterator<ResourceRecord>
        switch source {
        case .records(let all): records = all
        case .signed(let zone):
            signing = zone
            records = AnyIterator { [queue] in queue.records.popFirst() }
        }
        writer = TransferWriter(answering: query, with: records, reserve: signer?.overhead ?? 0)
        self.signer = signer
        self.place = place
        self.clock = clock
    }

    /// One message and no transfer.
    init(_ message: DNSMessage, _ signer: TSIGSigner?, clock: @escaping @Sendable () -> UInt64) {
        zone = message.questions.first?.name
        single = message
        self.signer = signer
        self.clock = clock
    }

    /// The next message; nil after the last one.
    ///
    /// - Throws: where a record is too long, or can't be signed: the transfer must be seen to have failed then.
    package func next() async throws -> ByteBuffer? {
        if let message = single {
            single = nil
            return signed(message.encode(maximum: DNSMessage.maximumOctets - (signer?.overhead ?? 0)))
        }
        if let signing, queue.records.isEmpty {
            queue.records = try await NIOThreadPool.singleton.runIfActive { try signing.next() }[...]
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
