import Algorithms

/// Message numbers or UIDs (RFC 3501 §9, sequence-set).
package struct SequenceSet: Sendable, Equatable {
    /// A number, or `*`: the largest in use.
    package enum Number: Sendable, Equatable {
        case number(UInt32)
        case last
    }

    /// One number (both ends the same) or a range in any order.
    package struct Element: Sendable, Equatable {
        package var from: Number
        package var to: Number

        package init(_ from: Number, _ to: Number) {
            self.from = from
            self.to = to
        }
    }

    package var elements: [Element]
    /// `$`: what the last search with SAVE has found (RFC 5182); there are no elements then.
    package var isSaved = false

    package init(_ elements: [Element]) { self.elements = elements }

    package static let saved: SequenceSet = {
        var set = SequenceSet([])
        set.isSaved = true
        return set
    }()

    /// The numbers in ascending order and without overlaps, where `*` is the largest number in use. In an empty mailbox
    /// (nil) `*` stands for nothing.
    package func ranges(last: UInt32?) -> [ClosedRange<UInt32>] {
        func value(_ number: Number) -> UInt32? {
            switch number {
            case .number(let number): number
            case .last: last
            }
        }
        let ranges = elements.compactMap { element -> ClosedRange<UInt32>? in
            guard let from = value(element.from), let to = value(element.to) else { return nil }
            return min(from, to)...max(from, to)
        }
        return Self.merged(ranges)
    }

    /// Whether a number is in one of the ranges, which ascend.
    package static func contains(_ ranges: [ClosedRange<UInt32>], _ number: UInt32) -> Bool {
        let place = ranges.partitioningIndex { $0.upperBound >= number }
        return place < ranges.count && ranges[place].lowerBound <= number
    }

    /// The ranges that numbers in ascending order are.
    package static func ranges(of numbers: some Sequence<UInt32>) -> [ClosedRange<UInt32>] {
        var ranges: [ClosedRange<UInt32>] = []
        for number in numbers {
            if let last = ranges.last, last.upperBound != .max, number == last.upperBound + 1 {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
        return ranges
    }

    private static func merged(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        var merged: [ClosedRange<UInt32>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, last.upperBound == .max || range.lowerBound <= last.upperBound + 1 {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged
    }

    /// The shortest text for numbers in their order, such as `1:3,7`; empty for none.
    package static func text(_ numbers: some Sequence<UInt32>) -> String { text(ranges(of: numbers)) }

    /// The text for ranges in their order.
    package static func text(_ ranges: some Sequence<ClosedRange<UInt32>>) -> String {
        ranges.map { $0.lowerBound == $0.upperBound ? "\($0.lowerBound)" : "\($0.lowerBound):\($0.upperBound)" }
            .joined(separator: ",")
    }
}
