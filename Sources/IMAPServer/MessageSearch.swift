import IMAP
import MIME
import Mailbox

/// A message that SEARCH tests; its header is read once, when a key first needs it.
struct SearchCandidate {
    let message: StoredMessage
    let number: UInt32
    let flags: Set<Flag>
    let folder: any MailFolder
    private var header: HeaderBlock?

    init(_ message: StoredMessage, number: UInt32, flags: Set<Flag>, folder: any MailFolder) {
        self.message = message
        self.number = number
        self.flags = flags
        self.folder = folder
    }

    func octets() throws(MailboxError) -> Int {
        if let known = message.octets { return known }
        return try folder.octets(of: message.uid)
    }

    mutating func headerBlock() throws(MailboxError) -> HeaderBlock {
        if let header { return header }
        let reader = try folder.open(message.uid)
        let block = try MessageContent.header(reader).block
        header = block
        return block
    }
}

/// A search key ready to be applied: sets are resolved.
struct MessageSearch: Sendable {
    private indirect enum Test: Sendable {
        case key(SearchKey)
        case numbers([ClosedRange<UInt32>])
        case uids([ClosedRange<UInt32>])
        case not(Test)
        case or(Test, Test)
        case all([Test])
    }

    private let test: Test
    /// Whether anything must be read from the disk.
    let needsDisk: Bool
    let usesKeywords: Bool

    init(_ key: SearchKey, last: (number: UInt32, uid: UInt32?)) {
        var needsDisk = false
        var usesKeywords = false
        test = Self.resolve(key, last: last, &needsDisk, &usesKeywords)
        self.needsDisk = needsDisk
        self.usesKeywords = usesKeywords
    }

    private static func resolve(
        _ key: SearchKey,
        last: (number: UInt32, uid: UInt32?),
        _ needsDisk: inout Bool,
        _ usesKeywords: inout Bool
    ) -> Test {
        switch key {
        case .sequence(let set): return .numbers(set.ranges(last: last.number > 0 ? last.number : nil))
        case .uid(let set): return .uids(set.ranges(last: last.uid))
        case .not(let key): return .not(resolve(key, last: last, &needsDisk, &usesKeywords))
        case .or(let one, let other):
            return .or(
                resolve(one, last: last, &needsDisk, &usesKeywords),
                resolve(other, last: last, &needsDisk, &usesKeywords)
            )
        case .and(let keys):
            // What costs nothing comes first.
            var cheap: [Test] = []
            var costly: [Test] = []
            for key in keys {
                var isCostly = false
                let test = resolve(key, last: last, &isCostly, &usesKeywords)
                if isCostly { costly.append(test) } else { cheap.append(test) }
                needsDisk = needsDisk || isCostly
            }
            return .all(cheap + costly)
        case .flag:
            usesKeywords = true
            return .key(key)
        case .all, .new, .recent: return .key(key)
        case .before, .on, .since, .sentBefore, .sentOn, .sentSince, .larger, .smaller, .header, .body, .text:
            needsDisk = true
            return .key(key)
        }
    }

    func matches(_ candidate: inout SearchCandidate) throws(MailboxError) -> Bool {
        try Self.matches(test, &candidate)
    }

    private static func matches(_ test: Test, _ candidate: inout SearchCandidate) throws(MailboxError) -> Bool {
        switch test {
        case .numbers(let ranges): return ranges.contains { $0.contains(candidate.number) }
        case .uids(let ranges): return ranges.contains { $0.contains(candidate.message.uid) }
        case .not(let test): return try !matches(test, &candidate)
        case .or(let one, let other):
            if try matches(one, &candidate) { return true }
            return try matches(other, &candidate)
        case .all(let tests):
            for test in tests where try !matches(test, &candidate) { return false }
            return true
        case .key(let key): return try matches(key, &candidate)
        }
    }

    private static func matches(_ key: SearchKey, _ candidate: inout SearchCandidate) throws(MailboxError) -> Bool {
        let message = candidate.message
        switch key {
        case .flag(let flag): return candidate.flags.contains(flag)
        case .new: return message.isRecent && !message.flags.contains(.seen)
        case .recent: return message.isRecent
        case .before(let day): return try arrival(candidate) < day
        case .on(let day): return try arrival(candidate) == day
        case .since(let day): return try arrival(candidate) >= day
        case .sentBefore(let day): return try sent(&candidate).map { $0 < day } ?? false
        case .sentOn(let day): return try sent(&candidate).map { $0 == day } ?? false
        case .sentSince(let day): return try sent(&candidate).map { $0 >= day } ?? false
        case .larger(let size): return try candidate.octets() > size
        case .smaller(let size): return try candidate.octets() < size
        case .header(let name, let text):
            let values = try candidate.headerBlock().all(name)
            let wanted = TextMatcher.foldField(text)
            return values.contains { TextMatcher.contains(TextMatcher.foldField(EncodedWords.decode($0)), wanted) }
        case .body(let text): return try TextSearch(text).matches(candidate, includingHeader: false)
        case .text(let text): return try TextSearch(text).matches(candidate, includingHeader: true)
        case .all: return true
        // Not keys any more, but tests of their own (`resolve`).
        case .sequence, .uid, .not, .or, .and: return false
        }
    }

    private static func arrival(_ candidate: SearchCandidate) throws(MailboxError) -> Int {
        DateTime(secondsSince1970: try candidate.folder.internalDate(of: candidate.message.uid)).dayNumber
    }

    private static func sent(_ candidate: inout SearchCandidate) throws(MailboxError) -> Int? {
        try candidate.headerBlock().first("date").flatMap { DateTime(field: $0)?.dayNumber }
    }
}
