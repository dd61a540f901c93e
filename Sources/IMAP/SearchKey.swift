/// SEARCH (RFC 3501 §6.4.4) and its result options (RFC 4731).
package struct SearchCommand: Sendable, Equatable {
    package enum Result: Sendable, Equatable {
        case min
        case max
        case all
        case count
        /// RFC 5182: keeps what was found as `$`.
        case save
        /// RFC 9394
        case partial(PartialRange)
        /// How well each message matches (RFC 6203 §4).
        case relevancy
    }

    /// nil for the plain SEARCH response.
    package var results: [Result]?
    package var charset: [UInt8]?
    package var key: SearchKey

    package init(results: [Result]? = nil, charset: [UInt8]? = nil, key: SearchKey) {
        self.results = results
        self.charset = charset
        self.key = key
    }
}

/// Mailboxes that ESEARCH looks through (RFC 7377 §2.2, RFC 5465 §6).
package enum MailboxFilter: Sendable, Equatable {
    case selected
    /// Where mail arrives.
    case inboxes
    case personal
    case subscribed
    /// Mailboxes and all below them.
    case subtree([MailboxName])
    /// Mailboxes and those one level below.
    case subtreeOne([MailboxName])
    case mailboxes([MailboxName])
}

/// What a message must be like. Dates are days since 1970-01-01.
package indirect enum SearchKey: Sendable, Equatable {
    case all
    case sequence(SequenceSet)
    case uid(SequenceSet)
    /// Above and below that UID (RFC 9738 §3.2).
    case uidAfter(UInt32)
    case uidBefore(UInt32)
    /// What may match in part (RFC 6203 §3).
    case fuzzy(SearchKey)
    case flag(Flag)
    case new
    case recent
    /// INTERNALDATE, without time and zone.
    case before(Int)
    case on(Int)
    case since(Int)
    /// Arrived so many seconds ago, at most and at least (RFC 5032).
    case younger(Int)
    case older(Int)
    /// The Date field, without time and zone.
    case sentBefore(Int)
    case sentOn(Int)
    case sentSince(Int)
    case larger(Int)
    case smaller(Int)
    /// A header field whose value contains the text; an empty text: that has the field.
    case header(name: [UInt8], text: [UInt8])
    case body([UInt8])
    case text([UInt8])
    /// RFC 7162 §3.1.5
    case modSequence(UInt64)
    /// RFC 8474 §6
    case emailID([UInt8])
    case threadID([UInt8])
    /// When it was put into the mailbox, without time and zone (RFC 8514 §4.3).
    case savedBefore(Int)
    case savedOn(Int)
    case savedSince(Int)
    case saveDateSupported
    case not(SearchKey)
    case or(SearchKey, SearchKey)
    case and([SearchKey])

    /// Whether the body says so of this key or one within it.
    package func contains(_ isMeant: (SearchKey) -> Bool) -> Bool {
        if isMeant(self) { return true }
        switch self {
        case .not(let key), .fuzzy(let key): return key.contains(isMeant)
        case .or(let one, let other): return one.contains(isMeant) || other.contains(isMeant)
        case .and(let keys): return keys.contains { $0.contains(isMeant) }
        case .all, .sequence, .uid, .uidAfter, .uidBefore, .flag, .new, .recent, .before, .on, .since, .younger, .older,
            .sentBefore, .sentOn,
            .sentSince, .larger, .smaller, .header, .body, .text, .modSequence, .emailID, .threadID, .savedBefore,
            .savedOn, .savedSince, .saveDateSupported:
            return false
        }
    }

    /// Whether something in it may match in part.
    package var isFuzzy: Bool { contains { if case .fuzzy = $0 { true } else { false } } }

    /// The UIDs above one.
    package static func uids(after uid: UInt32) -> [ClosedRange<UInt32>] { uid < .max ? [uid + 1 ... .max] : [] }

    /// The UIDs below one.
    package static func uids(before uid: UInt32) -> [ClosedRange<UInt32>] { uid > 1 ? [1...uid - 1] : [] }
}
