import Algorithms

/// The modification sequences of a folder (RFC 7162 §3.1) as of one moment: a number for each message that rises with every change
/// of its flags, and those that are gone with the number by which they went.
package struct FolderChanges: Sendable, Equatable {
    /// What is kept of a message.
    struct State: Sendable, Equatable {
        let uid: UInt32
        var flags: MessageFlags
        var keywords: KeywordSet
        /// When it was put here: seconds since 1970; 0 where that isn't known.
        var saved: UInt32
        var sequence: UInt64
    }

    /// Messages that went together.
    struct Gone: Sendable, Equatable {
        let uids: ClosedRange<UInt32>
        let sequence: UInt64
    }

    /// HIGHESTMODSEQ: nothing has a greater one.
    package internal(set) var highest: UInt64
    /// Which messages went is known of those that went since.
    var floor: UInt64
    /// Ascending by UID.
    var states: [State] = []
    /// Ascending by sequence.
    var gone: [Gone] = []

    /// So many removals are kept.
    private static let maximumGone = 4096

    /// Forgets the oldest removals where there are too many.
    mutating func trimGone() {
        let dropped = gone.count - Self.maximumGone
        guard dropped > 0 else { return }
        floor = max(floor, gone[dropped - 1].sequence)
        gone.removeFirst(dropped)
    }

    private func place(_ uid: UInt32) -> Int? {
        let place = states.partitioningIndex { $0.uid >= uid }
        return place < states.count && states[place].uid == uid ? place : nil
    }

    /// MODSEQ of a message; nil where it isn't there.
    package func sequence(of uid: UInt32) -> UInt64? { place(uid).map { states[$0].sequence } }

    /// When a message was put into this folder: seconds since 1970; nil where that isn't known.
    package func saved(_ uid: UInt32) -> Int? {
        place(uid).flatMap { states[$0].saved == 0 ? nil : Int(states[$0].saved) }
    }

    /// UIDs of messages that came or changed after a sequence, ascending.
    package func changed(since sequence: UInt64) -> [UInt32] {
        guard sequence < highest else { return [] }
        return states.lazy.filter { $0.sequence > sequence }.map(\.uid)
    }

    /// Whether it's known which messages went after a sequence. One that is greater than all was never given.
    package func knowsGone(since sequence: UInt64) -> Bool { (floor...highest).contains(sequence) }

    /// UIDs of messages that went after a sequence; where that isn't known, all that aren't there (RFC 7162 §5.3).
    ///
    /// - Parameters:
    ///   - ranges: the UIDs that are asked about, ascending.
    ///   - next: greater than all UIDs that were given.
    package func gone(
        since sequence: UInt64,
        among ranges: [ClosedRange<UInt32>],
        below next: UInt32
    ) -> [ClosedRange<UInt32>] {
        guard next > 1 else { return [] }
        let asked = Self.common(ranges, [1...next - 1])
        guard knowsGone(since: sequence) else { return absent(from: asked) }
        let later = gone[gone.partitioningIndex { $0.sequence > sequence }...]
        let went = later.map(\.uids).sorted { $0.lowerBound < $1.lowerBound }
        // One that came back under its UID is there.
        return Self.common(asked, went).flatMap { absent(from: [$0]) }
    }

    /// Those of the UIDs that no message has.
    private func absent(from ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var found: [ClosedRange<UInt32>] = []
        for range in ranges {
            var start = range.lowerBound
            var place = states.partitioningIndex { $0.uid >= range.lowerBound }
            while place < states.count, states[place].uid <= range.upperBound {
                let uid = states[place].uid
                if uid > start { found.append(start...uid - 1) }
                start = uid + 1
                place += 1
            }
            if start <= range.upperBound { found.append(start...range.upperBound) }
        }
        return found
    }

    /// What both have; both ascend.
    private static func common(
        _ one: [ClosedRange<UInt32>],
        _ other: [ClosedRange<UInt32>]
    ) -> [ClosedRange<UInt32>] {
        var found: [ClosedRange<UInt32>] = []
        var (first, second) = (0, 0)
        while first < one.count, second < other.count {
            let low = max(one[first].lowerBound, other[second].lowerBound)
            let high = min(one[first].upperBound, other[second].upperBound)
            if low <= high { found.append(low...high) }
            if one[first].upperBound < other[second].upperBound { first += 1 } else { second += 1 }
        }
        return found
    }
}

extension FolderChanges {
    /// Notes what the folder has now; everything that is different has the next sequence.
    ///
    /// - Parameters:
    ///   - live: what is there, ascending by UID.
    ///   - clock: microseconds since 1970. The next sequence isn't less: so what an older copy of this doesn't know of, or another
    ///     process that couldn't write either, has no sequence that is given again.
    ///   - renamed: keywords that have other names than before.
    ///   - saved: when a message was put here; asked of those that came.
    /// - Returns: those that came or changed, and those that went.
    mutating func note(
        _ live: some Sequence<StoredMessage>,
        clock: UInt64,
        renamed: KeywordSet,
        saved: (UInt32) -> UInt32
    ) -> (changed: [State], gone: [Gone]) {
        let sequence = max(highest + 1, clock)
        var changed: [State] = []
        var went: [UInt32] = []
        /// Only made where messages came or went.
        var merged: [State]?
        var place = 0
        for message in live {
            while place < states.count, states[place].uid < message.uid {
                if merged == nil { merged = Array(states[..<place]) }
                went.append(states[place].uid)
                place += 1
            }
            if place < states.count, states[place].uid == message.uid {
                let known = states[place]
                let isRenamed = !known.keywords.union(message.keywords).isDisjoint(with: renamed)
                if known.flags != message.flags || known.keywords != message.keywords || isRenamed {
                    states[place].flags = message.flags
                    states[place].keywords = message.keywords
                    states[place].sequence = sequence
                    changed.append(states[place])
                }
                merged?.append(states[place])
                place += 1
            } else {
                if merged == nil { merged = Array(states[..<place]) }
                let state = State(
                    uid: message.uid,
                    flags: message.flags,
                    keywords: message.keywords,
                    saved: saved(message.uid),
                    sequence: sequence
                )
                changed.append(state)
                merged?.append(state)
            }
        }
        if place < states.count {
            if merged == nil { merged = Array(states[..<place]) }
            went += states[place...].map(\.uid)
        }
        if let merged { states = merged }
        let removals = Self.ranges(went).map { Gone(uids: $0, sequence: sequence) }
        gone += removals
        trimGone()
        if !changed.isEmpty || !went.isEmpty { highest = sequence }
        return (changed, removals)
    }

    private static func ranges(_ uids: [UInt32]) -> [ClosedRange<UInt32>] {
        uids.chunked { $0 + 1 == $1 }.compactMap { run in
            guard let first = run.first, let last = run.last else { return nil }
            return first...last
        }
    }
}

extension FolderChanges {
    /// HIGHESTMODSEQ for a client that hasn't been told yet that these messages are gone: when it comes back and asks what
    /// happened since, it hears of them. Never 0, which isn't a sequence (RFC 7162 §7).
    ///
    /// - Parameter uids: ascending.
    package func highest(without uids: [UInt32]) -> UInt64 {
        guard !uids.isEmpty else { return max(1, highest) }
        var first: UInt64?
        var found = 0
        for removal in gone where found < uids.count {
            let start = uids.partitioningIndex { $0 >= removal.uids.lowerBound }
            let end = uids.partitioningIndex { $0 > removal.uids.upperBound }
            guard start < end else { continue }
            if first == nil { first = removal.sequence }
            found += end - start
        }
        // From before the floor it asks about all the UIDs that it knows.
        let known = found < uids.count ? floor : first ?? floor
        return known > 1 ? known - 1 : 1
    }
}
