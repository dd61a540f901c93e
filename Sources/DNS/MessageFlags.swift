/// The second word of a message's header without the response code (RFC 1035 §4.1.1, RFC 4035 §3.1.6).
package struct MessageFlags: RawRepresentable, Hashable, Sendable {
    /// The bits as they are on the wire, the response code's four being zero.
    package private(set) var rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue & 0xFFF0 }

    /// QR: an answer.
    package var isResponse: Bool {
        get { self[0x8000] }
        set { self[0x8000] = newValue }
    }
    /// AA: the answer of a server that has authority for the name.
    package var isAuthoritative: Bool {
        get { self[0x0400] }
        set { self[0x0400] = newValue }
    }
    /// TC: there was more than fits.
    package var isTruncated: Bool {
        get { self[0x0200] }
        set { self[0x0200] = newValue }
    }
    /// RD: the server is asked to ask others.
    package var recursionDesired: Bool {
        get { self[0x0100] }
        set { self[0x0100] = newValue }
    }
    /// RA: the server would ask others.
    package var recursionAvailable: Bool {
        get { self[0x0080] }
        set { self[0x0080] = newValue }
    }
    /// AD: the data is authentic, or the client wants to know whether it is (RFC 6840 §5.7).
    package var isAuthenticData: Bool {
        get { self[0x0020] }
        set { self[0x0020] = newValue }
    }
    /// CD: the client validates itself.
    package var checkingDisabled: Bool {
        get { self[0x0010] }
        set { self[0x0010] = newValue }
    }
    /// What is asked for.
    package var opcode: Opcode {
        get { Opcode(rawValue: UInt8(rawValue >> 11 & 0xF)) }
        set { rawValue = rawValue & 0x87FF | UInt16(newValue.rawValue & 0xF) << 11 }
    }

    private subscript(mask: UInt16) -> Bool {
        get { rawValue & mask != 0 }
        set { rawValue = newValue ? rawValue | mask : rawValue & ~mask }
    }
}

/// The kind of a query (RFC 6895 §2.2).
package struct Opcode: RawRepresentable, Hashable, Sendable {
    /// The number on the wire, 0 to 15.
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let query = Opcode(rawValue: 0)
    package static let status = Opcode(rawValue: 2)
    package static let notify = Opcode(rawValue: 4)
    package static let update = Opcode(rawValue: 5)
}

/// A response code of up to 12 bits (RFC 6895 §2.3, RFC 6891 §6.1.3).
package struct ResponseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number.
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let noError = ResponseCode(rawValue: 0)
    package static let formatError = ResponseCode(rawValue: 1)
    package static let serverFailure = ResponseCode(rawValue: 2)
    package static let nameError = ResponseCode(rawValue: 3)
    package static let notImplemented = ResponseCode(rawValue: 4)
    package static let refused = ResponseCode(rawValue: 5)
    package static let nameExists = ResponseCode(rawValue: 6)
    package static let setExists = ResponseCode(rawValue: 7)
    package static let noSuchSet = ResponseCode(rawValue: 8)
    package static let notAuthoritative = ResponseCode(rawValue: 9)
    package static let notZone = ResponseCode(rawValue: 10)
    package static let badVersion = ResponseCode(rawValue: 16)
    package static let badCookie = ResponseCode(rawValue: 23)

    /// The mnemonic, or `RCODE123`.
    package var description: String {
        switch self {
        case .noError: "NOERROR"
        case .formatError: "FORMERR"
        case .serverFailure: "SERVFAIL"
        case .nameError: "NXDOMAIN"
        case .notImplemented: "NOTIMP"
        case .refused: "REFUSED"
        case .nameExists: "YXDOMAIN"
        case .setExists: "YXRRSET"
        case .noSuchSet: "NXRRSET"
        case .notAuthoritative: "NOTAUTH"
        case .notZone: "NOTZONE"
        case .badVersion: "BADVERS"
        case .badCookie: "BADCOOKIE"
        default: "RCODE\(rawValue)"
        }
    }
}
