import IMAP
import Mailbox

/// How many messages a command may be about (RFC 9738).
extension MailboxSession {
    /// The last ones of the places where there are too many, and the code that says so.
    func limited(_ places: [Int], of selected: SelectedFolder) -> (places: [Int], code: ResponseCode?) {
        let limit = settings.capabilities.messagesPerCommand
        guard limit > 0, places.count > limit else { return (places, nil) }
        let some = Array(places.suffix(limit))
        return (some, .messageLimit(limit, lowest: some.first.map { selected.known[$0].uid }))
    }

    /// For commands that do all or nothing.
    func requireLimited(_ places: [Int], of selected: SelectedFolder) throws(Refusal) {
        if let code = limited(places, of: selected).code {
            throw Refusal(code: code, text: "too many messages at once")
        }
    }

    /// Where a search begins, so that it looks at no more messages than it may: at the last ones of those that the key's own sets
    /// name.
    func searchStart(_ key: SearchKey, in place: FoundIn) -> (start: Int, code: ResponseCode?) {
        let limit = settings.capabilities.messagesPerCommand
        guard limit > 0, place.messages.count > limit else { return (0, nil) }
        let context = SearchContext(place.messages, saved: place.saved, now: 0)
        let named = NamedMessages(key, in: context)
        var count = 0
        var lowest: UInt32?
        for start in place.messages.indices.reversed() {
            let uid = place.messages[start].uid
            guard named.contain(number: UInt32(clamping: start + 1), uid: uid) else { continue }
            guard count < limit else { return (start + 1, .messageLimit(limit, lowest: lowest)) }
            count += 1
            lowest = uid
        }
        return (0, nil)
    }
}

/// The messages that a search key names by numbers and UIDs: all others can't match, and aren't looked at.
private struct NamedMessages {
    private var numbers: [[ClosedRange<UInt32>]] = []
    private var uids: [[ClosedRange<UInt32>]] = []

    init(_ key: SearchKey, in context: SearchContext) { add(key, context) }

    private mutating func add(_ key: SearchKey, _ context: SearchContext) {
        switch key {
        case .sequence(let set) where set.isSaved: uids.append(context.saved)
        case .uid(let set) where set.isSaved: uids.append(context.saved)
        case .sequence(let set): numbers.append(set.ranges(last: context.lastNumber))
        case .uid(let set): uids.append(set.ranges(last: context.lastUID))
        case .uidAfter(let uid): uids.append(SearchKey.uids(after: uid))
        case .uidBefore(let uid): uids.append(SearchKey.uids(before: uid))
        case .fuzzy(let key): add(key, context)
        case .and(let keys): for key in keys { add(key, context) }
        case .all, .flag, .new, .recent, .before, .on, .since, .younger, .older, .sentBefore, .sentOn, .sentSince,
            .larger, .smaller, .header, .body, .text, .modSequence, .emailID, .threadID, .savedBefore, .savedOn,
            .savedSince, .saveDateSupported, .not, .or:
            break
        }
    }

    func contain(number: UInt32, uid: UInt32) -> Bool {
        numbers.allSatisfy { SequenceSet.contains($0, number) } && uids.allSatisfy { SequenceSet.contains($0, uid) }
    }
}
