import IMAP
import MIME
import MailIndex
import Mailbox

/// A message that SEARCH tests. What was read and answered is kept, so that the test can be broken off and taken up again.
struct SearchCandidate {
    let message: StoredMessage
    let number: UInt32
    let flags: Set<Flag>
    /// 0 where it isn't searched for, or there is none.
    let sequence: UInt64
    let folder: any MailFolder
    /// What keys that cost something have answered.
    fileprivate var answers: [Int: Bool] = [:]
    /// How well keys that may match in part have matched.
    fileprivate var scores: [Int: Int] = [:]
    /// The text key that is being searched for.
    fileprivate var text: TextScan?
    private var content: ScannedMessage
    /// What the index has of the messages, and this one's place there.
    private let window: ItemWindow?

    init(
        _ message: StoredMessage,
        number: UInt32,
        flags: Set<Flag>,
        sequence: UInt64,
        folder: any MailFolder,
        window: ItemWindow?
    ) {
        self.message = message
        self.sequence = sequence
        self.number = number
        self.flags = flags
        self.folder = folder
        self.window = window
        content = ScannedMessage(uid: message.uid, in: folder)
    }

    func octets() throws(MailboxError) -> Int {
        if let known = message.octets { return known }
        return try folder.octets(of: message.uid)
    }

    mutating func opened(_ budget: inout Int) throws(MailboxError) -> MessageReader {
        try counting(&budget) { (content) throws(MailboxError) in try content.opened() }
    }

    /// The header; nil as long as it has to be called again.
    mutating func headerBlock(_ budget: inout Int) throws(MailboxError) -> HeaderBlock? {
        try counting(&budget) { (content) throws(MailboxError) in try content.ownHeader()?.block }
    }

    /// The header with those fields alone that are among `CommonFields`; nil as long as it has to be called again.
    mutating func commonFields(_ budget: inout Int) throws(MailboxError) -> HeaderBlock? {
        guard let window else { return try headerBlock(&budget) }
        return try window.commonFields(at: Int(number) - 1) { () throws(MailboxError) in try headerBlock(&budget) }
    }

    /// The message's parts; nil as long as it has to be called again.
    mutating func parts(_ budget: inout Int) throws(MailboxError) -> MessagePart? {
        try counting(&budget) { (content) throws(MailboxError) in try content.parts() }
    }

    /// How well it matches, from 1 to 100: in the middle of the keys that may match in part.
    fileprivate var score: Int {
        guard !scores.isEmpty else { return 100 }
        return scores.values.reduce(0, +) / scores.count
    }

    private mutating func counting<Value>(
        _ budget: inout Int,
        _ step: (inout ScannedMessage) throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        let before = content.work
        defer { budget -= content.work - before }
        return try step(&content)
    }
}

/// What search keys refer to.
struct SearchContext: Sendable {
    /// The largest in use; nil in an empty mailbox.
    var lastNumber: UInt32?
    var lastUID: UInt32?
    /// `$`: UIDs (RFC 5182).
    var saved: [ClosedRange<UInt32>]
    /// Seconds since 1970.
    var now: Int

    init(_ messages: [StoredMessage], saved: [ClosedRange<UInt32>], now: Int) {
        lastNumber = messages.isEmpty ? nil : UInt32(clamping: messages.count)
        lastUID = messages.last?.uid
        self.saved = saved
        self.now = now
    }
}

/// A search key ready to be applied: sets are resolved, texts prepared.
struct MessageSearch: Sendable {
    private indirect enum Test: Sendable {
        case key(SearchKey)
        /// One that costs something, with its place among these.
        case costly(Int, SearchKey)
        case text(Int, TextSearch)
        /// Whether a message arrived at that second or later, or at it or before. Seconds since 1970.
        case arrival(Int, isYounger: Bool, Int)
        case numbers([ClosedRange<UInt32>])
        case uids([ClosedRange<UInt32>])
        /// A text of several words, and each of its words by itself.
        case fuzzy(Int, whole: Test, words: [Test])
        case not(Test)
        case or(Test, Test)
        case all([Test])
    }

    /// What is found out about a key while it is resolved.
    private struct Needs {
        let context: SearchContext
        var costly = 0
        /// Keys that may match in part.
        var fuzzy = 0
        var usesKeywords = false
        var texts: [WantedText] = []
        var usesHeaders = false
        var usesSequences = false
    }

    /// A text that messages must hold for one of the costly tests.
    struct WantedText: Sendable {
        /// The test's place among these.
        let number: Int
        /// In small letters.
        let text: [UInt8]
        let inHeaderOnly: Bool
    }

    private let test: Test
    /// What the full-text index may know of.
    let texts: [WantedText]
    /// Whether common header fields are tested.
    let usesHeaders: Bool
    let usesKeywords: Bool
    let usesSequences: Bool
    /// Whether something in it may match in part.
    let isFuzzy: Bool

    /// Whether the index may help.
    var usesIndex: Bool { usesHeaders || !texts.isEmpty }

    init(_ key: SearchKey, in context: SearchContext) {
        var needs = Needs(context: context)
        test = Self.resolve(key, &needs)
        isFuzzy = key.isFuzzy
        usesKeywords = needs.usesKeywords
        texts = needs.texts
        usesHeaders = needs.usesHeaders
        usesSequences = needs.usesSequences
    }

    private static func resolve(_ key: SearchKey, _ needs: inout Needs) -> Test {
        switch key {
        case .sequence(let set) where set.isSaved: return .uids(needs.context.saved)
        case .uid(let set) where set.isSaved: return .uids(needs.context.saved)
        case .sequence(let set): return .numbers(set.ranges(last: needs.context.lastNumber))
        case .uid(let set): return .uids(set.ranges(last: needs.context.lastUID))
        case .uidAfter(let uid): return .uids(SearchKey.uids(after: uid))
        case .uidBefore(let uid): return .uids(SearchKey.uids(before: uid))
        case .fuzzy(let key): return resolve(fuzzy: key, &needs)
        case .younger(let seconds):
            needs.costly += 1
            return .arrival(needs.costly, isYounger: true, needs.context.now - seconds)
        case .older(let seconds):
            needs.costly += 1
            return .arrival(needs.costly, isYounger: false, needs.context.now - seconds)
        case .not(let key): return .not(resolve(key, &needs))
        case .or(let one, let other): return .or(resolve(one, &needs), resolve(other, &needs))
        case .and(let keys):
            // What costs nothing comes first.
            var cheap: [Test] = []
            var costly: [Test] = []
            for key in keys {
                let before = needs.costly
                let test = resolve(key, &needs)
                if needs.costly > before { costly.append(test) } else { cheap.append(test) }
            }
            return .all(cheap + costly)
        case .flag:
            needs.usesKeywords = true
            return .key(key)
        case .modSequence:
            needs.usesSequences = true
            return .key(key)
        case .all, .new, .recent, .saveDateSupported: return .key(key)
        case .body(let text), .text(let text):
            needs.costly += 1
            let includesHeader = if case .text = key { true } else { false }
            let search = TextSearch(text, includingHeader: includesHeader)
            // In fields a tab is a blank: what has one is another text there.
            if !text.contains(ASCII.tab) {
                needs.texts.append(WantedText(number: needs.costly, text: search.wanted, inHeaderOnly: false))
            }
            return .text(needs.costly, search)
        case .header(let name, let text):
            needs.costly += 1
            if CommonFields.cover([name]) { needs.usesHeaders = true }
            let wanted = TextMatcher.foldField(text)
            if !wanted.isEmpty {
                needs.texts.append(WantedText(number: needs.costly, text: wanted, inHeaderOnly: true))
            }
            return .costly(needs.costly, key)
        case .sentBefore, .sentOn, .sentSince:
            needs.costly += 1
            needs.usesHeaders = true
            return .costly(needs.costly, key)
        case .threadID:
            needs.costly += 1
            needs.usesHeaders = true
            return .costly(needs.costly, key)
        case .before, .on, .since, .larger, .smaller, .emailID, .savedBefore, .savedOn, .savedSince:
            needs.costly += 1
            return .costly(needs.costly, key)
        }
    }

    /// Texts match in part, and all else as without FUZZY (RFC 6203 §5).
    private static func resolve(fuzzy key: SearchKey, _ needs: inout Needs) -> Test {
        let wholeText: [UInt8]
        let part: ([UInt8]) -> SearchKey
        switch key {
        case .text(let text): (wholeText, part) = (text, { .text($0) })
        case .body(let text): (wholeText, part) = (text, { .body($0) })
        case .header(let name, let text): (wholeText, part) = (text, { .header(name: name, text: $0) })
        case .not(let key): return .not(resolve(fuzzy: key, &needs))
        case .or(let one, let other): return .or(resolve(fuzzy: one, &needs), resolve(fuzzy: other, &needs))
        case .and(let keys): return resolve(.and(keys.map { .fuzzy($0) }), &needs)
        default: return resolve(key, &needs)
        }
        needs.fuzzy += 1
        let number = needs.fuzzy
        let words = Array(wholeText.split { $0 <= 0x20 }.prefix(maximumWords)).map { Array($0) }
        let whole = resolve(part(wholeText), &needs)
        return .fuzzy(number, whole: whole, words: words.count > 1 ? words.map { resolve(part($0), &needs) } : [])
    }

    /// Words of a text that are looked for by themselves.
    private static let maximumWords = 16

    /// Tests a message as far as the budget goes.
    ///
    /// - Parameter budget: octets that may still be read; is lowered.
    /// - Returns: nil where the budget didn't suffice: it has to be called again.
    func matches(_ candidate: inout SearchCandidate, _ budget: inout Int) throws(MailboxError) -> Bool? {
        try Self.matches(test, &candidate, &budget)
    }

    private static func matches(
        _ test: Test,
        _ candidate: inout SearchCandidate,
        _ budget: inout Int
    ) throws(MailboxError) -> Bool? {
        // A test costs something, whatever it is.
        budget -= 64
        switch test {
        case .numbers(let ranges): return SequenceSet.contains(ranges, candidate.number)
        case .uids(let ranges): return SequenceSet.contains(ranges, candidate.message.uid)
        case .arrival(let number, let isYounger, let moment):
            if let known = candidate.answers[number] { return known }
            budget -= 1024
            let arrival = try candidate.folder.internalDate(of: candidate.message.uid)
            let answer = isYounger ? arrival >= moment : arrival <= moment
            candidate.answers[number] = answer
            return budget > 0 ? answer : nil
        case .fuzzy(let number, let whole, let words):
            guard let isWhole = try matches(whole, &candidate, &budget) else { return nil }
            if isWhole {
                candidate.scores[number] = 100
                return true
            }
            var found = 0
            for word in words {
                guard let isThere = try matches(word, &candidate, &budget) else { return nil }
                if isThere { found += 1 }
            }
            // Half of the words are enough.
            guard found > 0, found * 2 >= words.count else { return false }
            candidate.scores[number] = max(1, 90 * found / words.count)
            return true
        case .not(let test): return try matches(test, &candidate, &budget).map { !$0 }
        case .or(let one, let other):
            guard let isFirst = try matches(one, &candidate, &budget) else { return nil }
            return try isFirst ? true : matches(other, &candidate, &budget)
        case .all(let tests):
            for test in tests {
                guard let isMatch = try matches(test, &candidate, &budget) else { return nil }
                guard isMatch else { return false }
            }
            return true
        case .key(let key): return matches(key, candidate)
        case .costly(let number, let key):
            if let known = candidate.answers[number] { return known }
            guard let answer = try matches(costly: key, &candidate, &budget) else { return nil }
            candidate.answers[number] = answer
            return budget > 0 ? answer : nil
        case .text(let number, let search):
            if let known = candidate.answers[number] { return known }
            guard let answer = try matches(search, &candidate, &budget) else { return nil }
            candidate.answers[number] = answer
            return budget > 0 ? answer : nil
        }
    }

    private static func matches(_ key: SearchKey, _ candidate: SearchCandidate) -> Bool {
        let message = candidate.message
        switch key {
        case .flag(let flag): return candidate.flags.contains(flag)
        case .new: return message.isRecent && !message.flags.contains(.seen)
        case .recent: return message.isRecent
        case .all, .saveDateSupported: return true
        case .modSequence(let sequence): return candidate.sequence > 0 && candidate.sequence >= sequence
        // Tests of other kinds (`resolve`).
        case .sequence, .uid, .uidAfter, .uidBefore, .fuzzy, .not, .or, .and, .before, .on, .since, .younger, .older,
            .sentBefore, .sentOn, .sentSince,
            .larger, .smaller, .header, .body, .text, .emailID, .threadID, .savedBefore, .savedOn, .savedSince:
            return false
        }
    }

    private static func matches(
        costly key: SearchKey,
        _ candidate: inout SearchCandidate,
        _ budget: inout Int
    ) throws(MailboxError) -> Bool? {
        budget -= 1024
        switch key {
        case .before(let day): return try arrival(candidate) < day
        case .on(let day): return try arrival(candidate) == day
        case .since(let day): return try arrival(candidate) >= day
        case .sentBefore(let day): return try sent(&candidate, &budget) { $0 < day }
        case .sentOn(let day): return try sent(&candidate, &budget) { $0 == day }
        case .sentSince(let day): return try sent(&candidate, &budget) { $0 >= day }
        case .larger(let size): return try candidate.octets() > size
        case .smaller(let size): return try candidate.octets() < size
        case .savedBefore(let day): return try saved(candidate).map { $0 < day } ?? false
        case .savedOn(let day): return try saved(candidate).map { $0 == day } ?? false
        case .savedSince(let day): return try saved(candidate).map { $0 >= day } ?? false
        case .emailID(let wanted):
            return try ObjectID.email(candidate.message.uid, in: candidate.folder).utf8.elementsEqual(wanted)
        case .threadID(let wanted):
            guard let header = try candidate.commonFields(&budget) else { return nil }
            budget -= header.octets.count
            return try ObjectID.thread(header, candidate.message.uid, in: candidate.folder).utf8.elementsEqual(wanted)
        case .header(let name, let text):
            let isCommon = CommonFields.cover([name])
            let found = try isCommon ? candidate.commonFields(&budget) : candidate.headerBlock(&budget)
            guard let header = found else { return nil }
            budget -= header.octets.count
            let wanted = TextMatcher.foldField(text)
            let values = header.all(name)
            if values.contains(where: { contains($0, wanted) }) { return true }
            guard isAddressField(name) else { return false }
            return values.contains { value in
                AddressListParser.parse(value).contains { address in
                    guard let mailbox = address.mailbox, let host = address.host else { return false }
                    return contains(mailbox + [UInt8(ascii: "@")] + host, wanted)
                }
            }
        // Tests of other kinds (`resolve`).
        case .all, .flag, .new, .recent, .sequence, .uid, .uidAfter, .uidBefore, .fuzzy, .younger, .older, .not, .or,
            .and, .body, .text, .modSequence,
            .saveDateSupported:
            return false
        }
    }

    private static func contains(_ value: [UInt8], _ wanted: [UInt8]) -> Bool {
        TextMatcher.contains(TextMatcher.foldField(EncodedWords.decode(value)), wanted)
    }

    /// Whether addresses are found there as ENVELOPE has them too, without the comments that may stand in them.
    static func isAddressField(_ name: [UInt8]) -> Bool {
        let names: [StaticString] = ["from", "to", "cc", "bcc", "sender", "reply-to"]
        return names.contains { ASCII.equal(name, $0) }
    }

    private static func matches(
        _ search: TextSearch,
        _ candidate: inout SearchCandidate,
        _ budget: inout Int
    ) throws(MailboxError) -> Bool? {
        if candidate.text == nil {
            guard let root = try candidate.parts(&budget) else { return nil }
            candidate.text = search.scan(try candidate.opened(&budget), root)
            guard budget > 0 else { return nil }
        }
        guard let answer = try candidate.text?.advance(&budget) else { return nil }
        candidate.text = nil
        return answer
    }

    private static func arrival(_ candidate: SearchCandidate) throws(MailboxError) -> Int {
        DateTime(secondsSince1970: try candidate.folder.internalDate(of: candidate.message.uid)).dayNumber
    }

    private static func saved(_ candidate: SearchCandidate) throws(MailboxError) -> Int? {
        try candidate.folder.saveDate(of: candidate.message.uid).map { DateTime(secondsSince1970: $0).dayNumber }
    }

    private static func sent(
        _ candidate: inout SearchCandidate,
        _ budget: inout Int,
        _ test: (Int) -> Bool
    ) throws(MailboxError) -> Bool? {
        guard let header = try candidate.commonFields(&budget) else { return nil }
        budget -= header.octets.count
        return header.first("date").flatMap { DateTime(field: $0)?.dayNumber }.map(test) ?? false
    }
}

/// A SEARCH that goes on in short steps, so that others have their turns between them. Every call may block on the disk.
final class SearchRun: @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private let search: MessageSearch
    private let folder: any MailFolder
    private let messages: [StoredMessage]
    private let keywords: [String]
    private var next = 0
    private var candidate: SearchCandidate?
    /// Those that were met.
    private var flagSets: [FlagKey: Set<Flag>] = [:]

    /// The places of messages that match, ascending.
    private(set) var found: [Int] = []
    /// How well each of them matches, from 1 to 100, where keys may match in part.
    private(set) var scores: [Int] = []
    /// Messages that were tested.
    var done: Int { next }

    /// What is read, or has as much work, before others have their turn. Octets.
    static let turn = 128 * 1024

    private let changes: FolderChanges?
    private let index: FolderIndex?
    private let window: ItemWindow?
    private var hints: TextHints?

    /// - Parameters:
    ///   - start: the first place that is looked at.
    ///   - changes: the messages' modification sequences, if any.
    ///   - index: what is kept of the folder's messages, if any.
    init(
        _ search: MessageSearch,
        in folder: any MailFolder,
        _ messages: [StoredMessage],
        from start: Int = 0,
        changes: FolderChanges? = nil,
        index: FolderIndex?
    ) {
        self.search = search
        next = start
        self.changes = search.usesSequences ? changes : nil
        self.folder = folder
        self.messages = messages
        self.index = index
        keywords = folder.keywords
        window = search.usesHeaders ? index.map { ItemWindow($0, in: folder, messages.map(\.uid)) } : nil
    }

    /// Goes on for a turn; true when all messages were tested. A message that is gone matches nothing.
    func advance() throws(MailboxError) -> Bool {
        var budget = Self.turn
        if hints == nil, let index, !search.texts.isEmpty {
            hints = TextHints(search.texts, in: index)
            return messages.isEmpty
        }
        while next < messages.count {
            guard budget > 0 else { return false }
            var candidate = self.candidate ?? candidate(at: next)
            self.candidate = nil
            let isMatch: Bool?
            do throws(MailboxError) {
                isMatch = try search.matches(&candidate, &budget)
            } catch {
                guard error == .notFound else {
                    // A mailbox that is busy is tried again.
                    self.candidate = candidate
                    throw error
                }
                isMatch = false
            }
            guard let isMatch else {
                self.candidate = candidate
                return false
            }
            if isMatch {
                found.append(next)
                if search.isFuzzy { scores.append(candidate.score) }
            }
            next += 1
        }
        window?.flush()
        return true
    }

    private func flags(of message: StoredMessage) -> Set<Flag> {
        let key = FlagKey(message)
        if let known = flagSets[key] { return known }
        let flags = Set(SystemFlags.flags(of: message, keywords: keywords))
        flagSets[key] = flags
        return flags
    }

    private func candidate(at place: Int) -> SearchCandidate {
        let message = messages[place]
        let flags = search.usesKeywords ? flags(of: message) : []
        let number = UInt32(clamping: place + 1)
        var candidate = SearchCandidate(
            message,
            number: number,
            flags: flags,
            sequence: changes?.sequence(of: message.uid) ?? 0,
            folder: folder,
            window: window
        )
        if let hints, let identity = folder.identity(of: message.uid) {
            for number in hints.testsThatFail(for: IndexedMessage(uid: message.uid, identity: identity)) {
                candidate.answers[number] = false
            }
        }
        return candidate
    }
}
