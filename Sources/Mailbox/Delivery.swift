import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// The content of a message to deliver.
package protocol DeliverySource: Sendable {
    /// Its size.
    var octets: Int { get }

    /// Passes all octets in order, in pieces. May block until more arrive.
    ///
    /// - Throws: what the closure throws; `corrupt` if the octets can't be obtained.
    func read(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError)
}

/// The delivery of one message into one mailbox.
package struct Delivery: Sendable {
    package let location: MailboxLocation
    /// Goes into the folder for Junk, which is made if it's missing; in an mbox, which has no folders, into the inbox.
    package let isJunk: Bool
    /// A Maildir++ folder to use instead of the inbox if it exists.
    package let folder: FolderName?
    /// Identifies this delivery, the same at every attempt: letters, digits and dots.
    package let key: String
    /// When the message arrived at this host. Seconds since 1970.
    package let arrived: Int
    /// For an mbox's `From ` line; empty for the null reverse-path.
    package let sender: String
    /// Header lines that go in front of the message, with LF line ends.
    package let prefix: [UInt8]
    /// The message.
    package let source: any DeliverySource
    /// Whether an earlier attempt may have succeeded without being acknowledged.
    package let mayBeKnown: Bool

    /// How the name of its file in a Maildir begins; nil in an mbox.
    package var fileName: String? {
        switch location.format {
        case .maildir, .maildirTree: fileNameBeginning
        case .mbox: nil
        }
    }

    /// The host's name, which may change, comes behind it, and what depends on the content.
    var fileNameBeginning: String { "\(arrived).Q\(key)." }

    package init(
        to location: MailboxLocation,
        isJunk: Bool = false,
        folder: FolderName? = nil,
        key: String,
        arrived: Int,
        sender: String,
        prefix: [UInt8],
        source: any DeliverySource,
        mayBeKnown: Bool
    ) {
        self.location = location
        self.isJunk = isJunk
        self.folder = folder
        self.key = key
        self.arrived = arrived
        self.sender = sender
        self.prefix = prefix
        self.source = source
        self.mayBeKnown = mayBeKnown
    }

    /// Of the message, without the prefix.
    var octets: Int { source.octets }

    /// Reads the message in pieces.
    ///
    /// - Throws: `corrupt` also if the size is wrong.
    func read(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError) {
        var count = 0
        try source.read { piece throws(MailboxError) in
            count += piece.readableBytes
            try consume(piece)
        }
        guard count == octets else { throw .corrupt("the message is incomplete") }
    }
}

/// Turns CRLF into LF, over pieces of any size, and counts lines.
struct LineEndReducer {
    private var heldCR = false
    private(set) var lines = 0

    mutating func reduce(_ piece: ByteBuffer, into output: inout [UInt8]) {
        output.reserveCapacity(output.count + piece.readableBytes + 1)
        piece.withUnsafeReadableBytes { octets in
            lines += octets.count { $0 == 10 }
            if heldCR, let first = octets.first {
                heldCR = false
                if first != 10 { output.append(13) }
            }
            var start = 0
            while let end = Self.nextCR(in: octets, from: start) {
                output.append(contentsOf: octets[start..<end])
                start = end + 1
                heldCR = start == octets.count
                if !heldCR, octets[start] != 10 { output.append(13) }
            }
            output.append(contentsOf: octets[start...])
        }
    }

    private static func nextCR(in octets: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < octets.count, let base = octets.baseAddress else { return nil }
        return memchr(base + start, 13, octets.count - start).map { base.distance(to: UnsafeRawPointer($0)) }
    }

    /// What was held back at the end.
    mutating func finish() -> [UInt8] {
        defer { heldCR = false }
        return heldCR ? [13] : []
    }
}
