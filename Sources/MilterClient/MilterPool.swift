import Daemon
import NIOCore

/// Connections to milters that wait for the next client. Belongs to one event loop.
package final class MilterPool: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let loop: any EventLoop
    private var idle: [String: [MilterConversation]] = [:]
    private static let maximumIdle = 16

    package init(on loop: any EventLoop) { self.loop = loop }

    func take(_ milter: String) -> MilterConversation? {
        loop.assertInEventLoop()
        while let last = idle[milter]?.popLast() {
            if last.isUsable { return last }
            last.drop()
        }
        return nil
    }

    /// Keeps a connection for the next client, where the configuration and the state that it's in allow that.
    func give(_ conversation: MilterConversation, of configuration: MilterConfiguration) {
        loop.assertInEventLoop()
        guard configuration.keepsConnections, conversation.mayBeKept, conversation.isUsable,
            idle[configuration.name, default: []].count < Self.maximumIdle
        else { return conversation.quit() }
        conversation.release()
        idle[configuration.name, default: []].append(conversation)
    }
}
