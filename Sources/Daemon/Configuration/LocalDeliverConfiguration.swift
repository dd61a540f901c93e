import NIOCore

/// `[local-deliver]`
package struct LocalDeliverConfiguration: Sendable {
    /// Where the mailboxes are.
    package var mailDirectory: String
    /// Whether `user+folder` goes to the folder of that name where it exists.
    package var extensionFolders: Bool
    /// Whether what goes to a list with an owner has a sender of its own for each member.
    package var variableListSenders: Bool
    /// Threads that wait for the disk.
    package var threads: Int
    /// Messages that share a wait for the disk.
    package var batch: Int
    /// How long an answer of authd is cached.
    package var expansionTime: TimeAmount

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        mailDirectory = try table.string("mail-directory", default: "mail")
        extensionFolders = try table.boolean("extension-folders", default: false)
        variableListSenders = try table.boolean("variable-list-senders", default: false)
        threads = try table.integer("threads", default: 4, in: 2...256)
        batch = try table.integer("batch", default: 200, in: 1...10_000)
        expansionTime = try table.duration("expansion-time", default: .seconds(1), in: .zero ... .minutes(1))
    }
}
