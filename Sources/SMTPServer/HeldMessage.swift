import MIME
import MilterClient
import NIOCore
import Policy

/// A message that is kept until milters have looked at it. Belongs to one event loop.
final class HeldMessage {
    let octets: HeldOctets
    private var finder = HeaderFinder(limits: limits)
    private var isOver = false

    /// Of the header: milters are told of each field.
    private static let limits = {
        var limits = StructureLimits()
        limits.header = MessageAuthentication.maximumHeader
        limits.headers = 2 * limits.header
        return limits
    }()

    init(_ octets: HeldOctets) { self.octets = octets }

    /// Whether there was no room for all of it.
    var isCut: Bool { octets.isCut }

    /// How many octets of it are the header, with the empty line; nil while that isn't known.
    var headerEnd: Int? { finder.header?.end }

    /// Whether milters can't be told all of the header.
    var isHeaderTooLong: Bool {
        if let header = finder.header {
            return header.end > Self.limits.header || header.block.hasMoreFields
        }
        return octets.count > Self.limits.header
    }

    func append(_ part: ByteBuffer) {
        if finder.header == nil { finder.feed(part) }
        octets.append(part)
    }

    /// The message is over.
    func finish() {
        guard !isOver else { return }
        isOver = true
        if finder.header == nil { finder.finish() }
    }
}
