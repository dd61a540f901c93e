import MIME

/// How a message is made the same on both sides of small changes on its way (RFC 6376 §3.4).
package enum Canonicalization: String, Sendable, Hashable, CaseIterable {
    case simple, relaxed

    /// One field in this form, its line end included. Lines of the field may end in CRLF or LF; the form has CRLF.
    package func field(_ field: HeaderField, in octets: [UInt8]) -> [UInt8] {
        switch self {
        case .simple: Self.simple(octets[field.whole])
        case .relaxed: Self.relaxed(name: octets[field.name], value: octets[field.value])
        }
    }

    /// RFC 6376 §3.4.1: as it is.
    private static func simple(_ octets: ArraySlice<UInt8>) -> [UInt8] {
        var form: [UInt8] = []
        form.reserveCapacity(octets.count + 2)
        for octet in octets {
            if octet == ASCII.lineFeed, form.last != ASCII.carriageReturn { form.append(ASCII.carriageReturn) }
            form.append(octet)
        }
        if form.last != ASCII.lineFeed { form += [ASCII.carriageReturn, ASCII.lineFeed] }
        return form
    }

    /// RFC 6376 §3.4.2: the name in small letters, unfolded, runs of white space as one space.
    private static func relaxed(name: ArraySlice<UInt8>, value: ArraySlice<UInt8>) -> [UInt8] {
        var form = name.map(ASCII.lower)
        form.reserveCapacity(name.count + value.count + 3)
        form.append(UInt8(ascii: ":"))
        var isAfterSpace = true
        for index in value.indices {
            let octet = value[index]
            if octet == ASCII.lineFeed { continue }
            if octet == ASCII.carriageReturn, index + 1 < value.endIndex, value[index + 1] == ASCII.lineFeed {
                continue
            }
            if ASCII.isBlank(octet) {
                if !isAfterSpace { form.append(ASCII.space) }
                isAfterSpace = true
            } else {
                form.append(octet)
                isAfterSpace = false
            }
        }
        if isAfterSpace, form.last == ASCII.space { form.removeLast() }
        return form + [ASCII.carriageReturn, ASCII.lineFeed]
    }
}
