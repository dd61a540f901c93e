import Mailbox
import SMTP

/// Finds out whether a message was delivered to the same address before (a Delivered-To field of ours names it).
enum LoopDetection {
    /// How much of a message is searched for its header. Octets.
    private static let maximumHeader = 256 * 1024
    private static let name = Array("delivered-to:".utf8)

    /// Whether the header has a Delivered-To field with the address. Blocks on the disk.
    static func hasBeenDelivered(_ request: DeliveryRequest) throws(MailboxError) -> Bool {
        let address = Array(request.recipient.address.description.lowercased().utf8)
        var position = 0
        var line: [UInt8] = []
        while position < min(request.octets, maximumHeader) {
            let piece = try request.file.read(min(16 * 1024, request.octets - position), at: request.offset + position)
            if piece.isEmpty { return false }
            position += piece.count
            for octet in piece {
                guard octet == 10 else {
                    if line.count < 1024 { line.append(octet) }
                    continue
                }
                if line.last == 13 { line.removeLast() }
                if line.isEmpty { return false }
                if isDelivered(line, to: address) { return true }
                line.removeAll(keepingCapacity: true)
            }
        }
        return false
    }

    private static func isDelivered(_ line: [UInt8], to address: [UInt8]) -> Bool {
        guard line.count > name.count, lowercased(line.prefix(name.count)) == name else { return false }
        let value = line.dropFirst(name.count).drop { $0 == 0x20 || $0 == 0x09 }
        return lowercased(value) == address
    }

    private static func lowercased(_ octets: some Sequence<UInt8>) -> [UInt8] {
        octets.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }
    }
}
