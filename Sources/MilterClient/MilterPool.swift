import Daemon
import NIOCore

/// Connections to milters that wait for the next client. Belongs to one event loop.
package final class MilterPool: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let loop: any EventLoop
    private var idle: [String: [MilterConversation]] = [:]
    /// Milters that didn't answer when a connection was opened, and how long that is remembered: one client waits for it,
    /// not all.
    private var hanging: [String: NIODeadline] = [:]
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

    /// Whether the milter was waited for in vain just now.
    func isHanging(_ milter: String) -> Bool {
        loop.assertInEventLoop()
        return hanging[milter].map { $0 > .now() } ?? false
    }

    /// A connection to it couldn't be opened in time.
    func noteHanging(_ milter: MilterConfiguration) {
        loop.assertInEventLoop()
        hanging[milter.name] = .now() + milter.connectTimeout
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
