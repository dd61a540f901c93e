/// One message on its way into one mailbox.
package struct Delivery: Sendable {
    package let location: MailboxLocation
    /// A Maildir++ folder to prefer to the inbox where it exists.
    package let folder: FolderName?
    /// What no other delivery has and this one has at every attempt: letters, digits and dots.
    package let key: String
    /// When the message arrived at this host. Seconds since 1970.
    package let arrived: Int
    /// For an mbox's `From ` line; empty for the null reverse-path.
    package let sender: String
    /// Header lines that go in front of the message, with LF line ends.
    package let prefix: [UInt8]
    /// The file that has the message, and where in it.
    package let source: OpenFile
    package let offset: Int
    package let octets: Int
    /// Whether an earlier attempt may have succeeded unnoticed.
    package let mayBeKnown: Bool

    package init(
        to location: MailboxLocation,
        folder: FolderName? = nil,
        key: String,
        arrived: Int,
        sender: String,
        prefix: [UInt8],
        source: OpenFile,
        offset: Int,
        octets: Int,
        mayBeKnown: Bool
    ) {
        self.location = location
        self.folder = folder
        self.key = key
        self.arrived = arrived
        self.sender = sender
        self.prefix = prefix
        self.source = source
        self.offset = offset
        self.octets = octets
        self.mayBeKnown = mayBeKnown
    }

    /// Reads the message in pieces of at most 64 KiB.
    func read(_ take: ([UInt8]) throws(MailboxError) -> Void) throws(MailboxError) {
        var position = 0
        while position < octets {
            let piece = try source.read(min(64 * 1024, octets - position), at: offset + position)
            guard !piece.isEmpty else { throw .corrupt("the message ends before its time") }
            position += piece.count
            try take(piece)
        }
    }
}

/// Turns CRLF into LF, over pieces of any size, and counts lines.
struct LineEndReducer {
    private var heldCR = false
    private(set) var lines = 0

    mutating func reduce(_ piece: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(piece.count + 1)
        var start = 0
        piece.withUnsafeBufferPointer { octets in
            for index in octets.indices {
                let octet = octets[index]
                if heldCR {
                    heldCR = false
                    if octet != 10 { output.append(13) }
                }
                if octet == 13 {
                    output.append(contentsOf: octets[start..<index])
                    start = index + 1
                    heldCR = true
                } else if octet == 10 {
                    lines += 1
                }
            }
            if start < octets.count { output.append(contentsOf: octets[start...]) }
        }
        return output
    }

    /// What was held back at the end.
    mutating func finish() -> [UInt8] {
        defer { heldCR = false }
        return heldCR ? [13] : []
    }
}
