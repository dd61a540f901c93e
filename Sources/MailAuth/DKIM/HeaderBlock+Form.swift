import MIME

extension HeaderBlock {
    /// Whether every line is a field or goes on with one. Where one isn't, some programs skip it, as this library does, and
    /// some take it for the body's first: whoever adds such a line to a signed message shows text of his own to the latter.
    /// So nothing is signed or verified then (RFC 6376 §3.8). A line `From …` on top, as mailboxes have it, doesn't count.
    var hasOnlyFields: Bool {
        var position = 0
        if octets.starts(with: "From ".utf8) {
            position = octets.firstIndex(of: ASCII.lineFeed).map { $0 + 1 } ?? octets.count
        }
        for field in fields where field.whole.lowerBound >= position {
            guard field.whole.lowerBound == position, !field.name.isEmpty,
                octets[field.name].allSatisfy({ (0x21...0x7E).contains($0) })
            else { return false }
            position = field.whole.upperBound
        }
        // What is left is the empty line that ends the header.
        return octets[position...].allSatisfy { $0 == ASCII.carriageReturn || $0 == ASCII.lineFeed }
    }
}
