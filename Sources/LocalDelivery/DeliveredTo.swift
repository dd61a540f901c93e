import Deliverer
import NIOCore
import SMTP

/// The addresses that a message was delivered to before, as the Delivered-To fields of its header say.
struct DeliveredTo {
    /// How much of a message is searched for the end of its header. Octets.
    private static let maximumHeader = 256 * 1024
    /// Of a longer line the rest is passed over. Octets.
    private static let maximumLine = 1024
    private static let name = Array("delivered-to:".utf8)

    /// In lower case.
    private var addresses: Set<[UInt8]> = []
    private var isComplete = false
    /// A line that the last piece did not end.
    private var line: [UInt8] = []

    init() {}

    /// Reads the header of a message, of one that comes in pieces no more than is needed.
    init(_ message: MessageSource) async throws(MessageSourceError) {
        if let whole = message.whole {
            scan(message.added)
            let count = min(whole.readableBytes, Self.maximumHeader)
            scan(whole.getSlice(at: whole.readerIndex, length: count) ?? whole)
            return
        }
        let reader = message.reader(ahead: 1)
        var count = 0
        while !isComplete, count < Self.maximumHeader, let piece = try await reader.next() {
            count += piece.readableBytes
            scan(piece)
        }
    }

    /// Whether mail for the address goes round in a loop.
    func contains(_ address: MailAddress) -> Bool {
        !addresses.isEmpty && addresses.contains(Self.lowercased(address.description.utf8))
    }

    /// Scans the next octets of the message.
    mutating func scan(_ piece: ByteBuffer) {
        var rest = piece.readableBytesView[...]
        while !isComplete, let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            if line.isEmpty {
                scan(line: rest[..<end])
            } else {
                line += rest[..<end].prefix(Self.maximumLine)
                scan(line: line[...])
                line.removeAll(keepingCapacity: true)
            }
            rest = rest[(end + 1)...]
        }
        if !isComplete, line.count < Self.maximumLine { line += rest.prefix(Self.maximumLine) }
    }

    private mutating func scan(line: some BidirectionalCollection<UInt8>) {
        guard let first = line.first, line.count > 1 || first != UInt8(ascii: "\r") else {
            isComplete = true
            return
        }
        guard first | 0x20 == Self.name[0], Self.lowercased(line.prefix(Self.name.count)) == Self.name else { return }
        let value = line.dropFirst(Self.name.count).drop { $0 == 0x20 || $0 == 0x09 }
        addresses.insert(Self.lowercased(value.last == UInt8(ascii: "\r") ? value.dropLast() : value))
    }

    private static func lowercased(_ octets: some Sequence<UInt8>) -> [UInt8] {
        octets.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }
    }
}
