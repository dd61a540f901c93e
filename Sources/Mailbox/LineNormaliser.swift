#if canImport(Glibc)
import Glibc
#endif

/// Gives lines their CRLF back, and takes mboxrd's `>` off where asked to. May be fed in pieces of any size.
struct LineNormaliser {
    private static let from = Array("From ".utf8)

    private let unquotes: Bool
    private var previousIsCR = false
    /// Whether the line so far is `>`s and a part of `From `, so that it's not known yet what becomes of it.
    private var isUndecided: Bool
    private var quotes = 0
    private var matched = 0

    init(unquotes: Bool) {
        self.unquotes = unquotes
        isUndecided = unquotes
    }

    mutating func feed(_ octets: ArraySlice<UInt8>, into output: inout [UInt8]) {
        octets.withUnsafeBytes { feed($0, into: &output) }
    }

    private mutating func feed(_ octets: UnsafeRawBufferPointer, into output: inout [UInt8]) {
        guard let base = octets.baseAddress else { return }
        output.reserveCapacity(output.count + octets.count + octets.count / 32)
        var place = 0
        while place < octets.count {
            if isUndecided, !decide(octets[place], into: &output) {
                place += 1
                continue
            }
            // The rest of the line in one go.
            let end = memchr(base + place, 10, octets.count - place).map { base.distance(to: UnsafeRawPointer($0)) }
            let line = octets[place..<(end ?? octets.count)]
            output.append(contentsOf: line)
            if let last = line.last { previousIsCR = last == UInt8(ascii: "\r") }
            guard let end else { return }
            if !previousIsCR { output.append(UInt8(ascii: "\r")) }
            output.append(UInt8(ascii: "\n"))
            previousIsCR = false
            isUndecided = unquotes
            place = end + 1
        }
    }

    /// What was held back at the end of the message.
    mutating func finish(into output: inout [UInt8]) {
        if isUndecided { release(into: &output) }
        isUndecided = unquotes
    }

    /// Returns whether the octet is still to be put out.
    private mutating func decide(_ octet: UInt8, into output: inout [UInt8]) -> Bool {
        if matched == 0, octet == UInt8(ascii: ">") {
            quotes += 1
            return false
        }
        if octet == Self.from[matched] {
            matched += 1
            guard matched == Self.from.count else { return false }
            if quotes > 0 { quotes -= 1 }
            release(into: &output)
            return false
        }
        release(into: &output)
        return true
    }

    private mutating func release(into output: inout [UInt8]) {
        output.append(contentsOf: repeatElement(UInt8(ascii: ">"), count: quotes))
        output.append(contentsOf: Self.from.prefix(matched))
        if quotes + matched > 0 { previousIsCR = false }
        quotes = 0
        matched = 0
        isUndecided = false
    }
}
