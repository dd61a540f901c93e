import Logging

/// Says in the log who removed which messages: by the names that their files came with, which have the IDs that the queue knew
/// them by (`martlet trace`).
package struct RemovalLog {
    private let logger: Logger
    private let metadata: Logger.Metadata

    /// Messages that one line is about.
    private static let messagesInALine = 20

    /// - Parameters:
    ///   - address: whose session it is.
    ///   - folder: where the messages were.
    ///   - target: where they are now; nil where they are gone.
    package init(_ logger: Logger, address: String, folder: String, target: String? = nil) {
        self.logger = logger
        var metadata: Logger.Metadata = ["address": .string(address), "folder": .string(folder)]
        if let target { metadata["to"] = .string(target) }
        self.metadata = metadata
    }

    /// - Parameters:
    ///   - uids: of the messages.
    ///   - names: what their files came as, where that is known.
    package func write(_ event: String, _ uids: [UInt32], _ names: [UInt32: String]) {
        var rest = uids[...]
        while !rest.isEmpty {
            let some = rest.prefix(Self.messagesInALine)
            rest = rest.dropFirst(some.count)
            var metadata = metadata
            metadata["uids"] = .string(some.map { String($0) }.joined(separator: ","))
            let files = some.compactMap { names[$0] }
            if !files.isEmpty { metadata["files"] = .string(files.joined(separator: " ")) }
            logger.info("\(event)", metadata: metadata)
        }
    }
}
