import Cryptography
import DNS
import NIOCore

/// Makes and knows the cookies that show that a client gets the answers which are sent to its address (RFC 7873), in the
/// form that all servers with the same secret understand (RFC 9018 §4).
struct ServerCookies: Sendable {
    private let current: SipHash
    private let previous: SipHash?

    /// The form's version in the first of four octets; the others are reserved.
    private static let version: UInt32 = 0x0100_0000
    /// How old a cookie may be, how far ahead its server's clock, and when another one is given. Seconds (RFC 9018 §4.3).
    private static let maximumAge: Int32 = 3600
    private static let maximumAdvance: Int32 = 300
    private static let renewalAge: Int32 = 1800

    /// - Parameters:
    ///   - secret: 16 octets.
    ///   - previous: the secret before, whose cookies still count.
    init?(secret: [UInt8], previous: [UInt8]? = nil) {
        guard let current = SipHash(key: secret) else { return nil }
        self.current = current
        self.previous = previous.flatMap(SipHash.init)
        if previous != nil, self.previous == nil { return nil }
    }

    /// Secrets from a file: the current one and perhaps the one before, each a line of 32 hexadecimal digits; nil where
    /// the text has another form. Lines that begin with `#` don't count.
    init?(text: String) {
        let lines = text.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("#") }
        let secrets = lines.map { RadixCoding.hexadecimal.decode($0.trimmingSpaces.utf8) ?? [] }
        guard (1...2).contains(secrets.count) else { return nil }
        self.init(secret: secrets[0], previous: secrets.count == 2 ? secrets[1] : nil)
    }

    /// Cookies that only this process knows.
    static func random() -> ServerCookies? { ServerCookies(secret: SecureRandom.octets(SipHash.keyLength)) }

    /// What a client's cookies are worth, and the ones to answer with.
    struct Verdict {
        /// Whether the client has shown that answers reach its address.
        var isValid: Bool
        var reply: CookiePair
    }

    /// - Parameters:
    ///   - client: the 8 octets of its own cookie.
    ///   - server: what it gives back of ours; empty for none.
    ///   - address: where it is, 4 or 16 octets; empty for a program on this machine.
    ///   - now: seconds since 1970, modulo 2^32.
    func judge(
        client: UnsafeRawBufferPointer,
        server: UnsafeRawBufferPointer,
        address: [UInt8],
        now: UInt32
    ) -> Verdict {
        let clientCookie = client.loadBigEndian(at: 0, as: UInt64.self)
        var isValid = false
        let form = server.count == CookiePair.serverOctets ? server.loadBigEndian(at: 0, as: UInt32.self) : 0
        // What is reserved may be of use to other servers with the same secret, and is hashed as it came (RFC 9018 §4.2).
        if form & 0xFF00_0000 == Self.version {
            let time = server.loadBigEndian(at: 4, as: UInt32.self)
            let given = server.loadBigEndian(at: 8, as: UInt64.self)
            // In serial number arithmetic (RFC 1982), as RFC 9018 §4.3 has it.
            let age = Int32(bitPattern: now &- time)
            if age <= Self.maximumAge, age >= -Self.maximumAdvance {
                let ours = Self.hash(current, clientCookie, form, time, address)
                if ours == given {
                    if age <= Self.renewalAge, form == Self.version {
                        return Verdict(isValid: true, reply: CookiePair(client: clientCookie, time: time, hash: ours))
                    }
                    isValid = true
                } else if let previous {
                    isValid = Self.hash(previous, clientCookie, form, time, address) == given
                }
            }
        }
        let hash = Self.hash(current, clientCookie, Self.version, now, address)
        return Verdict(isValid: isValid, reply: CookiePair(client: clientCookie, time: now, hash: hash))
    }

    private static func hash(
        _ secret: SipHash,
        _ client: UInt64,
        _ form: UInt32,
        _ time: UInt32,
        _ address: [UInt8]
    ) -> UInt64 {
        withUnsafeTemporaryAllocation(byteCount: 16 + address.count, alignment: 8) { message in
            message.storeBytes(of: client.bigEndian, toByteOffset: 0, as: UInt64.self)
            message.storeBytes(of: form.bigEndian, toByteOffset: 8, as: UInt32.self)
            message.storeBytes(of: time.bigEndian, toByteOffset: 12, as: UInt32.self)
            for (index, octet) in address.enumerated() { message[16 + index] = octet }
            // The hash goes out with its lowest octet first.
            return secret.hash(UnsafeRawBufferPointer(message)).byteSwapped
        }
    }
}

/// A client's cookie with a server's, as an answer carries them.
struct CookiePair: Equatable, Sendable {
    var client: UInt64
    var time: UInt32
    var hash: UInt64

    /// How many octets the server's cookie has: version, reserved, time, hash.
    static let serverOctets = 16

    /// How many octets the whole option has.
    static let optionOctets = 4 + CookieOption.clientLength + serverOctets

    /// The option.
    var option: EDNS.Option {
        var buffer = ByteBuffer()
        write(to: &buffer)
        return EDNS.Option(code: CookieOption.code, data: Array(buffer.readableBytesView.dropFirst(4)))
    }

    /// Writes the option.
    func write(to buffer: inout ByteBuffer) {
        buffer.writeInteger(CookieOption.code)
        buffer.writeInteger(UInt16(CookieOption.clientLength + Self.serverOctets))
        buffer.writeInteger(client)
        buffer.writeInteger(UInt32(0x0100_0000))
        buffer.writeInteger(time)
        buffer.writeInteger(hash)
    }
}

extension UnsafeRawBufferPointer {
    /// A number in network order; the caller knows that it's there.
    fileprivate func loadBigEndian<Value: FixedWidthInteger>(at offset: Int, as type: Value.Type) -> Value {
        Value(bigEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        drop { $0 == " " }.prefix { $0 != " " }
    }
}
