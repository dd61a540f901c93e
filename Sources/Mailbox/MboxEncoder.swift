/// Turns a message into the form that an mbox has: LF line ends, and one more `>` in front of `From ` and `>From ` at the
/// start of a line (mboxrd). May be fed in pieces of any size.
struct MboxEncoder {
    private static let from = Array("From ".utf8)

    private var previousIsCR = false
    private var isUndecided = true
    private var quotes = 0
    private var matched = 0
    /// Whether the last octet put out was an LF.
    private(set) var endsLine = true

    mutating func feed(_ octets: some Sequence<UInt8>, into output: inout [UInt8]) {
        for octet in octets {
            if isUndecided, !decide(octet, into: &output) { continue }
            if previousIsCR, octet != UInt8(ascii: "\n") { output.append(UInt8(ascii: "\r")) }
            previousIsCR = octet == UInt8(ascii: "\r")
            if previousIsCR { continue }
            output.append(octet)
            endsLine = octet == UInt8(ascii: "\n")
            isUndecided = endsLine
        }
    }

    /// Ends the last line and adds the empty line behind the message.
    mutating func finish(into output: inout [UInt8]) {
        if isUndecided { release(into: &output) }
        if previousIsCR {
            output.append(UInt8(ascii: "\r"))
            endsLine = false
        }
        if !endsLine { output.append(UInt8(ascii: "\n")) }
        output.append(UInt8(ascii: "\n"))
    }

    private mutating func decide(_ octet: UInt8, into output: inout [UInt8]) -> Bool {
        if matched == 0, octet == UInt8(ascii: ">") {
            quotes += 1
            return false
        }
        guard octet == Self.from[matched] else {
            release(into: &output)
            return true
        }
        matched += 1
        guard matched == Self.from.count else { return false }
        quotes += 1
        release(into: &output)
        return false
    }

    private mutating func release(into output: inout [UInt8]) {
        output.append(contentsOf: repeatElement(UInt8(ascii: ">"), count: quotes))
        output.append(contentsOf: Self.from.prefix(matched))
        if quotes + matched > 0 { endsLine = false }
        quotes = 0
        matched = 0
        isUndecided = false
    }
}
