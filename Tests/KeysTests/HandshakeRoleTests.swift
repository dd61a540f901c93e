import Testing

@testable import Keys

@Suite struct HandshakeRoleTests {
    private static let randoms = [UInt8](repeating: 7, count: 64)

    private static func verify(_ who: String, _ count: Int) -> [UInt8] {
        [UInt8](repeating: 0x20, count: 64) + Array("TLS 1.3, \(who) CertificateVerify".utf8) + [0]
            + [UInt8](repeating: 9, count: count)
    }

    private static func message(_ type: UInt8, _ count: Int) -> [UInt8] {
        [type, 0, UInt8(count >> 8), UInt8(count & 255)] + [UInt8](repeating: 1, count: count)
    }

    @Test func whatTLS13Signs() {
        for algorithm in SigningAlgorithm.allCases where algorithm.purpose == .tls {
            // It has no PKCS #1.
            let isUsed = !algorithm.rawValue.hasPrefix("rsa_pkcs1")
            for count in [32, 48] {
                #expect(HandshakeRole(signing: Self.verify("server", count), by: algorithm) == (isUsed ? .server : nil))
                #expect(HandshakeRole(signing: Self.verify("client", count), by: algorithm) == (isUsed ? .client : nil))
            }
            for wrong in [Self.verify("server", 31), Self.verify("server", 64), Self.verify("sender", 32)] {
                #expect(HandshakeRole(signing: wrong, by: algorithm) == nil)
            }
        }
    }

    @Test func aServersKeyExchange() {
        for (curve, count) in [(23, 65), (24, 97), (25, 133), (29, 32), (30, 56)] {
            let head = Self.randoms + [3, 0, UInt8(curve), UInt8(count)]
            let key = [UInt8](repeating: 4, count: count)
            for algorithm in [SigningAlgorithm.rsaWithSHA256, .ecdsaWithSHA256, .ed25519, .rsaPSSWithSHA512] {
                #expect(HandshakeRole(signing: head + key, by: algorithm) == .server)
                #expect(HandshakeRole(signing: head + key + [0], by: algorithm) == nil)
                #expect(HandshakeRole(signing: head + key.dropLast(), by: algorithm) == nil)
            }
        }
        // A curve with another one's length, one that isn't known, and explicit primes.
        for head in [[3, 0, 23, 32], [3, 0, 22, 65], [1, 0, 23, 65]] as [[UInt8]] {
            let octets = Self.randoms + head + [UInt8](repeating: 4, count: Int(head[3]))
            #expect(HandshakeRole(signing: octets, by: .ed25519) == nil)
        }
    }

    @Test func allThatAClientHasHeardAndSaid() {
        let types: [UInt8] = [1, 2, 11, 22, 12, 13, 14, 11, 16]
        let whole = types.flatMap { Self.message($0, 80) }
        #expect(HandshakeRole(signing: whole, by: .ecdsaWithSHA256) == .client)
        #expect(HandshakeRole(signing: whole + [20, 0, 0, 0], by: .ecdsaWithSHA256) == nil)
        #expect(HandshakeRole(signing: whole.dropLast(), by: .ecdsaWithSHA256) == nil)
        // So short that it could be a server's key exchange.
        #expect(HandshakeRole(signing: types.flatMap { Self.message($0, 10) }, by: .ecdsaWithSHA256) == nil)
        for place in types.indices where types[place] != 22 && types[place] != 12 {
            var others = types
            others.remove(at: place)
            #expect(HandshakeRole(signing: others.flatMap { Self.message($0, 80) }, by: .ecdsaWithSHA256) == nil)
        }
    }

    @Test func nothingElse() {
        for octets in [
            [], Array("digest".utf8), [UInt8](repeating: 1, count: 32), [UInt8](repeating: 0x20, count: 300),
        ] {
            for algorithm in SigningAlgorithm.allCases {
                #expect(HandshakeRole(signing: octets, by: algorithm) == nil)
            }
        }
        // DKIM's keys sign no handshake.
        #expect(HandshakeRole(signing: Self.verify("server", 32), by: .dkimEd25519) == nil)
    }
}

extension HandshakeRole {
    /// The same for a part of something.
    fileprivate init?(signing octets: ArraySlice<UInt8>, by algorithm: SigningAlgorithm) {
        self.init(signing: Array(octets), by: algorithm)
    }
}
