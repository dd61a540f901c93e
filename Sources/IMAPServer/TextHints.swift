import MailIndex

/// What the full-text index knows of a search's texts.
struct TextHints: Sendable {
    /// The messages whose text is in the index, with their identities.
    private let indexed: [UInt32: UInt64]
    /// For tests by their numbers, the UIDs of messages that may hold the text.
    private let possible: [Int: Set<UInt32>]

    init(_ texts: [MessageSearch.WantedText], in index: FolderIndex) {
        let answer = index.lookUp(texts.map { ($0.text, $0.inHeaderOnly) })
        var possible: [Int: Set<UInt32>] = [:]
        for (text, found) in zip(texts, answer.candidates) { possible[text.number] = found.map { Set($0) } }
        self.possible = possible
        let kept = answer.states.filter(\.isKept).map { ($0.message.uid, $0.message.identity) }
        indexed = Dictionary(kept) { first, _ in first }
    }

    /// Tests that a message fails for certain.
    func testsThatFail(for message: IndexedMessage) -> [Int] {
        guard indexed[message.uid] == message.identity else { return [] }
        return possible.compactMap { number, uids in uids.contains(message.uid) ? nil : number }
    }
}
