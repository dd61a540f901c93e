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

/// A client command (RFC 3501 §6 and the extensions named at each case). APPEND and REPLACE are not among them: their
/// messages are streamed (`AppendStep`).
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

    case select(MailboxName, SelectModifiers)
    case examine(MailboxName, SelectModifiers)
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
    /// RFC 4978; the algorithm's name in capitals.
    case compress(String)
    /// RFC 8437
    case unauthenticate
    /// RFC 9208
    case getQuota(root: [UInt8])
    case getQuotaRoot(MailboxName)
    /// RFC 4314
    case getACL(MailboxName)
    case setACL(MailboxName, identifier: [UInt8], RightsChange)
    case deleteACL(MailboxName, identifier: [UInt8])
    case listRights(MailboxName, identifier: [UInt8])
    case myRights(MailboxName)
    /// RFC 5464
    case getMetadata(GetMetadataCommand)
    /// The mailbox is nil for the server's own annotations.
    case setMetadata(MailboxName?, [AnnotationValue])

    case check
    case close
    /// RFC 3691
    case unselect
    case expunge
    /// RFC 4315
    case uidExpunge(SequenceSet)
    case search(SearchCommand, byUID: Bool)
    /// RFC 5256
    case sort(SortCommand, byUID: Bool)
    case thread(ThreadCommand, byUID: Bool)
    /// ESEARCH (RFC 7377): the messages of several mailboxes, always by UID.
    case multiSearch([MailboxFilter], SearchCommand)
    case fetch(SequenceSet, [FetchItem], FetchModifiers = FetchModifiers(), byUID: Bool)
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

/// Parameters of SELECT and EXAMINE (RFC 4466 §2.4).
package struct SelectModifiers: Sendable, Equatable {
    /// What a client remembers of a mailbox (RFC 7162 §3.2.5).
    package struct Known: Sendable, Equatable {
        package var uidValidity: UInt32
        package var modSequence: UInt64
        package var uids: SequenceSet?
        /// Message numbers and the UIDs that they had.
        package var match: SequenceMatch?
    }

    package struct SequenceMatch: Sendable, Equatable {
        package var numbers: SequenceSet
        package var uids: SequenceSet
    }

    /// RFC 7162 §3.1.8
    package var condStore = false
    package var known: Known?

    package init() {}
}

/// Modifiers of FETCH (RFC 4466 §2.5).
package struct FetchModifiers: Sendable, Equatable {
    /// Only messages that changed since (RFC 7162 §3.1.4.1).
    package var changedSince: UInt64?
    /// And the UIDs of those that are gone (RFC 7162 §3.2.6).
    package var vanished = false
    /// Only some of the messages (RFC 9394 §3.3).
    package var partial: PartialRange?

    package init() {}
}

/// Some of a list of results (RFC 9394 §3.1): places that count from 1; from the end where the range is of the last ones.
package struct PartialRange: Sendable, Equatable {
    package var first: Int
    package var last: Int
    /// Whether places count from the end.
    package var isFromEnd: Bool

    package init(_ first: Int, _ last: Int, isFromEnd: Bool = false) {
        self.first = min(first, last)
        self.last = max(first, last)
        self.isFromEnd = isFromEnd
    }

    /// The places, from 0, in a list of so many.
    package func places(of count: Int) -> Range<Int> {
        let low = min(first - 1, count)
        let high = min(last, count)
        return isFromEnd ? count - high..<count - low : low..<high
    }

    package var text: String { isFromEnd ? "-\(first):-\(last)" : "\(first):\(last)" }
}

/// LIST with its extensions (RFC 5258); plain LIST has one pattern and nothing selected.
package struct ListCommand: Sendable, Equatable {
    /// RFC 5258 §3.1 and RFC 6154 §2
    package enum Selection: String, Sendable, Equatable, CaseIterable {
        case subscribed = "SUBSCRIBED"
        case remote = "REMOTE"
        case recursiveMatch = "RECURSIVEMATCH"
        case specialUse = "SPECIAL-USE"
    }

    /// RFC 5258 §3.2 and RFC 6154 §2
    package enum Return: String, Sendable, Equatable, CaseIterable {
        case subscribed = "SUBSCRIBED"
        case children = "CHILDREN"
        case specialUse = "SPECIAL-USE"
        /// RFC 8440
        case myRights = "MYRIGHTS"
    }

    package var selection: [Selection] = []
    package var reference: [UInt8] = []
    package var patterns: [[UInt8]] = []
    package var returns: [Return] = []
    /// RETURN (STATUS (…)) of RFC 5819.
    package var status: [StatusItem] = []
    /// RETURN (METADATA (…)) of RFC 9590.
    package var annotations: [AnnotationName] = []
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
    /// RFC 9051 §6.3.11: messages with \Deleted, and what their removal would free in units of 1,024 octets (RFC 9208
    /// §4.1.4).
    case deleted = "DELETED"
    case deletedStorage = "DELETED-STORAGE"
    /// RFC 7889 §4
    case appendLimit = "APPENDLIMIT"
    /// RFC 8474 §4.3
    case mailboxID = "MAILBOXID"
    /// RFC 7162 §3.1.7
    case highestModSequence = "HIGHESTMODSEQ"
}

/// How SETACL changes rights (RFC 4314 §3.1).
package struct RightsChange: Sendable, Equatable {
    package var operation: StoreChange.Operation
    /// Letters of rights, `c` and `d` of RFC 2086 among them.
    package var letters: [UInt8]

    package init(_ operation: StoreChange.Operation, _ letters: [UInt8]) {
        self.operation = operation
        self.letters = letters
    }
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
    /// Only messages that haven't changed since (RFC 7162 §3.1.3).
    package var unchangedSince: UInt64?

    package init(operation: Operation, isSilent: Bool, flags: [Flag], unchangedSince: UInt64? = nil) {
        self.operation = operation
        self.isSilent = isSilent
        self.flags = flags
        self.unchangedSince = unchangedSince
    }
}
