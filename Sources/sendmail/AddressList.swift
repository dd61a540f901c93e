/// Extracts the addresses from a field such as To (RFC 5322 §3.4): names, comments and groups are skipped.
struct AddressList {
    private let octets: [UInt8]
    private var position = 0
    private var addresses: [String] = []

    private init(_ octets: [UInt8]) { self.octets = octets }

    /// The addresses of a field's value.
    static func addresses(_ value: [UInt8]) -> [String] {
        var list = AddressList(value)
        list.read()
        return list.addresses
    }

    private mutating func read() {
        // What stands outside of brackets is the address where there are none, and a name otherwise.
        var plain: [UInt8] = []
        var bracketed: [UInt8]?
        func finish(_ addresses: inout [String]) {
            let address = bracketed ?? plain
            if !address.isEmpty { addresses.append(String(decoding: address, as: UTF8.self)) }
            plain = []
            bracketed = nil
        }
        while position < octets.count {
            let octet = octets[position]
            position += 1
            switch octet {
            case UInt8(ascii: "("): skipComment()
            case UInt8(ascii: "\""): plain += quoted()
            case UInt8(ascii: "<"): bracketed = angle()
            case UInt8(ascii: ","), UInt8(ascii: ";"): finish(&addresses)
            case UInt8(ascii: ":"):
                // The name of a group; in a route or a literal a colon stands within brackets.
                plain = []
            case UInt8(ascii: "["):
                plain += [octet] + until(UInt8(ascii: "]"))
            case 0x20, 0x09, 0x0d, 0x0a: break
            default: plain.append(octet)
            }
        }
        finish(&addresses)
    }

    private mutating func skipComment() {
        var depth = 1
        while position < octets.count, depth > 0 {
            switch octets[position] {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"): depth -= 1
            case UInt8(ascii: "\\"): position += 1
            default: break
            }
            position += 1
        }
    }

    /// A quoted string with its quotes.
    private mutating func quoted() -> [UInt8] {
        var text: [UInt8] = [UInt8(ascii: "\"")]
        while position < octets.count {
            let octet = octets[position]
            position += 1
            text.append(octet)
            if octet == UInt8(ascii: "\\"), position < octets.count {
                text.append(octets[position])
                position += 1
            } else if octet == UInt8(ascii: "\"") {
                break
            }
        }
        return text
    }

    private mutating func angle() -> [UInt8] {
        var text: [UInt8] = []
        while position < octets.count, octets[position] != UInt8(ascii: ">") {
            let octet = octets[position]
            position += 1
            switch octet {
            case UInt8(ascii: "\""): text += quoted()
            case UInt8(ascii: "("): skipComment()
            case 0x20, 0x09, 0x0d, 0x0a: break
            default: text.append(octet)
            }
        }
        position = min(position + 1, octets.count)
        return text
    }

    private mutating func until(_ end: UInt8) -> [UInt8] {
        var text: [UInt8] = []
        while position < octets.count {
            let octet = octets[position]
            position += 1
            text.append(octet)
            if octet == end { break }
        }
        return text
    }
}
