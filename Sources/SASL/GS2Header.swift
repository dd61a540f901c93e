/// The beginning of a client's first message in the mechanisms of the GS2 family (RFC 5801 §4): whether it binds to the
/// channel, and as whom it wants to act.
package struct GS2Header: Equatable, Sendable {
    package enum Binding: Equatable, Sendable {
        /// `n`: the client can't.
        case unsupported
        /// `y`: the client can, and believes that the server can't.
        case notOffered
        /// `p=`: the client does, by this type.
        case used(String)
    }

    package let binding: Binding
    package let authorization: String?
    /// As sent: SCRAM repeats it.
    package let octets: [UInt8]

    /// Takes the header off a message.
    ///
    /// - Throws: `malformed`.
    package init(parsing message: inout ArraySlice<UInt8>) throws(ScramFault) {
        let whole = message
        let comma = UInt8(ascii: ",")
        guard let flagEnd = message.firstIndex(of: comma) else { throw .malformed }
        let flag = message[..<flagEnd]
        let rest = message[message.index(after: flagEnd)...]
        guard let nameEnd = rest.firstIndex(of: comma) else { throw .malformed }
        switch flag.first {
        case UInt8(ascii: "n") where flag.count == 1: binding = .unsupported
        case UInt8(ascii: "y") where flag.count == 1: binding = .notOffered
        case UInt8(ascii: "p"):
            let name = flag.dropFirst(2)
            guard flag.dropFirst().first == UInt8(ascii: "="), (1...64).contains(name.count),
                name.allSatisfy(Self.isBindingName)
            else { throw .malformed }
            binding = .used(String(decoding: name, as: UTF8.self))
        default: throw .malformed
        }
        let name = rest[..<nameEnd]
        // `a=` without a name is not in the grammar, and GNU SASL sends it.
        if name.isEmpty || name.elementsEqual("a=".utf8) {
            authorization = nil
        } else {
            guard name.starts(with: "a=".utf8), let text = Self.name(name.dropFirst(2)) else { throw .malformed }
            authorization = text
        }
        message = message[message.index(after: nameEnd)...]
        octets = Array(whole[..<message.startIndex])
    }

    private static func isBindingName(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// A `saslname` (RFC 5801 §4): `=2C` is a comma and `=3D` an equals sign, which stand for themselves nowhere. nil where it's
    /// malformed.
    static func name(_ octets: ArraySlice<UInt8>) -> String? {
        var plain: [UInt8] = []
        var rest = octets
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "=") else {
                guard octet != UInt8(ascii: ",") else { return nil }
                plain.append(octet)
                continue
            }
            switch (rest.popFirst(), rest.popFirst()) {
            case (UInt8(ascii: "2"), UInt8(ascii: "C")): plain.append(UInt8(ascii: ","))
            case (UInt8(ascii: "3"), UInt8(ascii: "D")): plain.append(UInt8(ascii: "="))
            default: return nil
            }
        }
        return SASLText.name(plain)
    }
}
