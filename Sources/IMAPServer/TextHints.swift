import Algorithms
import MailIndex

/// What the full-text index knows of a search's texts.
struct TextHints: Sendable {
    /// The messages whose text is in the index, with their identities.
    private let indexed: [UInt32: UInt64]
    /// For each text that was looked up, the numbers of its tests and the UIDs of messages that may hold it, ascending.
    private let possible: [(tests: [Int], uids: [UInt32])]

    /// Texts that are looked up: the index is locked meanwhile. For others the messages are read.
    private static let maximumTexts = 8

    private struct Text: Hashable {
        let octets: [UInt8]
        let inHeaderOnly: Bool
    }

    init(_ texts: [MessageSearch.WantedText], in index: FolderIndex) {
        var tests: [Text: [Int]] = [:]
        var order: [Text] = []
        for wanted in texts {
            let text = Text(octets: wanted.text, inHeaderOnly: wanted.inHeaderOnly)
            if tests[text] == nil {
                guard order.count < Self.maximumTexts else { continue }
                order.append(text)
            }
            tests[text, default: []].append(wanted.number)
        }
        let answer = index.lookUp(order.map { ($0.octets, $0.inHeaderOnly) })
        possible = zip(order, answer.candidates).compactMap { text, found in found.map { (tests[text] ?? [], $0) } }
        let kept = answer.states.filter(\.isKept).map { ($0.message.uid, $0.message.identity) }
        indexed = Dictionary(kept) { first, _ in first }
    }

    /// Tests that a message fails for certain.
    func testsThatFail(for message: IndexedMessage) -> [Int] {
        guard indexed[message.uid] == message.identity else { return [] }
        return possible.flatMap { Self.contains($0.uids, message.uid) ? [] : $0.tests }
    }

    private static func contains(_ uids: [UInt32], _ wanted: UInt32) -> Bool {
        let place = uids.partitioningIndex { $0 >= wanted }
        return place < uids.count && uids[place] == wanted
    }
}
