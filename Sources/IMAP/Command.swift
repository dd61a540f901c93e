import MIME

/// A command with its tag (RFC 3501 §2.2.1).
package struct TaggedCommand: Sendable, Equatable {
    package var tag: String
    package var command: Command

    package init(tag: String, command: Command) {
        self.tag = tag
        self.command = command
    }
}

/// A client command (RFC 3501 §6 and the extensions named at each case). APPEND is not among them: its message is
/// streamed (`AppendCommand`).
package enum Command: Sendable, Equatable {
    case capability
    case noop
    case logout
    /// RFC 2971; names and values.
    case id([IDField])

    case startTLS
    /// The initial response (RFC 4959) is base64, `=` for an empty one.
    case authenticate(mechanism: String, initialResponse: [UInt8]?)
    case login(user: [UInt8], password: [UInt8])

    case select(MailboxName)
    case examine(MailboxName)
    /// With special uses (RFC 6154 §3).
    case create(MailboxName, uses: [Flag])
    case delete(MailboxName)
    case rename(from: MailboxName, to: MailboxName)
    case subscribe(MailboxName)
    case unsubscribe(MailboxName)
    case list(ListCommand)
    case lsub(reference: [UInt8], pattern: [UInt8])
    case status(MailboxName, [StatusItem])
    /// RFC 2342
    case namespace
    /// RFC 5161
    case enable([String])
    /// RFC 2177
    case idle

    case check
    case close
    /// RFC 3691
    case unselect
    case expunge
    /// RFC 4315
    case uidExpunge(SequenceSet)
    case search(SearchCommand, byUID: Bool)
    case fetch(SequenceSet, [FetchItem], byUID: Bool)
    case store(SequenceSet, StoreChange, byUID: Bool)
    case copy(SequenceSet, MailboxName, byUID: Bool)
    /// RFC 6851
    case move(SequenceSet, MailboxName, byUID: Bool)
}

/// One field of ID (RFC 2971 §3.3).
package struct IDField: Sendable, Equatable {
    package var name: [UInt8]
    package var value: [UInt8]?

    package init(name: [UInt8], value: [UInt8]?) {
        self.name = name
        self.value = value
    }
}

/// APPEND (RFC 3501 §6.3.11) up to its message.
package struct AppendCommand: Sendable, Equatable {
    package var tag: String
    package var mailbox: MailboxName
    package var flags: [Flag]
    package var date: DateTime?
    /// Octets of the message.
    package var size: Int
    /// Whether the client waits for a continuation before it sends the message.
    package var isSynchronizing: Bool
}

/// LIST with its extensions (RFC 5258); plain LIST has one pattern and nothing selected.
package struct ListCommand: Sendable, Equatable {
    package var selection: [String] = []
    package var reference: [UInt8] = []
    package var patterns: [[UInt8]] = []
    package var returns: [String] = []
    /// RETURN (STATUS (…)) of RFC 5819.
    package var status: [StatusItem] = []
    /// Whether any of the extended syntax was used.
    package var isExtended = false

    package init() {}
}

/// What STATUS tells (RFC 3501 §6.3.10).
package enum StatusItem: String, Sendable, Equatable, CaseIterable {
    case messages = "MESSAGES"
    case recent = "RECENT"
    case uidNext = "UIDNEXT"
    case uidValidity = "UIDVALIDITY"
    case unseen = "UNSEEN"
    /// RFC 8438
    case size = "SIZE"
}

/// How STORE changes flags.
package struct StoreChange: Sendable, Equatable {
    package enum Operation: Sendable, Equatable {
        case replace
        case add
        case remove
    }

    package var operation: Operation
    package var isSilent: Bool
    package var flags: [Flag]

    package init(operation: Operation, isSilent: Bool, flags: [Flag]) {
        self.operation = operation
        self.isSilent = isSilent
        self.flags = flags
    }
}
