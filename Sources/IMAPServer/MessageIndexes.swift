import Logging
import MailIndex
import Mailbox
import NIOConcurrencyHelpers

/// The indexes of the accounts whose sessions use them. One that nobody uses any more is closed.
final class MessageIndexes: Sendable {
    private struct Weak {
        weak var index: MessageIndex?
    }

    private let indexes = NIOLockedValueBox<[String: Weak]>([:])
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    /// An account's index.
    ///
    /// - Parameter path: of its file.
    func index(_ path: String) -> MessageIndex {
        indexes.withLockedValue { indexes in
            if let known = indexes[path]?.index { return known }
            let logger = logger
            let made = MessageIndex(path: path) { fault in
                logger.warning("index not used", metadata: ["file": "\(path)", "reason": "\(fault)"])
            }
            if indexes.count > 2 * indexes.values.count(where: { $0.index != nil }) + 16 {
                indexes = indexes.filter { $0.value.index != nil }
            }
            indexes[path] = Weak(index: made)
            return made
        }
    }
}
