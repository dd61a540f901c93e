import MIME
import NIOCore

/// A message's header while milters look at it and change it.
package struct MilterHeader: Sendable, Equatable {
    private struct Field: Equatable {
        /// With its line end, and lines behind it that are no field.
        var octets: [UInt8]
        var name: Range<Int>
        /// Folded as it is, without its last line end.
        var value: Range<Int>
        var isHidden = false
    }

    /// What stands before the first field.
    private let start: [UInt8]
    private var fields: [Field]
    /// The empty line, as it came, and what the block has behind it.
    private var end: [UInt8]
    /// Of the whole header.
    package private(set) var octetCount: Int

    /// - Parameters:
    ///   - octets: of the whole header, up to the empty line or with it.
    ///   - hiddenName: the first field of this name is not shown, nor counted: it's our own.
    package init(_ octets: [UInt8], hiding hiddenName: StaticString) {
        let block = HeaderBlock(octets)
        octetCount = octets.count
        fields = []
        fields.reserveCapacity(block.fields.count)
        start = Array(octets[..<(block.fields.first?.whole.lowerBound ?? Self.endOfFields(octets, from: 0))])
        var isHidden = false
        let afterLast = Self.endOfFields(octets, from: block.fields.last?.whole.upperBound ?? start.count)
        for (place, field) in block.fields.enumerated() {
            let first = field.whole.lowerBound
            let next = place + 1 < block.fields.count ? block.fields[place + 1].whole.lowerBound : afterLast
            let isOurs = !isHidden && ASCII.equal(octets[field.name], hiddenName)
            isHidden = isHidden || isOurs
            fields.append(
                Field(
                    octets: Array(octets[first..<next]),
                    name: field.name.lowerBound - first..<field.name.upperBound - first,
                    value: field.value.lowerBound - first..<field.value.upperBound - first,
                    isHidden: isOurs
                )
            )
        }
        end = Array(octets[afterLast...])
    }

    /// Where a line stands that is neither a field nor continues one; nil where there is none before the empty line. It has
    /// to be shown as the body's first: what milters aren't told of, they can't judge.
    package static func firstOther(in octets: [UInt8]) -> Int? {
        let block = HeaderBlock(octets)
        var position = 0
        for field in block.fields {
            guard field.whole.lowerBound == position else { return position }
            position = field.whole.upperBound
        }
        return position < endOfFields(octets, from: position) ? position : nil
    }

    /// Where the empty line begins.
    private static func endOfFields(_ octets: [UInt8], from start: Int) -> Int {
        var position = start
        while position < octets.count {
            let next = octets[position...].firstIndex(of: ASCII.lineFeed).map { $0 + 1 } ?? octets.count
            let line = octets[position..<next]
            if line.elementsEqual([ASCII.lineFeed]) || line.elementsEqual([ASCII.carriageReturn, ASCII.lineFeed]) {
                return position
            }
            position = next
        }
        return octets.count
    }

    /// Names and values as milters are told them: lines end in LF.
    ///
    /// - Parameter leadingSpace: whether white space behind the colon belongs to the value; else one is taken off.
    package func shown(leadingSpace: Bool) -> [(name: [UInt8], value: [UInt8])] {
        fields.lazy.filter { !$0.isHidden }.map { field in
            var value = field.octets[field.value]
            if !leadingSpace, let first = value.first, ASCII.isBlank(first) { value = value.dropFirst() }
            return (Array(field.octets[field.name]), value.filter { $0 != ASCII.carriageReturn })
        }
    }

    /// The whole value of the first field of that name that is shown, without white space at its ends.
    package func first(_ name: StaticString) -> [UInt8]? {
        fields.first { !$0.isHidden && ASCII.equal($0.octets[$0.name], name) }
            .map { Array(ASCII.trim($0.octets[$0.value])) }
    }

    // MARK: Changes

    /// Adds a field behind all others.
    package mutating func add(_ name: [UInt8], _ value: [UInt8], leadingSpace: Bool) {
        insert(Self.field(name, value, leadingSpace), at: fields.count)
    }

    /// Adds a field at a place.
    ///
    /// - Parameter index: 0 for the very top; our own field counts here, as Sendmail's does.
    package mutating func insert(_ name: [UInt8], _ value: [UInt8], at index: Int, leadingSpace: Bool) {
        insert(Self.field(name, value, leadingSpace), at: min(max(index, 0), fields.count))
    }

    /// Gives a field another value; one that isn't there is added.
    ///
    /// - Parameters:
    ///   - number: which of those of that name, from 1.
    ///   - value: empty to take the field away.
    package mutating func change(_ name: [UInt8], _ number: Int, _ value: [UInt8], leadingSpace: Bool) {
        let places = fields.indices.filter {
            !fields[$0].isHidden && ASCII.equal(fields[$0].octets[fields[$0].name], name)
        }
        let wanted = max(number, 1)
        guard wanted <= places.count else {
            if !value.isEmpty { add(name, value, leadingSpace: leadingSpace) }
            return
        }
        let place = places[wanted - 1]
        octetCount -= fields[place].octets.count
        if value.isEmpty {
            fields.remove(at: place)
        } else {
            fields[place] = Self.field(name, value, leadingSpace)
            octetCount += fields[place].octets.count
        }
    }

    private mutating func insert(_ field: Field, at place: Int) {
        // What was there may lack the end of its last line.
        if place > 0, fields[place - 1].octets.last != ASCII.lineFeed {
            fields[place - 1].octets += [ASCII.carriageReturn, ASCII.lineFeed]
            octetCount += 2
        }
        fields.insert(field, at: place)
        octetCount += field.octets.count
    }

    private static func field(_ name: [UInt8], _ value: [UInt8], _ leadingSpace: Bool) -> Field {
        var octets = name
        octets.append(UInt8(ascii: ":"))
        let start = octets.count
        if !leadingSpace { octets.append(ASCII.space) }
        var isFirst = true
        for line in value.split(separator: ASCII.lineFeed) {
            let line = line.filter { $0 != ASCII.carriageReturn }
            // An empty line, or one that doesn't begin with white space, would end the field, or the header.
            guard !line.isEmpty else { continue }
            if !isFirst || (value.first == ASCII.lineFeed && octets.count > start) {
                octets += [ASCII.carriageReturn, ASCII.lineFeed]
                if let first = line.first, !ASCII.isBlank(first) { octets.append(ASCII.tab) }
            }
            octets += line
            isFirst = false
        }
        let end = octets.count
        octets += [ASCII.carriageReturn, ASCII.lineFeed]
        return Field(octets: octets, name: 0..<name.count, value: start..<end)
    }

    // MARK: The result

    /// The header in two parts: the fields from the top to our own one, and the rest with the empty line.
    ///
    /// - Parameters:
    ///   - limit: the most octets of the first part; fields that it has no room for are in the second.
    ///   - hasBody: whether something follows, for which the empty line is needed.
    package func parts(limit: Int, hasBody: Bool) -> (added: ByteBuffer, rest: ByteBuffer) {
        var added = ByteBuffer()
        var rest = ByteBuffer()
        var isFirstPart = start.count <= limit
        if isFirstPart { added.writeBytes(start) } else { rest.writeBytes(start) }
        let ours = fields.firstIndex { $0.isHidden } ?? -1
        for (place, field) in fields.enumerated() {
            isFirstPart = isFirstPart && place <= ours && added.readableBytes + field.octets.count <= limit
            if isFirstPart { added.writeBytes(field.octets) } else { rest.writeBytes(field.octets) }
        }
        if hasBody, end.isEmpty {
            let last = fields.last?.octets ?? start
            if !last.isEmpty, last.last != ASCII.lineFeed { rest.writeStaticString("\r\n") }
            rest.writeStaticString("\r\n")
        }
        rest.writeBytes(end)
        return (added, rest)
    }
}
