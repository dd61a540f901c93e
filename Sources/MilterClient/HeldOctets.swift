import Milter
import NIOConcurrencyHelpers
import NIOCore

/// How much of messages that milters look at is in memory, of all clients and of each.
package final class MilterMemory: Sendable {
    private struct Use {
        var all = 0
        var clients: [[UInt8]: Int] = [:]
    }

    private let use = NIOLockedValueBox(Use())
    private let limit: Int
    private let clientLimit: Int

    /// - Parameters:
    ///   - limit: octets of all messages together.
    ///   - clientLimit: octets of the messages of one client.
    package init(limit: Int, clientLimit: Int) {
        self.limit = limit
        self.clientLimit = min(clientLimit, limit)
    }

    /// Octets that are held now.
    package var held: Int { use.withLockedValue { $0.all } }

    func take(_ octets: Int, for client: [UInt8]) -> Bool {
        use.withLockedValue { use in
            let own = use.clients[client, default: 0] + octets
            // However many clients there are, each leaves as much free as it has, so that one that comes finds room.
            guard own <= clientLimit, own <= limit - use.all else { return false }
            use.all += octets
            use.clients[client] = own
            return true
        }
    }

    func give(_ octets: Int, of client: [UInt8]) {
        use.withLockedValue { use in
            use.all -= octets
            let own = use.clients[client, default: 0] - octets
            use.clients[client] = own > 0 ? own : nil
        }
    }
}

/// Octets of a message, in pieces that a milter takes at once. They count for as long as this exists.
package final class HeldOctets {
    package private(set) var pieces: [ByteBuffer] = []
    package private(set) var count = 0
    /// Whether there was no room for something, so that not all is there.
    package private(set) var isCut = false

    private let memory: MilterMemory
    private let client: [UInt8]

    /// - Parameter client: whom they count for.
    package init(_ memory: MilterMemory, client: [UInt8]) {
        self.memory = memory
        self.client = client
    }

    deinit { memory.give(count, of: client) }

    /// Room for others of the same client.
    func another() -> HeldOctets { HeldOctets(memory, client: client) }

    /// Appends a copy: what comes in small pieces isn't held in large buffers.
    package func append(_ octets: ByteBuffer) {
        guard !isCut else { return }
        guard memory.take(octets.readableBytes, for: client) else {
            isCut = true
            return
        }
        count += octets.readableBytes
        var rest = octets
        while rest.readableBytes > 0 {
            let room = MilterEvent.maximumBody - (pieces.last?.readableBytes ?? MilterEvent.maximumBody)
            if room == 0 {
                pieces.append(ByteBuffer())
                continue
            }
            guard var part = rest.readSlice(length: min(room, rest.readableBytes)) else { return }
            pieces[pieces.count - 1].writeBuffer(&part)
        }
    }
}
