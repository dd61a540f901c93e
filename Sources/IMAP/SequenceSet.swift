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

    package init(_ elements: [Element]) { self.elements = elements }

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

    /// The shortest text for numbers in ascending order, such as `1:3,7`; empty for none.
    package static func text(_ numbers: some Sequence<UInt32>) -> String {
        var text = ""
        var range: (first: UInt32, last: UInt32)?
        func close() {
            guard let range else { return }
            if !text.isEmpty { text += "," }
            text += range.first == range.last ? "\(range.first)" : "\(range.first):\(range.last)"
        }
        for number in numbers {
            if let open = range, open.last != .max, number == open.last + 1 {
                range = (open.first, number)
            } else {
                close()
                range = (number, number)
            }
        }
        close()
        return text
    }
}
